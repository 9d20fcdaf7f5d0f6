"""An LLM that a filter asks, `--set judge.llm=openai:MODEL`: through the reply store, so that no reply is paid twice.

A server answers many at once by itself. An engine that runs in a process (transformers) is asked on workers where the
context spreads work over some, each loading it once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augment.engines import Engine, EngineOptions, draws, open_engine
from augment.engines.ask import Paid, ask
from augment.errors import RecipeError
from augment.places import home
from augment.records import Reply, Request, fingerprint, seed_for
from augment.replies import ReplyStore
from filters import Context
from filters.spread import Here

log = logging.getLogger(__name__)

MANY = 0.2
"""The share of answers without a verdict above which it is said."""
ENOUGH = 5
"""Rows before which no share is."""


@dataclass(frozen=True)
class Answers:
    """A work: batches of requests to their replies, by an engine of this process."""

    llm: str
    options: EngineOptions
    setting: str

    def open(self) -> Callable[[list[Request]], list[Reply]]:
        engine = open_engine(self.llm, self.options, self.setting)
        return lambda batch: list(engine.generate(batch))


@dataclass(eq=False)
class Respondent:
    """An LLM, opened; `work` opens it elsewhere."""

    engine: Engine
    work: Answers

    def request(
        self,
        generator: str,
        texts: Sequence[str | None],
        messages: tuple[tuple[str, str], ...],
        schema: Mapping[str, Any] | None,
        k: int = 0,
        temperature: float = 0.0,
        max_tokens: int = 1024,
    ) -> Request:
        """What is asked about some texts, the k-th time; equal texts make one request."""
        record = fingerprint(*texts)[:16]
        return Request(
            record=record,
            generator=generator,
            k=k,
            messages=messages,
            template=f"{generator}@{fingerprint(messages[0][1], schema)[:8]}",
            seed=seed_for(record, generator, k),
            schema=schema,
            temperature=temperature,
            top_p=1.0,
            max_tokens=max_tokens,
            engine=self.engine.name,
            model=self.engine.model,
            revision=self.engine.revision,
        )

    def ask(self, requests: Sequence[Request], context: Context) -> dict[str, Reply]:
        """The reply to each request, by its key; one that failed for good has its error and is kept nowhere.

        Raises:
            EngineError: the engine refuses every request; what was answered before is kept.
        """
        with ReplyStore(home() / "replies.sqlite") as store:
            served = getattr(self.engine, "server", None) is not None
            if served or isinstance(context.spread, Here):
                return ask(self.engine, requests, store, Paid(), _nothing)
            wanted = {each.key: each for each in requests}
            found = dict(store.answered(wanted.values()))
            missing = [each for key, each in wanted.items() if key not in found]
            size = self.work.options.concurrency
            batches = [missing[first : first + size] for first in range(0, len(missing), size)]
            for replies in context.spread(self.work, batches):
                for reply in replies:
                    store.put(wanted[reply.key], reply)
                    found[reply.key] = reply
            return found


def needs_llm(name: str, llm: str) -> None:
    """Raises:
    RecipeError: no LLM is named.
    """
    if not llm:
        raise RecipeError(f"filter '{name}' needs an LLM; add --set {name}.llm=openai:MODEL (and {name}.base_url=URL)")


def respondent(context: Context, name: str, llm: str, base_url: str, concurrency: int, timeout: float) -> Respondent:
    """The LLM of the filter called `name`, opened once.

    Raises:
        RecipeError: there is no such engine, or it draws.
        EngineError: it cannot be reached or used.
    """
    opened: dict[tuple[str, EngineOptions], Respondent] = context.memory.setdefault("llms", {})
    options = EngineOptions(base_url=base_url or None, concurrency=concurrency, timeout=timeout, setting=name)
    if (llm, options) not in opened:
        engine = open_engine(llm, options, f"{name}.llm")
        if draws(engine):
            raise RecipeError(f"{name}.llm '{llm}' draws pictures; name an LLM, for example openai:Qwen3-8B")
        opened[llm, options] = Respondent(engine, Answers(llm, options, f"{name}.llm"))
    return opened[llm, options]


def engines_of(context: Context) -> Iterator[Engine]:
    """Every LLM that filters have opened: what is to be drained when a run is to end."""
    for each in context.memory.get("llms", {}).values():
        yield each.engine


def count_silent(context: Context, name: str, asked: int, silent: int) -> None:
    """Remembers how many rows got no verdict, and says it once when they are many; such rows are kept."""
    counts: dict[str, int] = context.memory.setdefault(f"{name}_silence", {"asked": 0, "no_verdict": 0, "said": 0})
    counts["asked"] += asked
    counts["no_verdict"] += silent
    if not counts["said"] and counts["asked"] >= ENOUGH and counts["no_verdict"] > MANY * counts["asked"]:
        counts["said"] = 1
        share = 100 * counts["no_verdict"] / counts["asked"]
        log.warning(
            "%s: the LLM gave no verdict on %d of %d rows (%.0f %%), which are kept; try another model or more votes",
            *(name, counts["no_verdict"], counts["asked"], share),
        )


def _nothing() -> None:
    """Nobody watches."""
