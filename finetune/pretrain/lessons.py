"""What a small model is taught from rows: their texts, and how a request of `paraphrase` is answered.

Nothing here answers a question in a chat: that is left for an adapter to learn. The rewordings are those of `rules`,
of another seed than a run's own, so that a run that uses both does not get the same ones twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import polars as pl

from augment.engines.chat import SCHEMA_PROMPT
from augment.generators.lexicon import lexicon_version
from augment.generators.paraphrase import PROMPTS, STYLES, Paraphrase
from augment.generators.rules import variants_of
from augment.records import Request, Row, seed_for

MANNERS = min(len(each) for each in STYLES.values())
"""How many manners `paraphrase` asks for before it begins anew."""


@dataclass(frozen=True)
class Lesson:
    """One row as it is taught: the question and its rewordings, the answer, and the record that requests are about."""

    record: Row
    questions: tuple[str, ...]

    @property
    def rewordings(self) -> tuple[str, ...]:
        """The question in other words; none for a language that `rules` does not know."""
        return self.questions[1:]

    def text(self, number: int) -> str:
        """The row as plain text, asked in its `number`-th wording."""
        asked = self.questions[number % len(self.questions)]
        return f"{asked}\n{self.record.response}" if self.record.response else asked

    def request(self, manner: int) -> Request:
        """What `paraphrase` sends about the row the `manner`-th time."""
        return Paraphrase().ask(self.record, manner, ())

    def reply(self, number: int) -> str:
        """The answer that `paraphrase` reads, with the `number`-th rewording."""
        return orjson.dumps({"question": self.rewordings[number % len(self.rewordings)]}).decode()


def lessons_of(rows: pl.DataFrame, variants: int, seed: int) -> tuple[Lesson, ...]:
    """A lesson for each row, with at most `variants` rewordings. `rows` has id, prompt and response."""
    found = []
    for row in rows.select("id", "prompt", "response").iter_rows(named=True):
        record = Row(row["id"], row["prompt"], row["response"])
        base = seed_for("pretrain", "rules", 0, seed)
        found.append(Lesson(record, (record.prompt, *variants_of(record.prompt, record.id, base)[:variants])))
    return tuple(found)


def made_with() -> tuple[str, ...]:
    """What lessons are made with besides rows: the rules' knowledge and the wording of requests."""
    return (
        lexicon_version(),
        *(prompt.template for prompt in PROMPTS.values()),
        SCHEMA_PROMPT,
        *sum(STYLES.values(), ()),
    )


def wordings(lessons: Sequence[Lesson]) -> list[str]:
    """The texts of the lessons and the requests about them, for a tokenizer to be trained on."""
    found = []
    for lesson in lessons:
        request = lesson.request(0)
        told = SCHEMA_PROMPT + orjson.dumps(request.schema, default=dict).decode()
        found += [lesson.text(0), *lesson.rewordings, told, "assistant"]
        found += [part for message in request.messages for part in message]
    return found
