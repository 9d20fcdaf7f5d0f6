"""Every objective of the table keeps its contract: a newcomer is exercised here without this file being edited."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

from finetune import objectives
from finetune.objectives.original import Original
from finetune.objectives.readout import Readout
from tests.finetune.models import ADAPTERS, adapted, batch, moved, peaked, run

NAMES = pytest.mark.parametrize("name", sorted(objectives.TABLE.targets()))


@NAMES
def test_an_objective_loads_under_its_name_and_says_what_it_is(name):
    kind = objectives.TABLE.load(name)
    assert kind.name == name
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    first = (inspect.getdoc(kind) or "").partition("\n")[0]
    assert len(first) > 20
    assert first.endswith("."), first
    assert kind() == kind()


@NAMES
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("hidden", [False, True])
def test_an_objective_trains_any_adapter_and_logs_its_terms_detached(name, adapter, hidden):
    model, inputs = adapted(peaked(), adapter), batch()
    original, readout = Original(model), Readout(model, hidden=hidden)
    moved(model)
    state = torch.get_rng_state()
    loss, terms = objectives.TABLE.load(name)()(
        readout(model, inputs),
        inputs["labels"],
        teacher=lambda: original.run(lambda: readout(model, inputs)),
        attention_mask=inputs["attention_mask"],
        step=9,
        steps=10,
        items=torch.tensor(13),
    )
    assert torch.equal(state, torch.get_rng_state())
    assert terms["ce"] > 0
    assert all(not each.requires_grad and each.isfinite() and each.ndim == 0 for each in terms.values())
    loss.backward()
    slopes = [each.grad for each in model.parameters() if each.requires_grad]
    assert all(each is not None and each.isfinite().all() for each in slopes)


def test_the_tables_need_no_torch():
    done = run(
        "import sys, finetune, finetune.objectives as o, finetune.perturbations as p\n"
        "assert o.TABLE.targets() and p.TABLE.targets()\n"
        "print([name for name in ('torch', 'peft', 'transformers') if name in sys.modules])"
    )
    assert done.stdout == "[]\n", done.stderr
