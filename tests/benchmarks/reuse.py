"""What a second run asks: nothing when nothing changed, and otherwise what changed. Part of `resume`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.benchmarks import command
from tests.benchmarks.measure import Result, workplace
from tests.benchmarks.parts_server import serve
from tests.benchmarks.work import Work, paraphrases, published
from tests.server import Served

MORE_TOKENS = 4096


def second_runs(result: Result, seeds: int) -> None:
    """A row for each: what the second run should ask, and what it asked."""
    _warm_and_edited(result, seeds)
    _more_tokens(result, seeds)
    _more_variants(result, max(1, seeds // 5))


def _second(
    result: Result, what: str, work: Work, server: Served, home: Path, out: Path, wanted: set[str]
) -> list[tuple[Any, ...]]:
    """Run `work`, which should ask just for the reply keys `wanted`, each once."""
    before = len(server.log())
    command.run(work.flags, home, out)
    log = server.log()[before:]
    keys = work.by_server_key()
    asked = [keys.get(key, f"unknown {key}") for key, *_ in log]
    result.check(f"{what}: exactly what is new is asked", sorted(asked) == sorted(wanted), (len(asked), len(wanted)))
    made = published(out)
    complete = made.keys() == work.asked.keys() and not work.wrong(made)
    result.check(f"{what}: every variant is published and right", complete, len(made))
    row = {"second run": what, "requests in all": len(work.asked), "to be asked": len(wanted), "asked": len(asked)}
    result.rows.append(row)
    return log


def _warm_and_edited(result: Result, seeds: int) -> None:
    with workplace() as folder, serve() as server:
        home = folder / "home"
        work = paraphrases(server.url, folder, seeds, 2)
        command.run(work.flags, home, folder / "first")
        result.check("the first run asks everything once", len(server.log()) == len(work.asked), len(server.log()))
        _second(result, "the same again", work, server, home, folder / "again", set())
        same = command.files(folder / "first") == command.files(folder / "again")
        result.check("the same again: the same bytes", same)

        source = Path(work.flags["source"])
        lines = source.read_text("utf-8").splitlines()
        row = json.loads(lines[seeds // 2])
        lines[seeds // 2] = json.dumps({**row, "question": row["question"] + "请说得具体些。"}, ensure_ascii=False)
        source.write_text("\n".join(lines) + "\n", "utf-8")
        edited = paraphrases(server.url, folder, seeds, 2)
        new = edited.asked.keys() - work.asked.keys()
        result.check("one seed edited: n requests are new", len(new) == 2, len(new))
        _second(result, f"one seed of {seeds} edited, 2x", edited, server, home, folder / "edited", new)


def _more_tokens(result: Result, seeds: int) -> None:
    with workplace() as folder, serve(truncate_share=0.1, enough=MORE_TOKENS) as server:
        home = folder / "home"
        work = paraphrases(server.url, folder, seeds, 2)
        command.run(work.flags, home, folder / "first")
        cut = {key for key, finish in command.durable(home).items() if finish == "length"}
        made = published(folder / "first")
        result.check("truncated answers are not published", made.keys() == work.asked.keys() - cut, len(cut))
        more = paraphrases(server.url, folder, seeds, 2, max_tokens=MORE_TOKENS)
        _second(result, "max_tokens raised", more, server, home, folder / "more", cut)


def _more_variants(result: Result, seeds: int) -> None:
    with workplace() as folder, serve() as server:
        home = folder / "home"
        five = paraphrases(server.url, folder, seeds, 5)
        command.run(five.flags, home, folder / "five")
        eight = paraphrases(server.url, folder, seeds, 8)
        new = eight.asked.keys() - five.asked.keys()
        result.check("5x to 8x: 3 requests a seed are new", len(new) == 3 * seeds, len(new))
        _second(result, f"5x to 8x, {seeds} seeds", eight, server, home, folder / "eight", new)
