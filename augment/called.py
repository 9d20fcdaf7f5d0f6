"""`augment text`, `image` and `paired` as Python functions: the same words, a Run instead of an exit code.

They run in this process, whatever PREFECT_API_URL says: who wants a flow calls one of `flows`. Nothing is printed
unless `progress` is set. An interrupted call goes on where it was when it is made again, as the command does.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.opened import Run
from augment.options import pairs
from augment.recipe import RECIPES, read_recipe

if TYPE_CHECKING:
    from augment.plan import Plan
    from augment.summary import Tally

Place = str | os.PathLike[str]


def text(source: Place | None = None, *, recipe: Place | None = None, progress: bool = False, **keys: Any) -> Run:
    """Make n good variants of each row of text and publish them: `augment text` in Python.

    `keys` are those of a recipe file, which are the command's flags with `_` for `-`; None is a key not given. Example:
    `augment.text(source="sample", n="5x", set={"near_dup": {"threshold": 0.8}})`. `recipe` is a TOML file, over which
    `keys` win.

    Raises:
        AugmentError: whatever the command would end with.
    """
    return _run("text", source, recipe, progress, keys)


def image(source: Place | None = None, *, recipe: Place | None = None, progress: bool = False, **keys: Any) -> Run:
    """Make n good variants of each picture and publish them: `augment image` in Python, as `text`.

    Raises:
        AugmentError: whatever the command would end with.
    """
    return _run("image", source, recipe, progress, keys)


def paired(source: Place | None = None, *, recipe: Place | None = None, progress: bool = False, **keys: Any) -> Run:
    """Make n good variants of each pair of a picture and a caption: `augment paired` in Python, as `text`.

    Raises:
        AugmentError: whatever the command would end with.
    """
    return _run("paired", source, recipe, progress, keys)


def _run(modality: str, source: Place | None, recipe: Place | None, progress: bool, keys: dict[str, Any]) -> Run:
    from augment.pipeline import run_here
    from augment.plan import open_plan
    from augment.summary import Tally

    given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in keys.items()}
    given["source"] = os.fspath(source) if source is not None else None
    if isinstance(given.get("map"), str):
        given["map"] = pairs([given["map"]], "map")
    plan = open_plan(read_recipe(given, Path(recipe) if recipe is not None else None, modality))
    if plan.nothing_new:
        assert plan.parent is not None
        return Run.open(plan.parent.folder)
    tally = Tally()
    with ExitStack() as stack:
        if progress:
            _show(plan, tally, stack)
        return Run.open(run_here(plan, tally, threading.Event()).path)


def _show(plan: Plan, tally: Tally, stack: ExitStack) -> None:
    """What was chosen and how far it is, on stderr, until `stack` ends."""
    from rich.console import Console

    from augment.terminal import announce, watch

    console = Console(stderr=True)
    announce(plan, console)
    stack.enter_context(watch(tally, console))


def _signed(call: Callable[..., Run], modality: str) -> None:
    """Show the recipe's keys where a notebook asks what may be given."""
    own = inspect.signature(call)
    kinds = RECIPES[modality].model_fields
    keys = [
        inspect.Parameter(field.alias or name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any)
        for name, field in kinds.items()
        if name != "source"
    ]
    parameters = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    call.__signature__ = own.replace(parameters=[*parameters, *keys])  # type: ignore[attr-defined]


for _call in (text, image, paired):
    _signed(_call, _call.__name__)
