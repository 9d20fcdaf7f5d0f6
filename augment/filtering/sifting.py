"""One sifting from what a user asked for to the published folder, with progress, and an end when it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from augment.errors import Interrupted
from augment.executors import spreading
from augment.filtering.dataset import Dataset
from augment.filtering.edition import Filtered, filtered
from augment.stopping import stoppable
from augment.summary import Tally
from augment.terminal import watch
from filters.llm import engines_of

TOP = "top_k"


def sift(
    dataset: Dataset,
    names: Sequence[str] | None,
    settings: Mapping[str, Mapping[str, Any]],
    console: Console,
    *,
    top_k: int | None = None,
    workers: int | None = None,
    ray: str | None = None,
    out: Path | None = None,
    overwrite: bool = False,
) -> Filtered:
    """Sift and publish; `workers` and `ray` run models on Ray.

    `top_k` adds the filter of that name with so many: of each seed of a run, of all rows of a file, where nothing else
    is told.

    Raises:
        AugmentError: what the user asked for does not go together, or cannot be read or written.
    """
    for note in dataset.notes:
        console.print(f"{dataset.name}: {note}", highlight=False, soft_wrap=True, markup=False)
    if top_k is not None:
        had = [each["name"] for each in dataset.scored] or ["default"]
        names = [*dict.fromkeys([*(names if names is not None else had), TOP])]
        of_all = (
            {} if dataset.owners is not None or TOP in {each["name"] for each in dataset.scored} else {"per": "all"}
        )
        settings = {**settings, TOP: {**of_all, **settings.get(TOP, {}), "k": top_k}}
    chain = dataset.chain(names, settings)
    tally, stop = Tally(), threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Interrupted("stopped before every row was sifted")

    def halt() -> None:
        stop.set()
        for engine in engines_of(context):
            engine.drain()

    context = dataset.context()
    for line in dataset.stale(chain, context):
        console.print(f"{dataset.name}: {line}", highlight=False, soft_wrap=True, markup=False)
    with (
        stoppable(console, halt, "the rows at hand"),
        spreading(workers, ray) as context.spread,
        watch(tally, console),
    ):
        return filtered(dataset, chain, tally, out=out, overwrite=overwrite, check=check, context=context)
