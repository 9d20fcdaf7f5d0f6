"""A prepared training to an adapter on disk: train, stop and go on exactly, save, export, and say what was done.

The folder: the adapter as PEFT saves it, with its tokenizer; `plain/`, the same as plain LoRA for vLLM and stock PEFT;
README.md, the training card; curves.svg; training.json; manifest.json, written last.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, TrainerCallback, TrainingArguments

from augment import __version__
from augment.errors import FinetuneError, Interrupted
from augment.manifest import MANIFEST, digest_of
from augment.pipeline import Directly, Stage
from finetune.adapters.tuner import AnchoredConfig
from finetune.batches import Flattened, Padded, check_packing
from finetune.card import training_card
from finetune.curves import draw
from finetune.export import export
from finetune.folder import CHECKPOINTS, SAVING, TRAINING, folder_of, last_checkpoint
from finetune.memory import enough_memory
from finetune.model import load
from finetune.objectives.readout import Readout
from finetune.prepare import Prepared
from finetune.record import peak_memory, record_of
from finetune.trainer import PERTURBATION, AdapterTrainer, Completing, Perturbing, Stopping

PLAIN = "plain"
EVALUATIONS = 10
"""How often a training is evaluated and saved, unless told otherwise."""


@dataclass(frozen=True)
class Trained:
    """A finished adapter. `record` is what training.json holds; `already` tells that it was there before."""

    path: Path
    record: dict[str, Any]
    already: bool = False


def train(
    prepared: Prepared,
    *,
    tell: Callable[[str], None] = lambda _: None,
    watch: Sequence[TrainerCallback] = (),
    stop: threading.Event | None = None,
    stage: Stage | None = None,
) -> Trained:
    """Train, or go on where an earlier process stopped, and write everything into `prepared.out`.

    `tell` takes lines for the user, `watch` are callbacks of Trainer's, `stop` ends after the step under way, `stage`
    runs the named stretches of the work.

    Raises:
        FinetuneError: it does not fit into memory, or the loss is not finite.
        Interrupted: `stop` was set; the same call goes on.
        RunError: the folder holds something else, or another process is writing it.
    """
    out = prepared.out
    stop = stop or threading.Event()
    stage = stage or Directly()
    with folder_of(prepared) as done:
        if done is not None:
            return Trained(out, done, already=True)
        started = time.monotonic()
        checkpoint = last_checkpoint(out / CHECKPOINTS)
        trainer = stage(f"train {out.name}", lambda: _taught(prepared, checkpoint, tell, watch, stop))
        begun = int(checkpoint.name.partition("-")[2]) if checkpoint is not None else 0
        measured = {"seconds": round(time.monotonic() - started, 1), "from_step": begun, "memory": peak_memory()}
        record = record_of(prepared, trainer, measured)
        if trainer.is_world_process_zero():
            stage(f"publish {out.name}", lambda: _publish(prepared, trainer, record))
        trainer.accelerator.wait_for_everyone()
        return Trained(out, record)


def _taught(
    prepared: Prepared,
    checkpoint: Path | None,
    tell: Callable[[str], None],
    watch: Sequence[TrainerCallback],
    stop: threading.Event,
) -> AdapterTrainer:
    """The trainer after its last step.

    Raises:
        FinetuneError: it does not fit into memory.
        Interrupted: `stop` was set before that.
    """
    with enough_memory(prepared):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        trainer = _trainer(prepared, watch, stop)
        if checkpoint is not None:
            tell(f"going on at step {checkpoint.name.partition('-')[2]} of {prepared.forecast.steps}")
            _restore(trainer, checkpoint)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    if stop.is_set() and trainer.state.global_step < prepared.forecast.steps:
        raise Interrupted(f"stopped at step {trainer.state.global_step} of {prepared.forecast.steps}")
    return trainer


def _trainer(prepared: Prepared, watch: Sequence[TrainerCallback], stop: threading.Event) -> AdapterTrainer:
    recipe = prepared.recipe
    pad = prepared.tokenizer.pad_token_id
    assert isinstance(pad, int)
    base = load(
        prepared.base,
        dtype=prepared.dtype,
        four_bit=recipe.quantize == "4bit",
        labels=prepared.labels,
        pad=pad,
        seed=recipe.seed,
    )
    if recipe.packing:
        check_packing(base, prepared.train.examples()[:256])
    model: PeftModel = prepared.method.adapter.attach(base)
    cast(AnchoredConfig, model.peft_config["default"]).labels = list(prepared.labels)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # a head trained in bf16 would round its steps away
    perturbation = prepared.method.perturbation.attach(model) if prepared.method.perturbation else None
    callbacks: list[TrainerCallback] = [*watch, Stopping(stop)]
    if recipe.patience is not None:
        callbacks.append(EarlyStoppingCallback(recipe.patience))
    if perturbation is not None:
        callbacks.append(Perturbing(perturbation))
    try:
        trainer = AdapterTrainer(
            model,
            objective=prepared.method.objective,
            readout=Readout(model, hidden=prepared.fused),
            perturbation=perturbation,
            args=_arguments(prepared),
            train_dataset=prepared.train,
            eval_dataset=prepared.validation if len(prepared.validation) else None,
            data_collator=Flattened() if recipe.packing else Padded(pad),
            callbacks=[*callbacks, Completing()],
        )
    except (RuntimeError, ImportError, ValueError) as error:
        told = f"{error}".partition("\n")[0]
        if recipe.report_to and ("installed" in told or "is not supported, only" in told):
            raise FinetuneError(f"--report-to {recipe.report_to}: {told}") from None
        raise
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(prepared: Prepared) -> TrainingArguments:
    recipe, forecast = prepared.recipe, prepared.forecast
    every = recipe.eval_every or max(1, round(forecast.steps / EVALUATIONS))
    judged = len(prepared.validation) > 0
    if recipe.report_to:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(prepared.out / "tensorboard"))
    given = prepared.recipe.settings.get("training", {})
    try:
        return TrainingArguments(
            output_dir=str(prepared.out / CHECKPOINTS),
            per_device_train_batch_size=forecast.micro_batch,
            per_device_eval_batch_size=forecast.micro_batch,
            gradient_accumulation_steps=prepared.accumulate,
            max_steps=forecast.steps,
            learning_rate=prepared.method.learning_rate,
            lr_scheduler_type=recipe.schedule,
            warmup_steps=round(recipe.warmup * forecast.steps),
            weight_decay=recipe.weight_decay,
            bf16=prepared.dtype == torch.bfloat16,
            **_checkpointing(recipe.gradient_checkpointing),
            logging_steps=recipe.log_every,
            logging_first_step=True,
            logging_nan_inf_filter=False,
            eval_strategy="steps" if judged else "no",
            eval_steps=every,
            eval_on_start=judged and last_checkpoint(prepared.out / CHECKPOINTS) is None,
            save_strategy="steps",
            save_steps=every,
            save_total_limit=2,
            load_best_model_at_end=recipe.patience is not None,
            metric_for_best_model="eval_loss" if judged else None,
            greater_is_better=False if judged else None,
            report_to=[each.strip() for each in recipe.report_to.split(",")] if recipe.report_to else [],
            run_name=prepared.out.name,
            seed=recipe.seed,
            use_cpu=not torch.cuda.is_available(),
            remove_unused_columns=False,
            disable_tqdm=True,
            average_tokens_across_devices=False,  # AdapterTrainer counts over all processes itself
            ddp_find_unused_parameters=False,
            dataloader_pin_memory=torch.cuda.is_available(),
            **given,
        )
    except TypeError as error:
        raise FinetuneError(f"--set training: {error}".replace("TrainingArguments.__init__() ", "")) from None
    except ValueError as error:
        told = f"{error}".partition("\n")[0]
        raise FinetuneError(f"Trainer refuses these settings: {told}; look at --set training and --report-to") from None


def _checkpointing(on: bool) -> dict[str, Any]:
    """What Trainer is told of gradient checkpointing, which some versions of it call activation checkpointing."""
    fields = TrainingArguments.__dataclass_fields__
    name = "activation_checkpointing" if "activation_checkpointing" in fields else "gradient_checkpointing"
    return {name: on, f"{name}_kwargs": {"use_reentrant": False} if on else None}


def _restore(trainer: AdapterTrainer, checkpoint: Path) -> None:
    saved = checkpoint / PERTURBATION
    if trainer.perturbation is not None and saved.is_file():
        trainer.perturbation.load_state_dict(torch.load(saved, weights_only=True))


def _publish(prepared: Prepared, trainer: AdapterTrainer, record: dict[str, Any]) -> None:
    """Write the finished folder, each file beside its place first, the manifest last."""
    out = prepared.out
    model = cast(PeftModel, trainer.accelerator.unwrap_model(trainer.model))
    with tempfile.TemporaryDirectory(prefix=SAVING, dir=out) as name:
        folder = Path(name)
        model.save_pretrained(str(folder))
        prepared.tokenizer.save_pretrained(folder)
        record["exported"] = _exported(folder, folder / PLAIN)
        prepared.tokenizer.save_pretrained(folder / PLAIN)
        (folder / "curves.svg").write_text(draw(record["history"]), "utf-8")
        (folder / "README.md").write_text(training_card(record), "utf-8")
        (folder / TRAINING).write_text(json.dumps(record, ensure_ascii=False, indent=1), "utf-8")
        shutil.rmtree(out / PLAIN, ignore_errors=True)
        for each in sorted(folder.iterdir()):
            each.replace(out / each.name)
    files = {
        str(each.relative_to(out)): digest_of(each)
        for each in sorted(out.rglob("*"))
        if each.is_file()
        and not each.name.startswith(".")
        and each.relative_to(out).parts[0] not in (CHECKPOINTS, "tensorboard")
    }
    manifest = {"version": __version__, "identity": prepared.identity, "files": files}
    beside = out / f".{MANIFEST}"
    beside.write_text(json.dumps(manifest, indent=1), "utf-8")
    beside.replace(out / MANIFEST)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def _exported(native: Path, plain: Path) -> dict[str, Any]:
    done = export(native, plain)
    return {"rank": done.rank, "error": done.error, "servable": done.servable}
