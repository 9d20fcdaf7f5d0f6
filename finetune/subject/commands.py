"""`augment subject`: a thin function; torch is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augment.options import print_json

if TYPE_CHECKING:
    from finetune.subject.prepare import Prepared
    from finetune.subject.train import Trained


def subject(
    images: Annotated[Path | None, typer.Option(help="A folder with a few pictures of one thing.")] = None,
    method: Annotated[
        str | None, typer.Option(help="dreambooth-lora or textual-inversion. [default: dreambooth-lora]")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="The model that learns: diffusers:FOLDER or owner/name.")] = None,
    noun: Annotated[str | None, typer.Option(help="What it is: dog, backpack. [default: --label]")] = None,
    token: Annotated[
        str | None, typer.Option(help="The word for it. [default: sks; <subject> for textual-inversion]")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The class of the rows that it is drawn for. [default: any]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps. [default: 500; 2000]")] = None,
    rank: Annotated[int | None, typer.Option(help="The LoRA's rank. [default: 16]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Constant. [default: 0.0001; 0.002]")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures a step. [default: 1; 4]")] = None,
    size: Annotated[
        int | None, typer.Option(help="The square's side in pixels. [default: 512; 1024 for larger models]")
    ] = None,
    prior_images: Annotated[
        int | None, typer.Option(help="Pictures of the class that the base draws first. [default: 100]")
    ] = None,
    prior_weight: Annotated[float | None, typer.Option(help="What they weigh in the loss. [default: 1]")] = None,
    prior_steps: Annotated[int | None, typer.Option(help="Steps to draw one with. [default: the model's]")] = None,
    no_prior: Annotated[bool, typer.Option("--no-prior", help="Let it forget the class.")] = False,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16. [default: bf16 on a GPU that has it]")] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="All randomness derives from it. [default: 0]")] = None,
    accept_licence: Annotated[
        bool | None, typer.Option("--accept-licence", help="You have read the model's terms.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The subject's folder.")] = None,
    overwrite: Annotated[bool | None, typer.Option("--overwrite", help="Replace another subject in --out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, train nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Teach a diffusion model one thing, from a few pictures of it.

    What it learned is drawn by augment image --generators subject. Example:
    augment subject --images cup/ --noun cup --engine diffusers:Tongyi-MAI/Z-Image --out subjects/cup
    """
    from augment.errors import RecipeError, needs
    from finetune.subject.recipe import read_subject_recipe

    if no_prior and (prior_images or prior_weight is not None or prior_steps is not None):
        raise RecipeError("--no-prior draws no class pictures; leave it out, or the other --prior flags")
    flags: dict[str, Any] = {
        "images": images, "method": method, "engine": engine, "noun": noun, "token": token, "label": label,
        "steps": steps, "rank": rank, "learning_rate": learning_rate, "batch": batch, "size": size,
        "prior_images": 0 if no_prior else prior_images, "prior_weight": prior_weight, "prior_steps": prior_steps,
        "precision": precision, "gradient_checkpointing": gradient_checkpointing, "seed": seed,
        "accept_licence": accept_licence, "out": out, "overwrite": overwrite,
    }  # fmt: skip
    recipe = read_subject_recipe(flags)
    with needs("torch", "image"), needs("diffusers", "image"), needs("peft", "image"):
        import diffusers  # noqa: F401
        import peft  # noqa: F401

        from finetune.subject.prepare import prepare
    prepared = prepare(recipe)
    for line in (*prepared.notes, *prepared.lines()):
        typer.echo(line, err=True)
    if dry_run:
        if json:
            print_json({"identity": prepared.identity, "images": len(prepared.photos), **recipe.decisive()})
        return
    trained = _watched(prepared)
    if json:
        print_json({**{name: each for name, each in trained.card.items() if name != "losses"}, "path": trained.path})
    else:
        _report(trained)


def _watched(prepared: Prepared) -> Trained:
    """Train with a progress bar on stderr; the first Ctrl-C or SIGTERM stops after a step, the second at once."""
    import threading

    from rich.console import Console

    from augment.stopping import stoppable
    from finetune.subject.progress import ShowSubject
    from finetune.subject.train import Watch, train

    console = Console(stderr=True)
    stop = threading.Event()

    def kept() -> str:
        return f"nothing was written to {prepared.recipe.out}"

    with stoppable(console, stop.set, "this step", kept), ShowSubject(console, prepared.recipe.steps) as shown:
        return train(prepared, Watch(shown.drawn, shown.stepped, stop))


def _report(trained: Trained) -> None:
    card = trained.card
    if trained.already:
        typer.echo("it was trained before; nothing was done")
    if card["class_refused"]:
        typer.echo(f"{card['class_refused']} class pictures were refused by the safety checker and left out", err=True)
    typer.echo(f"loss on its {len(card['images'])} pictures {card['loss']['before']:.4f} before, "
               f"{card['loss']['after']:.4f} after")  # fmt: skip
    typer.echo(f"{card['parameters']:,} numbers learned in {card['recipe']['steps']:,} steps, {trained.seconds} s; "
               f"in a prompt it is '{card['name']}'")  # fmt: skip
    typer.echo(trained.path)
