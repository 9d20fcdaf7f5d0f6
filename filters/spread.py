"""How a model's work on batches is mapped: here, one batch after the other, or over workers.

A filter that runs a model puts what the model does into a `Work` and its rows into batches; who runs them is the
context's business. Workers on Ray are in `augment.executors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
