"""Generators one after the other, `paraphrase+answer`: what one makes of a record, the next is asked about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from augment.errors import RecipeError
from augment.generators import Generator, answers_itself, steps, tasks_of
from augment.records import Rejected, Reply, Request, Row


@dataclass(frozen=True)
class Chained:
    """Several generators as one. A part that answers itself is asked nothing; a row that a part rejects ends there.

    Its rows name the whole chain, and hold what the last part made. Requests of a part are those that it asks by
    itself about the same row, so that their replies are shared with a run that names the part alone.
    """

    parts: tuple[Generator, ...]
    seed: int = 0

    @classmethod
    def of(cls, parts: Sequence[Generator], seed: int) -> Chained:
        """A chain of parts.

        Raises:
            RecipeError: nothing of it is asked of anybody, or two parts look at different seeds beside the record.
        """
        name = "+".join(each.name for each in parts)
        if all(answers_itself(each) for each in parts):
            raise RecipeError(f"--generators {name}: nothing of it asks an LLM; name its parts apart, with commas")
        looks = sorted({str(getattr(each, "looks_at", "")) for each in parts} - {""})
        if len(looks) > 1:
            raise RecipeError(
                f"--generators {name}: its parts look at different rows ({', '.join(looks)}); chain others"
            )
        return cls(tuple(parts), seed)

    @property
    def name(self) -> str:
        """The parts' names, with + between them."""
        return "+".join(each.name for each in self.parts)

    @property
    def needs(self) -> tuple[str, ...]:
        """What the first part needs: the others are given what it makes."""
        return self.parts[0].needs

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the first part is for."""
        return tasks_of(self.parts[0])

    @property
    def adds_facts(self) -> bool:
        """Whether a part may state new numbers."""
        return any(each.adds_facts for each in self.parts)

    @property
    def makes_new(self) -> bool:
        """Whether a part makes new examples."""
        return any(getattr(each, "makes_new", False) for each in self.parts)

    @property
    def flips(self) -> bool:
        """Whether a part says something else in nearly the same words."""
        return any(getattr(each, "flips", False) for each in self.parts)

    @property
    def relabels(self) -> bool:
        """Whether a part may change the label."""
        return any(getattr(each, "relabels", False) for each in self.parts)

    @property
    def adds(self) -> tuple[str, ...]:
        """The columns that its parts add."""
        return tuple(dict.fromkeys(name for each in self.parts for name in getattr(each, "adds", ())))

    @property
    def looks_at(self) -> str:
        """The one thing that its parts look at beside the record."""
        return next((look for each in self.parts if (look := getattr(each, "looks_at", ""))), "")

    def fits(self, seeds: pl.DataFrame) -> None:
        """Whether the source has what the first part needs.

        Raises:
            RecipeError: it has not.
        """
        if check := getattr(self.parts[0], "fits", None):
            check(seeds)

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """What the first part that asks anything asks."""
        found = self._walk(record, k, exemplars, ())
        assert not isinstance(found, Row), f"{self.name} asks nothing"
        return found if isinstance(found, Rejected) else found[0]

    def then(
        self, record: Row, k: int, exemplars: Sequence[Row], replies: Sequence[Reply]
    ) -> tuple[Request, ...] | Rejected:
        """What the part that has its turn asks."""
        found = self._walk(record, k, exemplars, replies)
        return () if isinstance(found, Row) else found

    def conclude(self, record: Row, k: int, exemplars: Sequence[Row], replies: Sequence[Reply]) -> Row | Rejected:
        """What the last part made."""
        found = self._walk(record, k, exemplars, replies)
        assert not isinstance(found, tuple), f"{self.name} was not asked to its end"
        return found

    def _walk(
        self, record: Row, k: int, exemplars: Sequence[Row], replies: Sequence[Reply]
    ) -> Row | Rejected | tuple[Request, ...]:
        """Part after part as far as the replies reach: what is asked then, or what came out."""
        row, left = record, list(replies)
        for part in self.parts:
            found = _onward(part, row, k, exemplars, left)
            if not isinstance(found, Row):
                return found if isinstance(found, Rejected) else tuple(self._own(each) for each in found)
            row = dataclasses.replace(found, id=record.id)
        return row

    def _own(self, request: Request) -> Request:
        return dataclasses.replace(request, generator=self.name)


def _onward(
    part: Generator, row: Row, k: int, exemplars: Sequence[Row], left: list[Any]
) -> Row | Rejected | tuple[Request, ...]:
    """One part: takes its replies from the front of `left`; what it asks where they do not reach."""
    asked = part.ask(row, k, exemplars)
    if isinstance(asked, Rejected):
        return asked
    if answers_itself(part):
        return part.read(row, part.answer(asked))
    mine: list[Reply] = []
    batch: tuple[Request, ...] = (asked,)
    while True:
        if len(left) < len(batch):
            return batch
        mine += left[: len(batch)]
        del left[: len(batch)]
        if not steps(part):
            return part.read(row, mine[0])
        found = part.then(row, k, exemplars, mine)
        if isinstance(found, Rejected):
            return found
        if not found:
            return part.conclude(row, k, exemplars, mine)
        batch = found
