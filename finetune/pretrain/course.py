"""Which lessons are taught at which step: a function of the recipe and the rows, so that a step can be made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from augment.engines.prompts import prompt_ids
from augment.records import seed_for
from finetune.pretrain.lessons import MANNERS, Lesson
from finetune.pretrain.recipe import PretrainRecipe
from finetune.pretrain.words import TURN_END

Ids = np.ndarray[Any, np.dtype[np.int64]]
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Sequences of one task. ids, targets: (rows, T); a place's target is the token after it, or IGNORED.

    Where a sequence holds several answers to one request, `branch` (rows, T) tells each place's answer, 0 for the
    request: answers see the request and themselves, and begin at the same place.
    """

    ids: Ids
    targets: Ids
    branch: Ids | None = None


@dataclass(frozen=True)
class Course:
    """All that is taught: at a step a batch of each of the recipe's tasks that there are lessons for.

    The batches of texts are spread over the steps where there are fewer of them, unless there is nothing else.
    """

    recipe: PretrainRecipe
    lessons: Sequence[Lesson]
    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def taught(self) -> dict[str, Texts | Requests]:
        """The tasks by name, without one that no row can be taught."""
        recipe = self.recipe
        given = (self.lessons, self.tokenizer, recipe.length, recipe.batch, recipe.seed)
        found: dict[str, Texts | Requests] = {}
        if "text" in recipe.teach:
            found["text"] = Texts(*given)
        if "paraphrase" in recipe.teach and (requests := Requests(*given)).fitting:
            found["paraphrase"] = requests
        return found

    @property
    def told(self) -> dict[str, Any]:
        """The record: tokens of the rows' texts, and how many rows are taught with how many rewordings."""
        texts = documents([each.text(0) for each in self.lessons], self.tokenizer)
        asked = self.taught.get("paraphrase")
        fitting = asked.fitting if isinstance(asked, Requests) else ()
        rewordings = sum(len(each.rewordings) for each in fitting)
        return {"tokens": sum(map(len, texts)), "paraphrase": {"rows": len(fitting), "rewordings": rewordings}}

    def steps(self) -> Iterator[tuple[Batch, ...]]:
        """Endless."""
        flows = {name: each.batches() for name, each in self.taught.items()}
        total, done = self.recipe.steps, self._text_batches
        for step in count():
            rest = len(flows) > 1 and (step + 1) * done // total == step * done // total
            yield tuple(next(each) for name, each in flows.items() if not (rest and name == "text"))

    @property
    def _text_batches(self) -> int:
        """How many batches the recipe's rounds over the texts are; not more than there are steps."""
        tokens: int = self.told["tokens"] * self.recipe.rounds
        return min(self.recipe.steps, -(-tokens // (self.recipe.batch * self.recipe.length)))


@dataclass(frozen=True)
class Texts:
    """Rows as plain text, one after another with an end between them, cut into sequences of `length` tokens."""

    lessons: Sequence[Lesson]
    tokenizer: PreTrainedTokenizerBase
    length: int
    batch: int
    seed: int

    def batches(self) -> Iterator[Batch]:
        """Endless: each round over the rows has another order, and words the questions another way."""
        shape = (self.batch, self.length)
        need = self.batch * self.length
        stream = np.array([self.tokenizer.eos_token_id], dtype=np.int64)
        for chance in _rounds("text", self.seed):
            order = chance.permutation(len(self.lessons))
            wording = chance.integers(2**31, size=len(order))
            texts = [self.lessons[row].text(int(number)) for row, number in zip(order, wording, strict=True)]
            stream = np.concatenate([stream, *documents(texts, self.tokenizer)])
            while len(stream) > need:
                yield Batch(stream[:need].reshape(shape), stream[1 : need + 1].reshape(shape))
                stream = stream[need:]


@dataclass(frozen=True)
class Requests:
    """Requests of `paraphrase` with an answer; only the answer is learned. Those over `length` tokens are left out."""

    lessons: Sequence[Lesson]
    tokenizer: PreTrainedTokenizerBase
    length: int
    batch: int
    seed: int

    @cached_property
    def fitting(self) -> tuple[Lesson, ...]:
        """The lessons that have rewordings, none of which is too long."""
        return tuple(each for each in self.lessons if each.rewordings and self._longest(each) <= self.length)

    def _longest(self, lesson: Lesson) -> int:
        asked = max(len(prompt_ids(lesson.request(manner), self.tokenizer, told=True)) for manner in range(MANNERS))
        return asked + max(len(self._answer(lesson, number)) for number in range(len(lesson.rewordings)))

    def _answer(self, lesson: Lesson, number: int) -> list[int]:
        ids: list[int] = self.tokenizer(lesson.reply(number) + TURN_END, add_special_tokens=False)["input_ids"]
        return ids

    def batches(self) -> Iterator[Batch]:
        """Endless: each round over the rows has another order, and each row another manner.

        All rewordings of a row are learned behind one request: a third of the tokens of one by one. Half of the
        requests have the schema in their words, as the engine `transformers` puts it, and half have not: where a
        decoder is held to it, it is not told.
        """
        known: dict[tuple[int, int, bool], list[int]] = {}
        answers = [[self._answer(each, number) for number in range(len(each.rewordings))] for each in self.fitting]
        left: list[tuple[list[int], list[list[int]]]] = []
        for chance in _rounds("paraphrase", self.seed):
            for row in chance.permutation(len(self.fitting)):
                manner, told = int(chance.integers(MANNERS)), bool(chance.integers(2))
                key = (int(row), manner, told)
                if key not in known:
                    known[key] = prompt_ids(self.fitting[row].request(manner), self.tokenizer, told=told)
                left.append((known[key], answers[row]))
                if len(left) == self.batch:
                    yield branched(left, self.tokenizer.pad_token_id)
                    left = []


def documents(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[Ids]:
    """Each text as its tokens and the one that ends it."""
    found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [np.array([*ids, tokenizer.eos_token_id], dtype=np.int64) for ids in found]


def branched(pairs: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], pad: int) -> Batch:
    """Requests, each followed by its answers; the last token of a request has the first of every answer to tell.

    So it stands before each of them anew, as a part of that answer's branch.
    """
    width = max(len(asked) - 1 + sum(map(len, answers)) for asked, answers in pairs)
    ids, targets, branch = (np.full((len(pairs), width), fill, dtype=np.int64) for fill in (pad, IGNORED, 0))
    for row, (asked, answers) in enumerate(pairs):
        start = len(asked) - 1
        ids[row, :start] = asked[:-1]
        for number, answer in enumerate(answers, 1):
            end = start + len(answer)
            ids[row, start:end] = [asked[-1], *answer[:-1]]
            targets[row, start:end] = answer
            branch[row, start:end] = number
            start = end
        branch[row, start:] = len(answers) + 1
    return Batch(ids, targets, branch)


def _rounds(task: str, seed: int) -> Iterator[np.random.Generator]:
    number = 0
    while True:
        yield np.random.Generator(np.random.PCG64(seed_for("pretrain", task, number, seed)))
        number += 1
