"""Every perturbation of the table keeps its contract: a newcomer is exercised here without this file being edited."""

from __future__ import annotations

import copy
import dataclasses
import inspect

import pytest
import torch

from finetune import objectives, perturbations
from finetune.objectives.original import Original
from finetune.objectives.readout import Readout
from tests.finetune.models import ADAPTERS, adapted, batch, logits, peaked

NAMES = pytest.mark.parametrize("name", sorted(perturbations.TABLE.targets()))
OFF = {"ggpo": {"sigma": 0.0}, "mgpo": {"rho": 0.0}}


class Run:
    """A few steps of training with accumulation: a model, an optimizer and perhaps a perturbation."""

    def __init__(self, perturbation=None, objective="ce", adapter="lora", dropout=0.0) -> None:
        self.model = adapted(peaked(), adapter, dropout=dropout).train()
        self.trained = [each for each in self.model.parameters() if each.requires_grad]
        self.starts = [each.detach().clone() for each in self.trained]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-2)
        self.attached = perturbation.attach(self.model) if perturbation is not None else None
        self.objective = objectives.TABLE.load(objective)()
        self.original, self.readout = Original(self.model), Readout(self.model)
        self.losses: list[float] = []

    def step(self, number: int, micro_batches: int = 2) -> None:
        for part in range(micro_batches):
            inputs = batch(seed=10 * number + part)
            if self.attached is None:
                self.micro_batch(inputs, number)
            else:
                with self.attached.micro_batch(self.optimizer):
                    self.micro_batch(inputs, number)
        if self.attached is not None:
            self.attached.before_step()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def micro_batch(self, inputs, number: int) -> None:
        loss, _ = self.objective(
            self.readout(self.model, inputs),
            inputs["labels"],
            teacher=lambda: self.original.run(lambda: self.readout(self.model, inputs)),
            step=number,
            steps=4,
            items=32,
        )
        loss.backward()
        self.losses.append(loss.item())

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: each.detach().clone() for name, each in self.model.named_parameters()}


def frozen_tensors(model) -> dict[str, torch.Tensor]:
    """The base weights, and the frozen factors and starts, which are buffers."""
    trained = {key for key, each in model.named_parameters() if each.requires_grad}
    return {key: each.clone() for key, each in model.state_dict().items() if key not in trained}


def alike(one: Run, other: Run) -> bool:
    return all(map(torch.equal, one.weights().values(), other.weights().values()))


@NAMES
def test_a_perturbation_loads_under_its_name_and_says_what_it_is(name):
    kind = perturbations.TABLE.load(name)
    assert kind.name == name
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    first = (inspect.getdoc(kind) or "").partition("\n")[0]
    assert len(first) > 20
    assert first.endswith("."), first


@NAMES
@pytest.mark.parametrize("objective", sorted(objectives.TABLE.targets()))
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_it_composes_with_any_adapter_and_objective(name, objective, adapter):
    perturbed = Run(perturbations.TABLE.load(name)(), objective, adapter)
    plain = Run(None, objective, adapter)
    frozen = frozen_tensors(perturbed.model)
    for number in range(3):
        before = perturbed.weights()
        with perturbed.attached.micro_batch(perturbed.optimizer):
            pass
        assert all(torch.equal(each, before[key]) for key, each in perturbed.weights().items())
        for run in (perturbed, plain):
            run.step(number)
        if number == 0:
            assert perturbed.losses == plain.losses
    assert perturbed.losses[-1] != plain.losses[-1]
    assert all(torch.tensor(perturbed.losses).isfinite())
    assert all(torch.equal(each, frozen[key]) for key, each in frozen_tensors(perturbed.model).items())
    assert not any(torch.equal(each, start) for each, start in zip(perturbed.trained, perturbed.starts, strict=True))
    perturbed.attached.detach()
    assert perturbed.model.state_dict().keys() == plain.model.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "published"),
    [("ggpo", {"sigma": 0.03, "beta": 0.01}), ("mgpo", {"rho": 0.01, "beta": 0.8})],
)
def test_the_published_values_are_the_defaults(name, published):
    made = perturbations.TABLE.load(name)()
    assert {key: getattr(made, key) for key in published} == published


@NAMES
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_teacher_is_the_pretrained_model_inside_a_perturbed_pass(name, adapter):
    strong = {"ggpo": {"sigma": 0.5}, "mgpo": {"rho": 5.0}}[name]
    run = Run(perturbations.TABLE.load(name)(**strong), adapter=adapter)
    run.step(0)
    with run.attached.micro_batch(run.optimizer):
        assert torch.equal(run.original.run(lambda: logits(run.model, batch())), logits(peaked(), batch()))


@NAMES
def test_switched_off_it_is_plain_training_to_the_last_bit(name):
    off, plain = Run(perturbations.TABLE.load(name)(**OFF[name])), Run()
    for number in range(3):
        off.step(number)
        plain.step(number)
    assert off.losses == plain.losses
    assert alike(off, plain)


@NAMES
def test_a_micro_batch_is_one_forward_and_one_backward_pass(name):
    run, seen = Run(perturbations.TABLE.load(name)()), []
    body = run.model.get_base_model().model
    body.register_forward_hook(lambda *_: seen.append("forward"))
    body.layers[0].register_full_backward_hook(lambda *_: seen.append("backward"))
    for number in range(2):
        run.step(number)
    assert seen == ["forward", "backward"] * 4


@NAMES
def test_resumed_it_goes_on_exactly(name, tmp_path):
    whole, first = (Run(perturbations.TABLE.load(name)(), dropout=0.0) for _ in range(2))
    for number in range(4):
        whole.step(number)
    for number in range(2):
        first.step(number)
    torch.save(first.attached.state_dict(), tmp_path / "state.pt")
    resumed = Run(perturbations.TABLE.load(name)())
    resumed.model.load_state_dict(first.model.state_dict())
    resumed.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    resumed.attached.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for number in range(2, 4):
        resumed.step(number)
    assert whole.losses[4:] == resumed.losses
    assert alike(whole, resumed)


@NAMES
def test_the_global_random_state_is_neither_read_nor_moved(name):
    found = []
    for seed in (1, 2):
        run = Run(perturbations.TABLE.load(name)())
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        for number in range(3):
            run.step(number)
        assert torch.equal(torch.get_rng_state(), state)
        found.append(run)
    assert alike(*found)


@NAMES
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_is_trained_and_merged_is_what_it_is_without(name, adapter):
    run, plain = (Run(each, adapter=adapter) for each in (perturbations.TABLE.load(name)(), None))
    for number in range(3):
        run.step(number)
    assert sum(each.numel() for each in run.trained) == sum(each.numel() for each in plain.trained)
    apart = logits(run.model.eval(), batch())
    torch.testing.assert_close(logits(run.model.merge_and_unload(), batch()), apart, rtol=1e-4, atol=1e-4)
