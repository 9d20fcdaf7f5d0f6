"""What happened, in tables: from the source's rows to those that were kept, by generator, by filter and reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from augment.report.blocks import Cell, Table, number
from augment.report.gather import Run
from augment.sieve import harsh


def tiles(run: Run) -> list[tuple[str, str]]:
    """The few numbers that matter most: what they are called, and what they are."""
    summary = run.summary
    kept, target, candidates = (_count(summary, name) for name in ("kept", "target", "candidates"))
    dropped = sum(count for _, _, count in drops(run))
    found = [
        ("seeds", number(_count(summary, "seeds"))),
        ("variants kept", f"{number(kept)}" if kept == target else f"{number(kept)} of {number(target)}"),
        ("candidates dropped", f"{number(dropped)} ({dropped / candidates:.1%})" if dropped else "0"),
        ("held out as exam", number(_count(summary, "exam"))),
    ]
    short = summary.get("seeds_short")
    if isinstance(short, list) and short:
        found.append(("seeds that fell short", number(len(short))))
    near, check = (_dict(summary.get(name)) for name in ("memorised", "label_check"))
    if near.get("of"):
        found.append(("drawn, nearly a seed", f"{near['near_copies'] / near['of']:.1%} of {number(near['of'])}"))
    if check.get("of"):
        found.append(("real, yet turned away", f"{check['false_rejects']:.1%} of {number(check['of'])}"))
    if summary.get("requests_sent") or summary.get("replies_reused"):
        found.append(("requests sent", number(_count(summary, "requests_sent"))))
    return found


def drops(run: Run) -> list[tuple[str, str, int]]:
    """Who dropped how many candidates and why, the most first; requests that failed are dropped by the engine."""
    found = [
        (str(name), str(reason), int(count))
        for name, reasons in _dict(run.summary.get("rejected")).items()
        for reason, count in _dict(reasons).items()
    ]
    found += [("engine", str(reason), int(count)) for reason, count in _dict(run.summary.get("failures")).items()]
    return sorted(found, key=lambda each: (-each[2], each[0], each[1]))


def funnel(runs: Sequence[Run]) -> Table:
    """From the source's rows to the kept variants, a column a run; bars are shares of the candidates."""
    lines: list[tuple[str, Callable[[Run], int], str]] = [
        ("rows of the source", lambda run: _count(run.summary, "rows_in"), ""),
        ("− broken, repeated, or like the exam", lambda run: _count(run.summary, "source_rejected"), "dropped"),
        ("− held out as exam", lambda run: _count(run.summary, "exam"), ""),
        ("− not used", lambda run: _count(run.summary, "unused"), ""),
        ("= seeds", lambda run: _count(run.summary, "seeds"), "seed"),
        ("candidates", lambda run: _count(run.summary, "candidates"), ""),
    ]
    names = list(dict.fromkeys(name for run in runs for name, _, _ in drops(run)))
    for name in names:
        lines.append((f"− {name}", _by(name), "dropped"))
    lines.append(("= kept", lambda run: _count(run.summary, "kept"), "kept"))
    rows = []
    for place, (title, value, tone) in enumerate(lines):
        cells = []
        for run in runs:
            whole = _count(run.summary, "rows_in") if place < 5 else _count(run.summary, "candidates")
            cells.append(Cell(number(value(run)), value(run) / whole if whole else 0.0, tone))
        if any(value(run) for run in runs) or title.startswith(("=", "c", "r")):
            rows.append((title, cells))
    return Table("From candidates to kept", ["", *(run.name for run in runs)], rows)


def reasons(runs: Sequence[Run]) -> Table:
    """Drops by filter and reason, a column a run; a line's link shows those rows."""
    keys = list(dict.fromkeys((name, reason) for run in runs for name, reason, _ in drops(run)))
    counts = [{(name, reason): count for name, reason, count in drops(run)} for run in runs]
    most = max((count for each in counts for count in each.values()), default=1)
    rows, links = [], []
    for key in keys:
        values = [each.get(key, 0) for each in counts]
        rows.append((f"{key[0]}: {key[1]}", [Cell(number(value), value / most, "dropped") for value in values]))
        links.append({"verdict": "\n".join(key)})
    return Table("Dropped, by filter and reason", ["", *(run.name for run in runs)], rows, links)


def sieve(run: Run, named: bool) -> Table:
    """How hard each filter sifted: what reached it, what it dropped first, and how it overlaps with the others.

    `named`: the title says which run it is.
    """
    told = [each for each in run.summary.get("sieve") or [] if isinstance(each, dict)]
    rows = []
    for each in told:
        saw, out = int(each["saw"]), int(each["dropped"])
        share = out / saw if saw else 0.0
        also = sorted(_dict(each["also"]).items(), key=lambda pair: (-pair[1], pair[0]))
        texts = (number(saw), number(each["would_drop"]), number(each["alone"]))
        overlap = ", ".join(f"{name} {number(count)}" for name, count in also) or "–"
        dropped = Cell(f"{number(out)} ({share:.1%})" if out else "0", share, "dropped")
        rows.append(
            (str(each["filter"]), [Cell(texts[0]), dropped, Cell(texts[1]), Cell(texts[2]), Cell(overlap, tone="text")])
        )
    note = "; ".join(harsh(told))
    head = ["", "reached it", "dropped first", "would drop", "it alone", "of those dropped, others would drop too"]
    return Table(f"How hard each filter sifts{f': {run.name}' if named else ''}", head, rows, note=note)


def generators(runs: Sequence[Run]) -> Table:
    """What each generator made and what was kept of it: kept of candidates, a column a run."""
    made = [_dict(run.summary.get("per_generator")) for run in runs]
    names = list(dict.fromkeys(name for each in made for name in each))
    rows, links = [], []
    for name in names:
        cells = []
        for each in made:
            counts = _dict(each.get(name))
            kept, of = int(counts.get("kept", 0)), int(counts.get("candidates", 0))
            cells.append(Cell(f"{number(kept)} of {number(of)}" if of else "–", kept / of if of else None, "kept"))
        rows.append((str(name), cells))
        links.append({"generator": str(name)})
    return Table("Kept, by generator", ["", *(run.name for run in runs)], rows, links)


def cost(runs: Sequence[Run]) -> Table:
    """Requests, tokens and time, a column a run."""
    lines = (
        ("requests sent", "requests_sent"),
        ("replies reused", "replies_reused"),
        ("tokens in", "tokens_in"),
        ("tokens out", "tokens_out"),
        ("rounds", "rounds"),
        ("seconds", "seconds"),
    )
    rows = [
        (title, [Cell(number(run.summary.get(key))) for run in runs])
        for title, key in lines
        if any(run.summary.get(key) for run in runs)
    ]
    return Table("Cost", ["", *(run.name for run in runs)], rows)


def _by(name: str) -> Callable[[Run], int]:
    return lambda run: sum(count for who, _, count in drops(run) if who == name)


def _count(summary: dict[str, Any], name: str) -> int:
    value = summary.get(name)
    return value if isinstance(value, int) else 0


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
