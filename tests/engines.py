"""Engines for tests and benchmarks of workers, declared as a user's own package declares its engines: by entry points.

They note in the file $TEST_ENGINES_LOG what a test wants to know: which process opened one, when it began. Those
that stand for work begin only when $TEST_ENGINES_CREW of them are there, so that a start is not measured as work.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from augment.engines import EngineOptions, Keep, forget
from augment.engines.echo import Echo
from augment.engines.openai import OpenAI
from augment.engines.slots import Answer, Slots
from augment.errors import EngineError
from augment.records import Reply, Request

LOG, CREW = "TEST_ENGINES_LOG", "TEST_ENGINES_CREW"
NAMES = {
    "watched": "Watched",
    "burning": "Burning",
    "sleeping": "Sleeping",
    "poisoned": "Poisoned",
    "fickle": "Fickle",
    "judging": "Judging",
}


PACKAGE_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
"""What an installed package says of itself at least."""


def declare(folder: Path) -> Path:
    """A folder that, on PYTHONPATH, declares these engines."""
    info = folder / "test_engines-1.dist-info"
    info.mkdir(parents=True)
    points = "\n".join(f"{name} = tests.engines:{attribute}" for name, attribute in NAMES.items())
    (info / "entry_points.txt").write_text(f"[augment.engines]\n{points}\n")
    (info / "METADATA").write_text(PACKAGE_METADATA.format(name="test-engines"))
    return folder


def note(what: object) -> None:
    """One line, written at once."""
    if LOG in os.environ:
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{what}\n")


def muster(requests: Iterable[Request]) -> Iterator[Request]:
    """The requests, from when as many engines as there should be have one."""
    for place, each in enumerate(requests):
        if place == 0 and CREW in os.environ:
            note(f"begun {time.monotonic()}")
            while Path(os.environ[LOG]).read_text().count("begun") < int(os.environ[CREW]):
                time.sleep(0.02)
        yield each


class Watched(OpenAI):
    """The `openai` engine, which notes where it is opened."""

    name: ClassVar[str] = "watched"

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> OpenAI:
        note(os.getpid())
        return super().open(model, options)


class Burning(Echo):
    """An echo that holds the processor: `burning:10` for 10 ms a request."""

    name: ClassVar[str] = "burning"

    def generate(self, requests: Iterable[Request], keep: Keep = forget) -> Iterator[Reply]:
        def burnt() -> Iterator[Request]:
            for each in muster(requests):
                end = time.thread_time() + float(self.model) / 1000  # processor time of this thread, whoever else runs
                while time.thread_time() < end:
                    sum(range(1000))
                yield each

        return super().generate(burnt(), keep)


@dataclass(eq=False)
class Sleeping(Echo):
    """An echo whose every slot takes a while: `sleeping:200` for 200 ms a request, as a server would."""

    name: ClassVar[str] = "sleeping"
    slots: int = 1

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> Sleeping:
        return cls(model, slots=options.concurrency)

    def generate(self, requests: Iterable[Request], keep: Keep = forget) -> Iterator[Reply]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Answer]:
            async def answer(request: Request) -> Reply:
                await asyncio.sleep(float(self.model) / 1000)
                return next(Echo().generate([request]))

            yield answer

        return Slots(self.slots, opened, keep).answer(muster(requests))


class Poisoned(Echo):
    """An echo that a request with the model's name in it kills, as a crash in native code would: `poisoned:第7号`."""

    name: ClassVar[str] = "poisoned"

    def generate(self, requests: Iterable[Request], keep: Keep = forget) -> Iterator[Reply]:
        def tasted() -> Iterator[Request]:
            for each in requests:
                if self.model in each.messages[-1][1]:
                    note(f"killed {os.getpid()}")
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(0.01)
                yield each

        return super().generate(tasted(), keep)


class Fickle(Echo):
    """An echo that is another on a worker, or cannot be opened there unless its model is a file: `fickle:FILE`."""

    name: ClassVar[str] = "fickle"

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> Echo:
        there = "RAY_RAYLET_PID" in os.environ
        if model and there and not Path(model).is_file():
            raise EngineError(f"no model at {model}; give its path")
        return cls(model or cls.model, revision="there" if there and not model else "here")


class Judging(Echo):
    """A judge of one rule: an answer with 无法 in it violates, one of 60 characters or more satisfies, others are 0.

    It writes its scores in every form that judges use, in turn by the request's seed; on an answer with 没有评审意见 in
    it it says nothing that can be read. `judging:wavering` turns a third of its votes around.
    """

    name: ClassVar[str] = "judging"

    def generate(self, requests: Iterable[Request], keep: Keep = forget) -> Iterator[Reply]:
        for each in requests:
            note("judged")
            reply = Reply(each.key, self.said(each), "stop", 100, 20)
            keep(each, reply)
            yield reply

    def said(self, request: Request) -> str:
        asked = request.messages[-1][1]
        titles = re.findall(r"^([^:\n]+): ", asked.partition("\n<")[0], re.MULTILINE)
        answer = asked.partition("<answer>\n")[2].partition("\n</answer>")[0]
        if "没有评审意见" in answer:
            return "这段文本无法按 1 到 10 打分，例如 (1, 1)。"
        score = -1 if "无法" in answer else int(len(answer) >= 60)
        if self.model == "wavering" and request.seed % 3 == 0:
            score = -score
        scores = [score] * len(titles)
        forms = (
            f"({', '.join(map(str, scores))})\n\n分析：一、二。",
            f"**分析**：逐项来看。\n\n综上所述，打分结果为（{'，'.join(map(str, scores))}）。",
            "，".join(f"{title}：{each}" for title, each in zip(titles, scores, strict=True)),
            "所以分数依次为：\n\n" + "，".join(map(str, scores)),
        )
        return forms[request.seed % len(forms)]
