"""Every verb that is a flow: the flow, how its recipe is read to run by itself, and what runs it by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefect import Flow
from pydantic import BaseModel

from augment.errors import RecipeError
from augment.pipeline import Curated
from augment.plan import Plan
from augment.recipe import verb_of
from augment.registry import closest
from augment.summary import Tally
from flows import curation, finetune, loop
from flows.image import image
from flows.paired import paired
from flows.text import text


@dataclass(frozen=True)
class Verb:
    """A verb as a flow. `to_serve` reads and checks a recipe file of it; `by_hand` takes what the work without Prefect
    takes; `told` is a line on what a recipe does, with {places} for its keys.
    """

    flow: Flow[..., Any]
    to_serve: Callable[[Path], BaseModel]
    by_hand: Callable[..., Any]
    told: str


def _curation(flow: Flow[..., Any]) -> Verb:
    told = "{n} variants of what is new in {source}"
    return Verb(flow, curation.to_serve, partial(curation.curate_by_hand, flow), told)


VERBS = {
    "text": _curation(text),
    "image": _curation(image),
    "paired": _curation(paired),
    "finetune": Verb(finetune.finetune, finetune.to_serve, finetune.train_by_hand, "{adapter} on {base} from {data}"),
    "loop": Verb(loop.loop, loop.to_serve, loop.loop_by_hand, "{rounds} × augment, train and sit the exam"),
}


def verb_for(file: Path) -> Verb:
    """The verb that the recipe in `file` is for.

    Raises:
        RecipeError: the file is missing or broken, or its verb is none that runs by itself.
    """
    name = verb_of(file)
    if name not in VERBS:
        raise RecipeError(f"recipe {file} is for '{name}', which is no verb that runs by itself; {_known(name)}")
    return VERBS[name]


def _known(name: str) -> str:
    return closest(name, list(VERBS))


def by_hand(verb: str) -> Callable[..., Any]:
    """What runs a verb's work as its flow in this process."""
    return VERBS[verb].by_hand


def run_by_hand(plan: Plan, tally: Tally, stop: threading.Event) -> Curated:
    """Run a plan as the flow of its verb in this process; `tally` is watched and `stop` set from outside.

    Raises:
        RunError: a Prefect API is configured and does not answer.
        AugmentError: as `curate`.
    """
    done: Curated = by_hand(plan.modality)(plan, tally, stop)
    return done
