"""`augment text`, `augment image` and `augment paired`: their flags, each also a key of a recipe file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from augment.options import pairs, settings
from augment.running import carry_out

TEXT = {
    "text": """Make n good variants of each row and publish them.

    Generates, sifts, asks again until n is met, and writes a dataset. Example: augment text --source sample --n 5x
    """,
    "image": """Make n good variants of each picture and publish them.

    With rules and no model, or drawn by a diffusion model. Example: augment image --source sample-images --n 3x
    """,
    "paired": """Make n good variants of each pair of a picture and a caption and publish them.

    The caption stays true to its picture, or the pair is dropped. Example: augment paired --source sample-images --n 3x
    """,
}
"""The verbs, and what `--help` says of each."""

_SOURCES = {
    "text": "A card (sample, chbench), a file or folder, or owner/name.",
    "image": "A card (sample-images), a folder of pictures, or owner/name.",
    "paired": "A card (sample-images), pairs in a file (JSONL, CSV, Parquet, .tar), a folder, or owner/name.",
}
_LLMS = {
    "text": "Who answers: openai:MODEL, vllm:MODEL, transformers:MODEL. Without it: rules.",
    "image": "Who writes scenes, domains and instructions: openai:MODEL. Without it: templates.",
    "paired": "Who writes captions and edits: openai:MODEL. Without it: mixgen.",
}
_NAMES = {
    "text": "Names, with weights: paraphrase,persona:2; a+b: one after the other; or auto.",
    "image": "Names, with weights: classical,img2img:2. [default: img2img with --engine, else classical]",
    "paired": "Names, with weights: mixgen,attribute_swap:2.",
}
_TIMES = {"text": "5x", "image": "3x", "paired": "3x"}


def _value(help: str, kind: Any = str) -> Any:
    return Annotated[kind | None, typer.Option(help=help)]


def _switch(flag: str, help: str) -> Any:
    return Annotated[bool | None, typer.Option(flag, help=help)]


def _flags(modality: str) -> dict[str, Any]:
    """The flags of one verb, in the order in which `--help` shows them."""
    times = _TIMES[modality]
    first = {
        "source": _value(_SOURCES[modality]),
        "n": _value(f"Variants to keep: {times} for each seed, 800 in all. [default: {times}]"),
        "generators": _value(_NAMES[modality]),
        "llm": _value(_LLMS[modality]),
        "base_url": _value("The LLM's server, or several: URL,URL. [default: $OPENAI_BASE_URL]"),
    }
    drawing = {
        "engine": _value("Who draws: diffusers:MODEL, openai-images:MODEL, or noise. Without it: rules."),
        "engine_url": _value("The server of --engine openai-images. [default: $OPENAI_BASE_URL]"),
        "size": _value("Pixels of the longer side of what is drawn. [default: 512]", int),
        "steps": _value("Denoising steps. [default: the model's]", int),
        "guidance": _value("Guidance scale. [default: the model's]", float),
        "batch": _value("Pictures drawn at once. [default: as many as fit]", int),
        "dtype": _value("float32, bfloat16 or float16. [default: bfloat16 on a GPU]"),
        "subjects": _value("Folders that augment subject wrote, for the generator subject."),
        "accept_licence": _switch(
            "--accept-licence", "You have read the terms of a model whose pictures may not clearly be trained on."
        ),
    }
    last = {
        "concurrency": _value("Requests in flight at once, on each worker. [default: 64]", int),
        "rpm": _value("Requests a minute that the LLM is asked at most.", int),
        "tpm": _value("Tokens a minute, in and out, at most.", int),
        "timeout": _value("Seconds one answer may take. [default: 300]", float),
        "budget": _value("What this run may spend: 2M-tokens, 30min. Then it stops; run it again to go on."),
        "workers": _value("Answer in so many processes, with Ray. [default: in one]", int),
        "ray": _value("A Ray cluster's address, or auto."),
        "gpus_per_worker": _value("GPUs that each worker has to itself.", float),
        "temperature": _value("Sampling temperature. [default: the generator's]", float),
        "max_tokens": _value("Tokens an answer may have. [default: 1024]", int),
        "filters": _value("Names, or default, or none. [default: default]"),
        "set_": Annotated[
            list[str] | None, typer.Option("--set", help="A setting: near_dup.threshold=0.8, img2img.strengths=[0.5].")
        ],
        "path": _value("Where the source's files are.", Path),
        "map": Annotated[list[str] | None, typer.Option(help="Columns: prompt=query,response=answer.")],
        "holdout": _value("Share held out as the exam: 20%. [default: the card's]"),
        "exam": _value("A further source that no generated row may repeat."),
        "limit": _value("Use the first so many seeds only.", int),
        "seed": _value("All randomness derives from it. [default: 0]", int),
        "allocate": _value("turns, or adaptive: most to the generators that are kept and new. [default: turns]"),
        "max_attempts": _value("Candidates a seed may have, times n. [default: 3x]"),
        "incremental": _switch("--incremental", "Grow the newest run of this recipe: new and edited rows only."),
        "without_seeds": _switch("--without-seeds", "Publish the variants alone."),
        "recipe": _value("A TOML file with these keys; flags win over it.", Path),
        "out": _value("The run folder. [default: runs/NAME-FINGERPRINT]", Path),
        "overwrite": _switch("--overwrite", "Replace another run in --out."),
        "dry_run": Annotated[bool, typer.Option("--dry-run", help="Print the plan, send nothing.")],
        "pilot": Annotated[
            bool, typer.Option("--pilot", help="Ask 1 % of it (at least 20), say what the whole will cost, and stop.")
        ],
        "json": Annotated[bool, typer.Option("--json", help="Print the summary (or the plan) as JSON.")],
        "prefect": Annotated[
            bool | None,
            typer.Option("--prefect/--no-prefect", help="As a Prefect flow. [default: when $PREFECT_API_URL is set]"),
        ],
    }
    told = "label: spread the variants so that seeds and variants come out equally many for each label."
    words = {
        "balance": _value(told),
        "n_by_label": Annotated[
            list[str] | None, typer.Option(help="Another n for the seeds of a label: anxiety=8x,sleep=6x.")
        ],
        "validation": _value("Share of the seeds to hold out beside the exam, to steer by: 10%. [default: 0]"),
    }
    return {**first, **(words if modality == "text" else drawing), **last}


def verbs() -> Iterator[Callable[..., None]]:
    """Each verb as a function that typer makes a command of."""
    for modality in TEXT:
        yield _verb(modality)


def _verb(modality: str) -> Callable[..., None]:
    flags = _flags(modality)

    def command(context: typer.Context, **given: Any) -> None:
        from augment.recipe import read_recipe

        file, dry_run, pilot, json, prefect = (
            given.pop(name, False) for name in ("recipe", "dry_run", "pilot", "json", "prefect")
        )
        given["set"] = settings(given.pop("set_"))
        given["map"] = pairs(given["map"], "--map")
        if "n_by_label" in given:
            given["n_by_label"] = pairs(given["n_by_label"], "--n-by-label")
        carry_out(read_recipe(given, file, modality), dry_run, pilot, json, prefect, context)

    default = {"dry_run": False, "pilot": False, "json": False}
    command.__name__, command.__doc__ = modality, TEXT[modality]
    command.__annotations__ = {"context": typer.Context, **flags, "return": None}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default.get(name), annotation=kind)
                for name, kind in flags.items()
            ),
        ]
    )
    return command
