"""How a model's work on batches is mapped: here, one batch after the other, or over workers.

A filter that runs a model puts what the model does into a `Work` and its rows into batches; who runs them is the
context's business. Workers on Ray are in `augment.executors`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Work(Protocol):
    """What is done to each batch: a frozen dataclass that can be pickled and hashed, equal to another of its kind."""

    def open(self) -> Callable[[Any], Any]:
        """Ready to work on batches: models are loaded, once in each process.

        The result for a batch depends on the batch alone, not on who works on it or what came before.

        Raises:
            AugmentError: a model cannot be loaded.
        """
        ...


Spread = Callable[[Work, Iterable[Any]], Iterator[Any]]
"""Maps a work over batches: one result a batch, in their order."""


BATCH = 64
"""Items in a batch: enough to be sorted by length, few enough for workers to have done about the same in the end."""


def spread_over(spread: Spread, work: Work, items: Sequence[Hashable], size: int = BATCH) -> list[Any]:
    """The result for each item of a work that gives a list of results for a list of items; equal items are done once.

    Raises:
        AugmentError: as `Work.open`.
    """
    once = list(dict.fromkeys(items))
    batches = [once[first : first + size] for first in range(0, len(once), size)]
    said = itertools.chain.from_iterable(spread(work, batches))
    found = dict(zip(once, said, strict=True))
    return [found[each] for each in items]


@dataclass(eq=False)
class Here:
    """Works on batches in this process; what a work has opened stays open."""

    _opened: dict[Work, Callable[[Any], Any]] = field(default_factory=dict, repr=False)

    def __call__(self, work: Work, batches: Iterable[Any]) -> Iterator[Any]:
        """The result for each batch, in order, each when it is asked for.

        Raises:
            AugmentError: as `Work.open`.
        """
        for batch in batches:
            if work not in self._opened:
                self._opened[work] = work.open()
            yield self._opened[work](batch)
