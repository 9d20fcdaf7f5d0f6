"""The generators: each asks about one record and reads one answer. One file each, one line in `TABLE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeGuard

from augment.records import Rejected, Reply, Request, Row
from augment.registry import Table

TABLE = Table(
    "generator",
    {
        "answer": "augment.generators.answer:Answer",
        "paraphrase": "augment.generators.paraphrase:Paraphrase",
        "persona": "augment.generators.persona:Persona",
        "rules": "augment.generators.rules:Rules",
    },
)


EXHAUSTED = "no further variant"
"""The reason a self-answering generator gives when it has no k-th variant, nor any after it."""


class Generator(Protocol):
    """A frozen dataclass whose prompts are module constants beside it.

    `needs` are the columns a record must have, `adds_facts` says that a variant may state numbers its parent
    did not (a persona's age), and `seed` is the recipe's seed, from which each request's seed derives.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    adds_facts: ClassVar[bool]
    seed: int

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request:
        """The k-th request about `record` (k = 0, 1, …); a pure function of its arguments."""
        ...

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The variant that `reply` holds, or why it holds none. A bad answer is data, not an exception.

        Whatever id the returned row has is replaced by one of its own.
        """
        ...


class SelfAnswering(Generator, Protocol):
    """A generator that needs no engine: it answers its own requests, deterministically."""

    version: ClassVar[str]

    def answer(self, request: Request) -> Reply:
        """The reply to a request made by this generator's own `ask`."""
        ...


def answers_itself(generator: Generator) -> TypeGuard[SelfAnswering]:
    """Whether a generator needs no engine."""
    return hasattr(generator, "answer")
