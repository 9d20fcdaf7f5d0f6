"""What a person sees while an adapter trains: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from augment.terminal import PLAIN_EVERY

log = logging.getLogger(__name__)


class ShowProgress(TrainerCallback):
    """Shows steps, time left and the last losses on `console`; of several processes only the first one does."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=console,
            transient=True,
        )
        self._said: dict[str, float] = {}
        self._told = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        self._first = state.is_world_process_zero
        if self._first and self._console.is_terminal:
            self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step, said="")
            self._bar.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kw: Any,
    ) -> None:
        for name in ("loss", "eval_loss"):
            if logs and name in logs:
                self._said[name] = logs[name]
        said = ", ".join(f"{name.replace('eval_', 'validation ')} {value:.4f}" for name, value in self._said.items())
        if not self._first:
            return
        if self._console.is_terminal:
            self._bar.update(self._task, completed=state.global_step, said=said)
        elif time.monotonic() - self._told >= PLAIN_EVERY:
            self._told = time.monotonic()
            self._console.print(
                f"step {state.global_step:,} of {state.max_steps:,}: {said}", highlight=False, soft_wrap=True
            )

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        if self._console.is_terminal:
            self._bar.stop()


class Reached(TrainerCallback):
    """What part of the steps is done, as `share` from 0 to 1; `tell` is called when it has grown.

    Each evaluation is a line in the log.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self.share: float | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        self.share = state.global_step / state.max_steps
        self._tell()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kw: Any,
    ) -> None:
        if logs and "eval_loss" in logs:
            log.info("step %s of %s: validation loss %.4f", state.global_step, state.max_steps, logs["eval_loss"])
