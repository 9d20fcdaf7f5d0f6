"""A piece of work with known right answers: the product's own requests, and what each must become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augment.engines import EngineOptions, open_engine
from augment.engines.echo import answer
from augment.plan import make_plan
from augment.quota import Quota
from augment.recipe import read_recipe
from augment.records import Reply, Row
from tests.benchmarks.seeds import write_seeds
from tests.server import content


@dataclass(frozen=True)
class Asked:
    """One request: its key at the server, its messages, and the question it must become."""

    server_key: str
    messages: tuple[tuple[str, str], ...]
    prompt: str


@dataclass(frozen=True)
class Work:
    """`flags` are the recipe's; `asked` has every request of the first round by reply key, in order."""

    flags: dict[str, Any]
    asked: dict[str, Asked]

    def by_server_key(self) -> dict[str, str]:
        """Reply keys by the server's keys."""
        return {each.server_key: key for key, each in self.asked.items()}

    def wrong(self, made: dict[str, str]) -> list[str]:
        """Reply keys of published variants that nobody asked for or whose text is not the right one."""
        return [key for key, prompt in made.items() if key not in self.asked or self.asked[key].prompt != prompt]


def paraphrases(url: str, folder: Path, seeds: int, variants: int, **flags: Any) -> Work:
    """`seeds` × `variants` paraphrases by the server at `url`, unfiltered; each request is made once, no refill."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"seeds-{seeds}.jsonl"
    if not source.exists():
        write_seeds(source, seeds)
    flags = {
        "source": str(source),
        "n": f"{variants}x",
        "generators": "paraphrase",
        "filters": "none",
        "max_attempts": "1x",
        "llm": "openai:test-model",
        "base_url": url,
        **flags,
    }
    return Work(flags, _asked(flags))


def _asked(flags: dict[str, Any]) -> dict[str, Asked]:
    recipe = read_recipe(flags)
    plan = make_plan(recipe, open_engine(recipe.llm or "", EngineOptions(base_url=recipe.base_url)))
    found = {}
    for shard in Quota.of(plan).next_round(0).shards:
        for record, generator, request, *_ in plan.requests(shard):
            made = generator.read(record, Reply(request.key, answer(request.messages, request.schema, request.seed)))
            assert isinstance(made, Row)
            body = {"messages": [{"content": text} for _, text in request.messages], "seed": request.seed}
            found[request.key] = Asked(content(body), request.messages, made.prompt)
    return found


def published(run: Path) -> dict[str, str]:
    """The variants of a published run: question by reply key.

    Raises:
        AssertionError: a reply became two rows.
    """
    frame = pl.read_parquet(run / "curated" / "train.parquet", columns=["reply_key", "prompt", "generator"])
    frame = frame.filter(pl.col("generator") != "seed")
    found = dict(frame.select("reply_key", "prompt").iter_rows())
    assert len(found) == len(frame), "a reply became two rows"
    return found


def right_for_peers(work: Work) -> dict[int, str]:
    """What a peer must have in each row: it sends neither a seed nor a schema."""
    return {i: answer(each.messages, None, 0).strip() for i, each in enumerate(work.asked.values())}
