"""How varied the data is: diversity, topics against source and exam, and a map of the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.report import space
from augment.report.blocks import Cell, Chart, Table
from augment.report.charts import COLOURS, SHAPES, chart_of, spec_of
from augment.report.data import grouped, names_of, same_source
from augment.report.diversity import Diversity, diversity
from augment.report.gather import Run
from augment.report.sample import exam_of, sampled

DIVERSE = 1_000
"""Texts of each set that diversity is measured on, all sets having the same number."""
POINTS = 2_000
"""Points of the map."""
_FEW = 20  # texts: a smaller set says nothing about diversity
_KINDS = 7  # values of a colour; the rarer ones are one colour together
_REST = "others"
_LIKENESS = "Likeness: median cosine of character n-grams, which sees wording, not meaning."
_NO_EXAM = "Without the exam: it is compared where all runs are of one source, and that is here."


@dataclass(frozen=True)
class Set:
    """Some texts of the page: their name and rows, and where they lie."""

    name: str
    rows: pl.DataFrame
    seeds: bool
    sparse: Any
    vectors: space.Vectors


def variety(runs: Sequence[Run]) -> tuple[list[Table | Chart], list[str]]:
    """Tables and plots, and notes on what could not be compared."""
    runs = [run for run in runs if run.manifest.get("modality") != "image"]  # their captions, if any, are the seeds'
    if not runs:
        return [], []
    pairs = sampled(runs)
    once = same_source(runs)
    named: list[tuple[str, pl.DataFrame, bool]] = []
    for place, (name, (seeds, variants)) in enumerate(zip(names_of(runs), pairs, strict=True)):
        if not once or place == 0:
            named.append(("seeds" if once else f"seeds of {name}", seeds, True))
        named.append((name, variants, False))
    named = [each for each in named if len(each[1])]
    found: list[Table | Chart] = []
    what = "captions" if runs[0].pictured else "prompts"
    if (measured := _diversity(named, what)) is not None:
        found.append(measured)
    fitted = space.fit([text for _, rows, _ in named for text in rows["prompt"]])
    if fitted is None:
        return found, []
    sets = []
    for name, rows, of_seeds in named:
        sparse = fitted.sparse(rows["prompt"].to_list())
        sets.append(Set(name, rows, of_seeds, sparse, fitted.dense(sparse)))
    source = [each for each in sets if each.seeds] or sets
    vectors = np.concatenate([each.vectors for each in source])
    known = space.topics(vectors, [text for each in source for text in each.rows["prompt"]])
    exam, note = exam_of(runs[0]) if once else (None, "")
    asked = None if exam is None or exam.is_empty() else fitted.sparse(exam.to_list())
    shares = {each.name: known.of(each.vectors) for each in sets}
    if asked is not None:
        shares["exam"] = known.of(fitted.dense(asked))
    found += [
        _topics(known, shares, what),
        _coverage(known, shares, sets, asked, "caption" if runs[0].pictured else "question"),
        _map(sets, known, what),
    ]
    found = [each for each in found if not isinstance(each, Table) or each.rows]
    return found, [note] if note else []


_MEASURES = (
    ("distinct-1", "distinct_1", "different tokens, of all tokens"),
    ("distinct-2", "distinct_2", "different pairs of tokens, of all pairs"),
    ("self-BLEU", "self_bleu", "likeness of a text to all others; lower is more diverse"),
    ("Vendi score", "vendi", "how many wholly unlike texts they are worth"),
)


def _diversity(named: Sequence[tuple[str, pl.DataFrame, bool]], what: str) -> Table | None:
    size = min(DIVERSE, *(len(rows) for _, rows, _ in named)) if named else 0
    if size < _FEW:
        return None
    measured: list[Diversity] = [diversity(rows["prompt"].head(size).to_list()) for _, rows, _ in named]
    rows = [
        (f"{title}: {meaning}", [Cell(f"{getattr(each, key):.3g}") for each in measured])
        for title, key, meaning in _MEASURES
    ]
    note = f"{what.capitalize()}, {size:,} of each. Tokens are characters in Chinese, words in English."
    return Table("Diversity", ["", *(name for name, _, _ in named)], rows, note=note)


def _topics(known: space.Topics, shares: dict[str, NDArray[np.int32]], what: str) -> Chart:
    count = len(known.names)
    order = np.argsort(-np.bincount(next(iter(shares.values())), minlength=count))
    rows = [
        {"topic": known.names[topic], "series": name, "rows": int(n), "share": round(float(n) / len(of), 5)}
        for topic in order
        for name, of in shares.items()
        for n in [np.bincount(of, minlength=count)[topic]]
    ]
    spec = grouped(rows, [known.names[topic] for topic in order], list(shares), "topic", f"share of {what}")
    return Chart("topics", "Topics", spec, f"{count} clusters of the seeds, named by their words.")


def _coverage(
    known: space.Topics, shares: dict[str, NDArray[np.int32]], sets: Sequence[Set], asked: Any, one: str
) -> Table:
    count = len(known.names)
    share = {name: np.bincount(of, minlength=count) / max(1, len(of)) for name, of in shares.items()}
    own = [each for each in sets if each.seeds]
    variants = [each for each in sets if not each.seeds]
    rows: list[tuple[str, list[Cell]]] = []
    if not variants:
        return Table("Coverage", [], rows)

    def line(title: str, values: Sequence[float], form: str = ".0%") -> None:
        rows.append((title, [Cell(format(value, form)) for value in values]))

    for title, against in [("source", own[0].name if own else None), ("exam", "exam" if asked is not None else None)]:
        if against is None:
            continue
        there = share[against] > 0
        line(
            f"topics of the {title} that have rows", [float((share[each.name][there] > 0).mean()) for each in variants]
        )
        line(
            f"topic shares that differ from the {title}",
            [float(np.abs(share[each.name] - share[against]).sum() / 2) for each in variants],
        )
    if asked is not None:
        base = _nearest(asked, [each.sparse for each in own]) if own else np.zeros(asked.shape[0])
        near = [_nearest(asked, [each.sparse]) for each in variants]
        if own:
            line(f"likeness of an exam {one} to the nearest seed", [float(np.median(base))] * len(variants), ".2f")
        both = [np.maximum(base, each) for each in near]
        line(
            "… to the nearest seed or variant" if own else f"likeness of an exam {one} to the nearest row",
            [float(np.median(each)) for each in both],
            ".2f",
        )
        if own:
            line(
                f"exam {one}s nearer to a variant than to any seed",
                [float((each > base + 1e-6).mean()) for each in near],
            )
    note = _LIKENESS if asked is not None else _NO_EXAM
    return Table("Coverage", ["", *(each.name for each in variants)], rows, note=note)


def _nearest(asked: Any, others: Sequence[Any]) -> NDArray[np.float64]:
    """For each vector asked, the cosine to the nearest of the others."""
    best = np.zeros(asked.shape[0])
    for other in others:
        for start in range(0, asked.shape[0], 500):
            block = (asked[start : start + 500] @ other.T).max(axis=1).toarray().ravel()
            best[start : start + 500] = np.maximum(best[start : start + 500], block)
    return best


def _map(sets: Sequence[Set], known: space.Topics, what: str) -> Chart:
    each_has = max(1, POINTS // len(sets))
    taken = [(each, min(each_has, len(each.rows))) for each in sets]
    vectors = np.concatenate([each.vectors[:n] for each, n in taken])
    places = space.flat(vectors)
    topic = known.of(vectors)
    told: list[dict[str, Any]] = []
    for each, n in taken:
        for row in each.rows.head(n).iter_rows(named=True):
            told.append(
                {
                    "row": row["id"],
                    "set": each.name,
                    "generator": row["generator"],
                    "label": (row["label"] or "none")[:40],
                    "topic": known.names[topic[len(told)]],
                    "text": row["prompt"][:90],
                }
            )
    for place, (x, y) in zip(told, places, strict=True):
        place |= {"x": round(float(x), 2), "y": round(float(y), 2)}
    ways = ["set", "generator", "label", "topic"]
    for way in ways:
        _fold(told, way)
    names = [each.name for each in sets]
    picked = alt.param(name="by", value="set", bind=alt.binding_select(options=ways, name="colour by "))
    chart = (
        chart_of(told)
        .transform_calculate(shade="datum[by]")
        .mark_point(filled=True, size=28, opacity=0.75)
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "shade:N", title=None, scale=alt.Scale(range=COLOURS), legend=alt.Legend(columns=2, labelLimit=150)
            ),
            shape=alt.Shape(
                "set:N",
                title=None,
                legend=None,
                scale=alt.Scale(domain=names, range=[SHAPES[place % len(SHAPES)] for place in range(len(names))]),
            ),
            tooltip=["text:N", "set:N", "generator:N", "label:N", "topic:N"],
        )
        .add_params(picked)
    )
    note = f"{len(told):,} {what}; near ones are worded alike, axes mean nothing. Click a point to see its row."
    return Chart("map", f"Map of the {what}", spec_of(chart, height=440), note, wide=True)


def _fold(told: list[dict[str, Any]], way: str) -> None:
    """More values than there are colours: the rarer ones become one."""
    counts: dict[str, int] = {}
    for each in told:
        counts[each[way]] = counts.get(each[way], 0) + 1
    if len(counts) > _KINDS + 1:
        kept = sorted(counts, key=lambda value: (-counts[value], value))[:_KINDS]
        for each in told:
            if each[way] not in kept:
                each[way] = _REST
