"""What a generator makes of given answers, without an engine."""

from __future__ import annotations

from collections.abc import Sequence

from augment.generators import Generator, steps
from augment.records import Rejected, Reply, Request, Row


def asked_and_made(
    generator: Generator, record: Row, *texts: str, k: int = 0, exemplars: Sequence[Row] = ()
) -> tuple[list[Request], Row | Rejected]:
    """The requests of one candidate, answered with `texts` in order (the last one for all further), and its end."""
    first = generator.ask(record, k, exemplars)
    if isinstance(first, Rejected):
        return [], first
    asked = [first]
    replies: list[Reply] = []
    while True:
        answers = [*texts[len(replies) :], *texts[-1:] * len(asked)]
        replies += [Reply(each.key, text) for each, text in zip(asked[len(replies) :], answers, strict=False)]
        if not steps(generator):
            return asked, generator.read(record, replies[0])
        found = generator.then(record, k, exemplars, replies)
        if isinstance(found, Rejected):
            return asked, found
        if not found:
            return asked, generator.conclude(record, k, exemplars, replies)
        asked += found
        assert len(asked) < 99, f"{generator.name} never ends"


def made(generator: Generator, record: Row, *texts: str, k: int = 0, exemplars: Sequence[Row] = ()) -> Row | Rejected:
    """What becomes of one candidate that is answered with `texts`."""
    return asked_and_made(generator, record, *texts, k=k, exemplars=exemplars)[1]
