"""transformers' Trainer with our objectives and perturbations, every term logged, and an exact validation loss."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from augment.errors import FinetuneError
from finetune.batches import Packs
from finetune.objectives import IGNORED, Objective
from finetune.objectives.ce import Ce
from finetune.objectives.original import Original
from finetune.objectives.outputs import Hidden, Logits
from finetune.objectives.positions import predicted
from finetune.objectives.readout import Readout
from finetune.perturbations import Attached

PERTURBATION = "perturbation.pt"
COMPLETE = "complete"
"""An empty file, written last: a checkpoint without it was cut off."""


class AdapterTrainer(Trainer):
    """Trains an adapted model by an objective, perturbed or not; evaluates by cross-entropy whatever the objective."""

    loss_is_scaled_for_ga = True

    def __init__(
        self, model: nn.Module, *, objective: Objective, readout: Readout, perturbation: Attached | None, **kwargs: Any
    ) -> None:
        super().__init__(model, **kwargs)
        self._objective = objective
        self._readout = readout
        self._original = Original(model)
        self.perturbation = perturbation
        self._terms: dict[str, Tensor] = {}
        self._micro_batches = 0
        self._logged_at = 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The objective of one micro-batch, over the items of the whole optimizer step and all processes."""
        labels = inputs.pop("labels")
        plain = self.accelerator.unwrap_model(model)
        loss, terms = self._objective(
            self._readout(model, inputs),
            labels,
            teacher=lambda: self._original.run(lambda: self._readout(plain, inputs)),
            attention_mask=inputs.get("attention_mask"),
            position_ids=inputs.get("position_ids"),
            step=self.state.global_step,
            steps=self.state.max_steps,
            items=num_items_in_batch,
        )
        if not self._micro_batches:
            self._logged_at = self.state.global_step
        self._micro_batches += 1
        for name, term in terms.items():
            self._terms[name] = self._terms.get(name, torch.zeros((), device=loss.device)) + term.float()
        # gradients are averaged over processes, but the loss is already divided by the items of all of them
        scaled: Tensor = loss * self.accelerator.num_processes
        return scaled

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One forward and backward pass, beside the weights where there is a perturbation."""
        beside = self.perturbation.micro_batch(self.optimizer) if self.perturbation is not None else nullcontext()
        with beside:
            return super().training_step(model, inputs, num_items_in_batch)

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Tensor]:
        """The micro-batches of an optimizer step, and how many tokens (or rows) are learned in all processes' ones."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        count = torch.zeros((), dtype=torch.long, device=device)
        for batch in batches:
            count += _learned(batch).to(device)
        return batches, self.accelerator.reduce(count, reduction="sum")

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The mean cross-entropy of all validation tokens (or rows), and how often the most likely one is right."""
        dataset, of, place = cast(Packs, self.eval_dataset), self.args.world_size, self.args.process_index
        mine = Subset(dataset, range(place, len(dataset), of))  # Trainer's own sharing counts some rows twice
        loader = DataLoader(
            mine,
            self.args.per_device_eval_batch_size,
            collate_fn=self.data_collator,
            generator=torch.Generator(),  # or evaluating would move the dropout of the steps that follow
        )
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        model.train(False)
        sums = torch.zeros(3, dtype=torch.float64, device=self.args.device)
        try:
            for batch in loader:
                inputs = self._prepare_inputs(batch)
                labels = inputs.pop("labels")
                with self.compute_loss_context_manager():
                    sums += self._judged(inputs, labels).to(sums.device)
        finally:
            model.train(training)
        loss, right, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        metrics = {"eval_loss": loss / max(count, 1), "eval_accuracy": right / max(count, 1)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _judged(self, inputs: dict[str, Any], labels: Tensor) -> Tensor:
        """Summed loss, right ones and count of a batch; fp64."""
        said = self._readout(self.accelerator.unwrap_model(self.model), inputs)
        targets = labels
        if labels.ndim == 2:
            targets = predicted(labels, inputs.get("attention_mask"), inputs.get("position_ids"))
        valid = targets != IGNORED
        count = valid.sum()
        loss, _ = Ce()(
            said,
            labels,
            attention_mask=inputs.get("attention_mask"),
            position_ids=inputs.get("position_ids"),
            items=count,
        )
        right = sum((best == wanted).sum() for best, wanted in _best(said, targets, valid))
        return torch.stack([each.double().cpu() for each in (loss * count, torch.as_tensor(right), count)])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As Trainer's, with the mean of each of the objective's terms since the last time beside the loss."""
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise FinetuneError(
                    f"the loss is {logs['loss']} at step {self.state.global_step}; "
                    f"use a lower --learning-rate than {self.args.learning_rate:g}, or --precision fp32"
                )
            steps = max(self.state.global_step - self._logged_at, 1)
            for name, total in self._terms.items():
                whole = self.accelerator.reduce(total.detach().clone(), reduction="sum")
                per = self._micro_batches * self.accelerator.num_processes if name.startswith("lambda") else steps
                logs[name] = (whole / per).item()
            self._terms, self._micro_batches = {}, 0
        super().log(logs, start_time)


def _learned(batch: dict[str, Any]) -> Tensor:
    labels: Tensor = batch["labels"]
    if labels.ndim == 2:
        labels = predicted(labels, batch.get("attention_mask"), batch.get("position_ids"))
    return (labels != IGNORED).sum()


def _best(said: Hidden | Logits, targets: Tensor, valid: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The most likely token (or class) at each valid place beside the wanted one, some hundred places at a time."""
    if isinstance(said, Logits):
        yield said.values[valid].argmax(-1), targets[valid]
        return
    for states, wanted in zip(torch.split(said.states[valid], 256), torch.split(targets[valid], 256), strict=True):
        yield (
            nn.functional.linear(states.to(said.head.weight.dtype), said.head.weight, said.head.bias).argmax(-1),
            wanted,
        )


class Perturbing(TrainerCallback):
    """Tells the perturbation of each optimizer step, and keeps its state in checkpoints."""

    def __init__(self, perturbation: Attached) -> None:
        self._perturbation = perturbation

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self._perturbation.before_step()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            torch.save(self._perturbation.state_dict(), _checkpoint(args, state) / PERTURBATION)


class Completing(TrainerCallback):
    """Marks a checkpoint when every process has written its part; has to be the last callback."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if args.distributed_state is not None:
            args.distributed_state.wait_for_everyone()
        if state.is_world_process_zero:
            (_checkpoint(args, state) / COMPLETE).touch()


class Stopping(TrainerCallback):
    """Ends training after the step that is under way, with a checkpoint, once the event is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._stop.is_set():
            control.should_save = control.should_training_stop = True


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
