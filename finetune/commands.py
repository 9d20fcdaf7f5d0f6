"""`augment finetune` and `augment adapter`: thin functions; torch is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.errors import RecipeError
from augment.help import Verb
from augment.options import pairs, print_json, settings
from augment.running import flow_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetune.prepare import Prepared
    from finetune.train import Trained

adapter = typer.Typer(no_args_is_help=True, help="Look into, export or merge an adapter.", rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(help="The adapter's folder.")]


def finetune(
    context: typer.Context,
    base: Annotated[str | None, typer.Option(help="The base model: a folder, or owner/name of the hub.")] = None,
    data: Annotated[str | None, typer.Option(help="A run, a file or folder, a card, or owner/name.")] = None,
    adapter: Annotated[str | None, typer.Option(help="lora, pissa, slora, nlora or inttune. [default: lora]")] = None,
    rank: Annotated[int | None, typer.Option(help="The adapter's rank. [default: 16]")] = None,
    alpha: Annotated[float | None, typer.Option(help="Its scale is alpha / rank. [default: the rank]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout before the adapter. [default: 0]")] = None,
    targets: Annotated[str | None, typer.Option(help="Modules, or a pattern of names. [default: all-linear]")] = None,
    rslora: Annotated[bool | None, typer.Option("--rslora", help="Scale by alpha / √rank.")] = None,
    objective: Annotated[str | None, typer.Option(help="ce or ba-lora. [default: ce]")] = None,
    perturb: Annotated[str | None, typer.Option(help="ggpo or mgpo. [default: none]")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="adapter.core=pinv, objective.version=A, perturb.rho=0.05.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="chat or classify. [default: by the data]")] = None,
    map: Annotated[list[str] | None, typer.Option(help="Columns: prompt=query,response=answer,label=topic.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Times over the rows. [default: 1]")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps at most.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows (or packs) a step, on all devices. [default: 16]")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Rows at a time on a device. [default: up to 4]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest rate. [default: the adapter's]")] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine, linear or constant. [default: cosine]")] = None,
    warmup: Annotated[str | None, typer.Option(help="Share of the steps to warm up in. [default: 3%]")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's weight decay. [default: 0]")] = None,
    length: Annotated[
        int | None, typer.Option(help="Tokens a row may have; longer ones stay out. [default: 2048]")
    ] = None,
    packing: Annotated[
        bool | None, typer.Option("--packing", help="Put short rows together, unseen by each other.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16. [default: bf16 on a GPU that has it]")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit: the base in NF4.")] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = None,
    validation: Annotated[str | None, typer.Option(help="Share of the seeds to validate with. [default: 10%]")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many evaluations without gain, and keep the best.")
    ] = None,
    eval_every: Annotated[int | None, typer.Option(help="Steps between evaluations. [default: a tenth of all]")] = None,
    log_every: Annotated[int | None, typer.Option(help="Steps between log entries. [default: 1]")] = None,
    report_to: Annotated[str | None, typer.Option(help="tensorboard, wandb, … as Trainer has them.")] = None,
    seed: Annotated[int | None, typer.Option(help="All randomness derives from it. [default: 0]")] = None,
    revision: Annotated[str | None, typer.Option(help="The base's commit or tag on the hub.")] = None,
    trust_remote_code: Annotated[
        bool | None, typer.Option("--trust-remote-code", help="Run the base's own code.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file with these keys; flags win over it.")] = None,
    out: Annotated[Path | None, typer.Option(help="The adapter's folder. [default: adapters/BASE-ADAPTER-…]")] = None,
    overwrite: Annotated[bool | None, typer.Option("--overwrite", help="Replace another training in --out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, train nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    prefect: Annotated[
        bool | None,
        typer.Option("--prefect/--no-prefect", help="As a Prefect flow. [default: when $PREFECT_API_URL is set]"),
    ] = None,
) -> None:
    """Train an adapter on a dataset.

    Killed at any moment, the same command goes on where it was. Several GPUs: torchrun -m augment finetune … Example:
    augment finetune --base Qwen/Qwen3-0.6B --data runs/sample-1a2b3c4d --adapter nlora --rank 16 --out adapters/mine
    """
    from augment.errors import needs
    from finetune.recipe import read_finetune_recipe

    flags: dict[str, Any] = {
        "base": base, "data": data, "adapter": adapter, "rank": rank, "alpha": alpha, "dropout": dropout,
        "targets": targets, "rslora": rslora, "objective": objective, "perturb": perturb, "set": settings(set_),
        "task": task, "map": pairs(map, "--map"), "epochs": epochs, "max_steps": max_steps, "batch": batch,
        "micro_batch": micro_batch, "learning_rate": learning_rate, "schedule": schedule, "warmup": warmup,
        "weight_decay": weight_decay, "length": length, "packing": packing, "precision": precision,
        "quantize": quantize, "gradient_checkpointing": gradient_checkpointing, "validation": validation,
        "patience": patience, "eval_every": eval_every, "log_every": log_every, "report_to": report_to, "seed": seed,
        "revision": revision, "trust_remote_code": trust_remote_code, "out": out, "overwrite": overwrite,
    }  # fmt: skip
    written = read_finetune_recipe(flags, recipe)
    flow = None if dry_run else flow_of(context, "finetune", _alone(prefect))
    with needs("torch", "finetune"):
        from finetune.model import quiet
        from finetune.prepare import prepare
    quiet()
    prepared = prepare(written)
    _announce(prepared)
    if dry_run:
        if json:
            from dataclasses import asdict

            print_json(asdict(prepared.forecast))
        return
    trained = _watched(prepared, flow)
    if json:
        print_json(
            {**{key: value for key, value in trained.record.items() if key != "history"}, "path": str(trained.path)}
        )
    else:
        _report(trained)


def _first() -> bool:
    """Whether this is the process that speaks, of those that train together."""
    import os

    return os.environ.get("RANK", "0") == "0"


def _announce(prepared: Prepared) -> None:
    if _first():
        for line in (*prepared.notes, *prepared.forecast.lines(), *_left_out(prepared)):
            typer.echo(line, err=True)


def _left_out(prepared: Prepared) -> list[str]:
    lost = [f"{count:,} {reason}" for reason, count in prepared.lost.items()]
    lost += [f"{prepared.aside:,} variants of validation rows"] if prepared.aside else []
    return [f"rows left out: {', '.join(lost)}"] if lost else []


def _alone(prefect: bool | None) -> bool | None:
    """`--prefect` as given; processes that train together are never a flow, as each would be one of its own.

    Raises:
        RecipeError: a flow is asked for where several processes train together.
    """
    from finetune.recipe import world_size

    if world_size() == 1:
        return prefect
    if prefect:
        raise RecipeError(f"--prefect trains in one process, not in {world_size()}; leave it out under torchrun")
    return False


def _watched(prepared: Prepared, flow: Callable[..., Trained] | None) -> Trained:
    """Train, in Prefect where there is a `flow`, with a progress bar on stderr.

    The first Ctrl-C or SIGTERM stops after a step, the second at once.
    """
    import threading

    from rich.console import Console

    from augment.stopping import stoppable
    from finetune.progress import ShowProgress
    from finetune.train import train

    console = Console(stderr=True)
    stop = threading.Event()
    with stoppable(console, stop.set, "this step"):
        tell = console.print if _first() else lambda _: None
        return (flow or train)(prepared, tell=tell, watch=[ShowProgress(console)], stop=stop)


def _report(trained: Trained) -> None:
    if not _first():
        return
    record = trained.record
    before, after = record["validation"]["before"], record["validation"]["after"]
    if trained.already:
        typer.echo("it was trained before; nothing was done")
    if before is not None:
        what = "rows" if record["data"]["labels"] else "tokens"
        typer.echo(f"validation loss {before['eval_loss']:.4f} before, {after['eval_loss']:.4f} after")
        typer.echo(f"{what} guessed right {before['eval_accuracy']:.1%} before, {after['eval_accuracy']:.1%} after")
    typer.echo(f"{record['steps']['done']:,} steps in {record['measured']['seconds']} s:")
    typer.echo(trained.path)


@adapter.command(cls=Verb)
def info(
    folder: Folder,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what is in an adapter's folder.

    Example: augment adapter info adapters/mine
    """
    from augment.errors import needs

    with needs("safetensors", "finetune"):
        from finetune.export import info as look
    from dataclasses import asdict

    found = asdict(look(folder))
    if json:
        print_json(found)
        return
    for key, value in found.items():
        text = ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, dict) else value
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else text
        typer.echo(f"{key}: {f'{text:,}' if isinstance(text, int) and not isinstance(text, bool) else text}")


@adapter.command(cls=Verb)
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The folder for the plain LoRA.")],
    rank: Annotated[int | None, typer.Option(help="Its rank. [default: all that was learned]")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
) -> None:
    """Write an adapter as plain LoRA, which stock PEFT and vLLM read.

    Example: augment adapter export adapters/mine --out adapters/mine-plain
    """
    from augment.errors import needs

    with needs("torch", "finetune"):
        import torch  # noqa: F401

        from finetune.export import export as write
    done = write(folder, out, rank, dtype)
    lost = f"{done.error:.2%} of what was learned is lost" if done.error > 5e-5 else "nothing is lost"
    typer.echo(f"plain LoRA of rank {done.rank} in {done.layers} layers, {done.dtype}; {lost}")
    if not done.servable:
        typer.echo(f"vLLM serves no rank {done.rank}; add --rank 512 to serve it", err=True)
    typer.echo(done.path)


@adapter.command(cls=Verb)
def merge(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The folder for the whole model.")],
    base: Annotated[str | None, typer.Option(help="The base model. [default: the one the adapter names]")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16; merged in float32.")] = "float32",
) -> None:
    """Write the base model with the adapter in its weights.

    Example: augment adapter merge adapters/mine --out models/mine
    """
    from augment.errors import needs

    with needs("torch", "finetune"):
        import torch  # noqa: F401

        from finetune.export import merge as write
        from finetune.model import quiet
    quiet()
    done = write(folder, out, base, dtype)
    typer.echo(f"{done.parameters:,} parameters in {done.dtype}, {done.layers} layers merged")
    typer.echo(done.path)
