"""Where a shard's requests are answered: in this process, or by workers. The only package that imports Ray."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from augment.errors import needs
from augment.executors.local import Answer, Answered, local

if TYPE_CHECKING:
    from augment.plan import Plan
    from filters.spread import Spread

__all__ = ["Answer", "Answered", "answering", "local", "spreading"]


@contextmanager
def answering(plan: Plan, stop: threading.Event | None = None) -> Iterator[Answer]:
    """Who answers the plan's shards, as its recipe says: `local`, or Ray workers that live until the block ends.

    `stop` is the event that `curate` gets: once it is set, workers take no further request, those in flight
    are still answered, and then the answer raises Interrupted.

    Raises:
        RecipeError: Ray is not installed.
        EngineError: it does not answer, or has no room for a worker.
    """
    if plan.recipe.workers is None and plan.recipe.ray is None:
        yield local
        return
    with needs("ray", "ray"):
        from augment.executors.cluster import on_ray

    with on_ray(plan, stop or threading.Event()) as answer:
        yield answer


@contextmanager
def spreading(workers: int | None = None, ray: str | None = None, gpus_per_worker: float = 0.0) -> Iterator[Spread]:
    """How filters' models work on batches: here, or on Ray workers that live until the block ends.

    Ray is asked where `workers` or `ray` (an address, "auto") is given. The spread is for `filters.Context.spread`.

    Raises:
        RecipeError: Ray is not installed.
        EngineError: it does not answer, or has no room for a worker.
    """
    if workers is None and ray is None:
        from filters.spread import Here

        yield Here()
        return
    with needs("ray", "ray"):
        from augment.executors.spread import Wanted, on_ray

    with on_ray(Wanted(workers, ray, gpus_per_worker)) as spread:
        yield spread
