"""What the filters make of the labelled pairs: `python -m tests.quality [--wrong calibration] [--json FILE]`.

Every text filter that judges rows and runs without a model is measured alone, then the default chain. Recall is the share
of the bad pairs of a kind that are dropped, a false reject is a good pair that is dropped, and precision the share of the
dropped pairs that are bad; of the pairs two thirds are bad, so that a run with fewer has a lower precision at the same
recall and the same share of false rejects. What is wrong among the fresh pairs is not listed, lest rules be fitted to it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augment import generators
from augment.errors import RecipeError
from augment.intervals import share
from augment.records import PARENT, SCHEMA
from filters import TABLE, cost_of, modalities_of
from filters.chain import Chain, chain_of
from tests.benchmarks.measure import table
from tests.filter_rows import context_of, sample
from tests.quality import GOOD, HALVES, SETS, fresh, pairs

CHAIN = "default chain"
FOR: dict[str, tuple[str, ...]] = {
    "length": ("empty", "truncated"),
    "language": ("wrong_language",),
    "encoding_damage": ("encoding_damage",),
    "special_chars": ("encoding_damage",),
    "repetition": ("repetition_loop",),
    "refusal": ("refusal", "truncated", "echo", "meta_talk", "empty"),
    "facts": ("number_changed", "negation_flipped", "drug_changed"),
    "pii": ("pii",),
    "unsafe": ("unsafe",),
    "exact_dup": ("too_close",),
    "near_dup": ("too_close",),
    "semantic_dup": ("too_close",),
    "similarity": ("too_close", "unrelated"),
}
"""The kinds that a filter is meant to drop. A kind that none is meant for, a changed meaning, takes a model."""


@dataclass(frozen=True)
class Measured:
    """What one filter or chain drops of some pairs. `kinds` has for each kind how many were dropped and how many are."""

    name: str
    kinds: Mapping[str, tuple[int, int]]

    def recall(self, kinds: Sequence[str]) -> float | None:
        """The share dropped of the pairs of these kinds; None where there are none."""
        dropped, all_ = (sum(self.kinds[kind][at] for kind in kinds if kind in self.kinds) for at in (0, 1))
        return dropped / all_ if all_ else None

    @property
    def bad(self) -> tuple[str, ...]:
        """Every kind but the good one."""
        return tuple(kind for kind in self.kinds if kind != GOOD)

    @property
    def false_rejects(self) -> float:
        """The share of the good pairs that is dropped."""
        return self.kinds[GOOD][0] / self.kinds[GOOD][1]

    @property
    def precision(self) -> float | None:
        """The share of bad pairs among those dropped; None where nothing is."""
        dropped = sum(count for count, _ in self.kinds.values())
        return (dropped - self.kinds[GOOD][0]) / dropped if dropped else None


def names() -> list[str]:
    """The text filters that judge rows by themselves and do so without a model, in alphabetical order."""
    found = []
    for name, kind in TABLE.items():
        if "text" not in modalities_of(kind) or cost_of(kind) in ("model", "selection"):
            continue
        try:
            chain_of([name])
        except RecipeError:  # it needs a setting: a model, a file
            continue
        found.append(name)
    return found


def sifted(chain: Chain, rows: pl.DataFrame) -> pl.DataFrame:
    """The pairs with the chain's scores, `dropped_by` and `reason`.

    A pair is judged beside the seeds and the bundled questions as an exam, but not beside other variants of its seed,
    which a corpus filter would hold against it.
    """
    parents = rows.unique("parent_prompt", maintain_order=True)
    seeds = list(parents.select("parent_prompt", "parent_response").iter_rows())
    named = {prompt: f"s{at}" for at, (prompt, _) in enumerate(seeds)}
    adds = frozenset(name for name, kind in generators.TABLE.items() if kind.adds_facts)
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in SCHEMA.items() if name not in rows.columns]
    made = rows.with_columns(absent).with_columns(
        pl.concat_list(pl.col("parent_prompt").replace_strict(named)).alias("parents"),
        pl.int_range(pl.len()).over("parent_prompt").alias("turn"),
    )
    parts = [
        chain.sift(part.select(*SCHEMA, *PARENT), context_of(seeds, sample(), adds_facts=adds))
        for (_,), part in made.group_by("turn", maintain_order=True)
    ]
    return rows.join(
        pl.concat(parts).select("id", *chain.scores, "dropped_by", "reason"),
        on="id",
        how="left",
        maintain_order="left",
        validate="1:1",
    )


def measured(name: str, judged: pl.DataFrame) -> Measured:
    """The counts by kind, in the order of the file."""
    counts = judged.group_by("kind", maintain_order=True).agg(pl.col("dropped_by").count().alias("dropped"), pl.len())
    return Measured(name, {kind: (dropped, all_) for kind, dropped, all_ in counts.iter_rows()})


def judgements(settings: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, pl.DataFrame]:
    """All pairs as each filter alone and the default chain judge them; the fresh pairs apart from the seeds of the others."""
    settings = settings or {}
    alone = {name: chain_of([name], {k: v for k, v in settings.items() if k == name}) for name in names()}
    chains = {**alone, CHAIN: chain_of(["default"], settings)}
    return {name: pl.concat([sifted(chain, rows) for rows in (pairs(), fresh())]) for name, chain in chains.items()}


def of_filters(judged: Mapping[str, pl.DataFrame], half: str) -> list[dict[str, Any]]:
    """A line a filter: its recall on what it is for, and what else it drops."""
    lines = []
    for name, frame in judged.items():
        found = measured(name, frame.filter(pl.col("half") == half))
        kinds = found.bad if name == CHAIN else tuple(kind for kind in FOR.get(name, ()) if kind in found.kinds)
        others = {kind: found.kinds[kind] for kind in found.bad if kind not in kinds and found.kinds[kind][0]}
        lines.append(
            {
                f"filter ({half})": name,
                "recall": found.recall(kinds),
                "precision": found.precision,
                "good dropped": "{} of {}".format(*found.kinds[GOOD]),
                "for": "all" if name == CHAIN else ", ".join("{} {}/{}".format(k, *found.kinds[k]) for k in kinds),
                "also drops": ", ".join("{} {}/{}".format(kind, *counts) for kind, counts in others.items()),
            }
        )
    return lines


def of_kinds(judged: pl.DataFrame) -> list[dict[str, Any]]:
    """A line a kind: what share of it the chain drops in each set, and which filters do."""
    lines = []
    for (kind,), part in judged.group_by("kind", maintain_order=True):
        line: dict[str, Any] = {"kind": kind}
        for half in SETS:
            dropped = part.filter(pl.col("half") == half)["dropped_by"].is_not_null()
            if dropped.is_empty():
                line[half] = "–"
                continue
            between = share(int(dropped.sum()), len(dropped))
            line[half] = f"{dropped.sum()}/{len(dropped)} = {between.mean:.2f} ({between.low:.2f}–{between.high:.2f})"
        by = (
            part["dropped_by"]
            .drop_nulls()
            .value_counts(sort=True, name="count")
            .sort("count", "dropped_by", descending=[True, False])
        )
        line["dropped by"] = ", ".join(f"{name} {count}" for name, count in by.iter_rows())
        lines.append(line)
    return lines


def wrong(judged: pl.DataFrame, half: str) -> list[dict[str, Any]]:
    """The pairs of a half that the chain judges wrongly: good ones that it drops, bad ones that it keeps."""
    frame = judged.filter(pl.col("half") == half)
    mistaken = (pl.col("kind") == GOOD) == pl.col("dropped_by").is_not_null()
    return frame.filter(mistaken).to_dicts()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; write them as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrong", choices=HALVES, help="list the pairs of this half that the default chain gets wrong")
    parser.add_argument("--json", type=Path, help="write the tables there")
    args = parser.parse_args(argv)
    judged = judgements()
    tables = [of_filters(judged, half) for half in SETS] + [of_kinds(judged[CHAIN])]
    print("\n\n".join(table(lines) for lines in tables))
    if args.wrong:
        for pair in wrong(judged[CHAIN], args.wrong):
            field = "prompt" if pair["prompt"] != pair["parent_prompt"] else "response"
            verdict = f"dropped by {pair['dropped_by']}: {pair['reason']}" if pair["dropped_by"] else "kept"
            print(f"\n{pair['id']} ({pair['note']}) {verdict}\n  - {pair['parent_' + field]}\n  + {pair[field]}")
    if args.json:
        args.json.write_text(json.dumps(tables, indent=1, ensure_ascii=False), "utf-8")
    return 0
