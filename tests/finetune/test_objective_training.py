"""Objectives and perturbations inside `transformers.Trainer`, as their Protocols say to put them there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import DataCollatorWithFlattening, Trainer, TrainerCallback, TrainingArguments

from finetune.objectives.ba_lora import BaLora
from finetune.objectives.ce import Ce
from finetune.objectives.original import Original
from finetune.objectives.readout import Readout
from finetune.perturbations.ggpo import Ggpo
from finetune.perturbations.mgpo import Mgpo
from tests.finetune.models import ADAPTERS, VOCABULARY, adapted, peaked


class ObjectiveTrainer(Trainer):
    loss_is_scaled_for_ga = True

    def __init__(self, model, objective, *args, hidden=True, perturbation=None, **kwargs) -> None:
        super().__init__(model, *args, **kwargs)
        self.objective, self.terms = objective, []
        self.readout, self.original = Readout(model, hidden=hidden), Original(model)
        self.perturbation = perturbation.attach(model) if perturbation is not None else None
        if self.perturbation is not None:
            self.add_callback(BeforeStep(self.perturbation))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        loss, terms = self.objective(
            self.readout(model, inputs),
            labels,
            teacher=lambda: self.original.run(lambda: self.readout(model, inputs)),
            attention_mask=inputs.get("attention_mask"),
            position_ids=inputs.get("position_ids"),
            step=self.state.global_step,
            steps=self.state.max_steps,
            items=num_items_in_batch,
        )
        self.terms.append({name: each.item() for name, each in terms.items()})
        return loss

    def training_step(self, *args, **kwargs):
        if self.perturbation is None:
            return super().training_step(*args, **kwargs)
        with self.perturbation.micro_batch(self.optimizer):
            return super().training_step(*args, **kwargs)


class BeforeStep(TrainerCallback):
    def __init__(self, perturbation) -> None:
        self.perturbation = perturbation

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.perturbation.before_step()


def rows(count: int = 16, prompt: int = 2) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for row in range(count):
        ids = torch.randint(1, VOCABULARY, (8,), generator=generator).tolist()
        labels = [-100] * (prompt + row % 3) + ids[prompt + row % 3 :]
        found.append({"input_ids": ids, "labels": labels})
    return found


def train(
    folder: Path, objective=None, name="pissa", *, size=2, accumulate=1, collator=None, checkpoint=False, **kwargs
):
    model = adapted(peaked(), name)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=4,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulate,
        learning_rate=1e-2,
        gradient_checkpointing=checkpoint,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    given = {"args": arguments, "train_dataset": rows(), "data_collator": collator}
    if objective is None:
        trainer = Trainer(model, **{name: each for name, each in given.items() if each is not None})
    else:
        trainer = ObjectiveTrainer(model, objective, **given, **kwargs)
    trainer.train()
    return trainer, {name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad}


def same(one, other) -> bool:
    return all(torch.equal(each, other[name]) for name, each in one.items())


@pytest.mark.parametrize("name", ADAPTERS)
def test_without_weights_it_is_plain_training_of_the_adapter_to_the_last_bit(name, tmp_path):
    _, plain = train(tmp_path, None, name, accumulate=2)
    _, ours = train(tmp_path, BaLora(lambda1=0, lambda2=0, lambda3=0), name, hidden=False, accumulate=2)
    assert same(plain, ours)


def test_fused_it_is_stock_training_to_rounding(tmp_path):
    _, stock = train(tmp_path)
    _, ours = train(tmp_path, Ce())
    for name, each in stock.items():
        torch.testing.assert_close(ours[name], each, rtol=0, atol=2e-3, msg=name)


@pytest.mark.parametrize("hidden", [False, True])
def test_accumulated_micro_batches_train_as_one_big_batch(tmp_path, hidden):
    objective = BaLora(lambda1=0.5, lambda2=0.1, lambda3=0, scheduled=False)
    big, whole = train(tmp_path, objective, size=4, hidden=hidden)
    small, parts = train(tmp_path, objective, size=1, accumulate=4, hidden=hidden)
    for name in ("ce", "cr", "dr"):
        assert sum(each[name] for each in small.terms[:4]) == pytest.approx(big.terms[0][name], rel=1e-4, abs=1e-6)
    for name, each in whole.items():
        torch.testing.assert_close(parts[name], each, rtol=0, atol=2e-3, msg=name)


def test_packed_rows_train_as_padded_ones(tmp_path):
    objective = BaLora(lambda3=0, scheduled=False)
    padded, _ = train(tmp_path, objective, size=4)
    packed, _ = train(tmp_path, objective, size=4, collator=DataCollatorWithFlattening())
    for one, other in zip(padded.terms, packed.terms, strict=True):
        assert one == {name: pytest.approx(value, rel=1e-3, abs=1e-5) for name, value in other.items()}


def test_every_term_is_logged_and_consistency_begins_at_nothing(tmp_path):
    trainer, _ = train(tmp_path, BaLora(), size=4)
    assert abs(trainer.terms[0]["cr"]) < 1e-6 < 1e-3 < trainer.terms[-1]["cr"]
    assert all(each.keys() >= {"ce", "cr", "dr", "svdr", "lambda1", "lambda2", "lambda3"} for each in trainer.terms)
    assert [each["lambda2"] for each in trainer.terms] == [0, pytest.approx(0.005), *[pytest.approx(0.005)] * 2]


@pytest.mark.parametrize("perturbation", [Ggpo(sigma=0.1), Mgpo(rho=0.1)])
def test_perturbed_training_with_accumulation_and_checkpointing(tmp_path, perturbation):
    found = {}
    for checkpoint in (False, True):
        kwargs = {"size": 1, "accumulate": 2, "checkpoint": checkpoint, "perturbation": perturbation}
        _, found[checkpoint] = train(tmp_path, BaLora(), **kwargs)
    _, plain = train(tmp_path, BaLora(), size=1, accumulate=2)
    assert not same(found[False], plain)
    for name, each in found[False].items():
        torch.testing.assert_close(found[True][name], each, rtol=0, atol=2e-3, msg=name)
