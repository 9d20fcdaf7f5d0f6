"""A new question answered anew: the second step of generators whose texts no longer fit their parent's answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from augment.generators.answer import KEPT
from augment.generators.prompt import enclosed, prompt_for
from augment.generators.reading import read_fields
from augment.records import Rejected, Reply, Request, Row


def ask_for_answer(
    record: Row, text: str | Rejected, generator: str, k: int, seed: int, replies: Sequence[Reply]
) -> tuple[Request, ...] | Rejected:
    """The request for the answer to `text`, in the words of `answer`, where the record has one; () once it is there."""
    if isinstance(text, Rejected):
        return text
    if len(replies) > 1 or record.response is None:
        return ()
    _, prompt = prompt_for(dataclasses.replace(record, prompt=text), KEPT)
    return (prompt.request(record, generator, k, seed, {"question": enclosed(text)}),)


def with_answer(record: Row, text: str | Rejected, replies: Sequence[Reply]) -> Row | Rejected:
    """The record with `text` and, where it has an answer, the new one that the second reply holds."""
    if isinstance(text, Rejected):
        return text
    if record.response is None:
        return dataclasses.replace(record, prompt=text)
    told = read_fields(replies[1].text, ("answer",))
    return told if isinstance(told, Rejected) else dataclasses.replace(record, prompt=text, response=told["answer"])
