"""Whether choosing rows beats drawing them: `python -m tests.benchmarks.selection [--smallest]`.

Low-shot classification of the bundled sample (16 topics) and of CHBench (mental or physical; where
$AUGMENT_CHBENCH_DIR is set), with the classifier of `augment lift`. Chosen are two of five variants of each drawn seed
(by `rules` and the seeded fake `echo`, unfiltered), or real rows out of half of all that there are; the other half is
asked about. Every choice is held against random ones of the same size, draw by draw on the same rows, with the interval
of `finetune.lift.uncertainty`. Of variants it is held against random ones of each seed too: top_k takes two of each, and
that balance alone, whatever the score, may be what helps. The verdict is reported whichever way it falls; what is checked is that choosing wins
where the truth is known: variants that are copies or mislabelled, a pool of which most rows are alike.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augment.intervals import Interval
from augment.records import SCHEMA, seed_for
from filters import Context
from filters.chain import chain_of
from finetune.lift.arms import Arm, Draw, by_label
from finetune.lift.classify import Classifying
from finetune.lift.pool import Pool, open_pool
from finetune.lift.uncertainty import crossed
from tests.benchmarks.lift import augment
from tests.benchmarks.measure import Result, arguments, workplace
from tests.finetune.lifts import LABELS, make_run, question, write_rows

Choose = Callable[[pl.DataFrame, pl.DataFrame, int, int], pl.DataFrame]
"""From candidates and seeds, how many rows and a random seed to the rows that are chosen."""
RANDOM, EACH = "random", "random, as many of each seed"
DRAWN = 5
"""Random choices a draw; their mean is what a choice is held against."""
MADE = ("--llm", "echo", "--generators", "rules,paraphrase", "--filters", "none", "--n", "5x")


def by_filters(names: Sequence[str], **settings: Mapping[str, Any]) -> Choose:
    """A choice by a chain of ours. `keep` in a filter's settings stands for how many rows are wanted."""

    def choose(candidates: pl.DataFrame, seeds: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
        del seed
        told = {
            name: {key: count if "keep" in (key, each) else each for key, each in settings[name].items()}
            for name in settings
        }
        chain = chain_of(names, told)
        context = Context(seeds, seeds.clear())
        absent = [
            pl.lit(None, dtype=dtype).alias(name) for name, dtype in SCHEMA.items() if name not in candidates.columns
        ]
        scored = chain.sift(candidates.with_columns(absent), context)
        chosen = chain.select(scored.filter(pl.col("dropped_by").is_null()), context)
        return candidates.filter(pl.col("id").is_in(chosen.filter(pl.col("dropped_by").is_null())["id"].implode()))

    return choose


def at_random(candidates: pl.DataFrame, seeds: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """So many rows, drawn by their ids and the seed."""
    del seeds
    chosen = sorted(candidates["id"], key=lambda key: seed_for(key, "selection", 0, seed))[:count]
    return candidates.filter(pl.col("id").is_in(chosen))


OPEN = {"highest": 1.0, "lowest": 0.0, "lowest_response": 0.0}
SPREAD = {
    "cluster, nearest to the centre": by_filters(["cluster"], cluster={"keep": 1, "outliers": 1.0}),
    "cluster, farthest first": by_filters(["cluster"], cluster={"keep": 1, "outliers": 1.0, "first": "farthest"}),
    "cluster, one row of each": by_filters(["cluster"], cluster={"keep": 1, "outliers": 1.0, "clusters": "keep"}),
    "coverage": by_filters(["coverage"], coverage={"keep": 1, "exam": False}),
}
OF_VARIANTS = SPREAD | {
    f"top_k, {name}": by_filters(filters, top_k={"by": by, "k": 2}, **more)
    for name, by, filters, more in (
        ("most like the seed", "similarity_score", ["similarity", "top_k"], {"similarity": OPEN}),
        ("least like the seed", "-similarity_score", ["similarity", "top_k"], {"similarity": OPEN}),
        ("most diverse", "diversity_own", ["diversity", "top_k"], {"diversity": {"lowest": 0.0}}),
    )
}
OF_ROWS = SPREAD | {
    "top_k, most diverse": by_filters(
        ["diversity", "top_k"],
        top_k={"by": "diversity_other", "k": "keep", "per": "all"},
        diversity={"lowest": 0.0, "groups": "across"},
    )
}


@dataclass(frozen=True)
class Case:
    """One draw: the rows that every arm learns, those to choose `count` from, and the rows that are asked about."""

    seed: int
    base: pl.DataFrame
    candidates: pl.DataFrame
    test: pl.DataFrame
    count: int


def of_variants(pool: Pool, shots: int, draws: int) -> tuple[list[Case], float]:
    """Draws of so many seeds of a label, with two of five variants of each to choose; and the share that is drawn."""
    design = by_label(pool, shots)
    cases = []
    for draw in design.draws(range(draws)):
        base = draw.arms[0].rows
        candidates = pool.variants.filter(pl.col("parents").list.first().is_in(base["id"].implode()))
        cases.append(Case(draw.seed, base, candidates, draw.test, 2 * len(base)))
    return cases, design.drawn_share


def of_rows(pool: Pool, share: float, draws: int) -> tuple[list[Case], float]:
    """Halves of all real rows, a share of one half to choose, the other half to be asked about."""
    real = pl.concat([pool.seeds, pool.exam]).unique("id", keep="first", maintain_order=True)
    real = real.filter(pl.col("label").is_not_null())
    families = sorted(real["family"].unique())
    cases = []
    for seed in range(draws):
        half = sorted(families, key=lambda key: seed_for(key, "half", 0, seed))[: len(families) // 2]
        inside = pl.col("family").is_in(half)
        candidates = real.filter(inside).with_columns(pl.lit([], dtype=pl.List(pl.String)).alias("parents"))
        count = round(share * len(candidates))
        cases.append(Case(seed, real.clear(), candidates, real.filter(~inside), count))
    return cases, 0.5


def of_each(candidates: pl.DataFrame, seeds: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """As many rows of each seed, drawn by their ids and the seed."""
    share = count // len(seeds)
    parts = candidates.with_columns(pl.col("parents").list.first().alias("_of")).partition_by(
        "_of", maintain_order=True
    )
    return pl.concat([at_random(each, seeds, share, seed) for each in parts]).drop("_of")


@dataclass(frozen=True)
class Compared:
    """How much a choice scores over random ones, and over random ones of each seed where there are seeds."""

    over: Interval
    over_each: Interval | None


def compared(
    result: Result,
    pool: Pool,
    cases: Sequence[Case],
    drawn: float,
    choices: Mapping[str, Choose],
    about: dict[str, Any],
) -> dict[str, Compared]:
    """A row for each choice: its accuracy, and how much that is over random choices, with the intervals."""
    task = Classifying(pool)
    every = pl.concat([pool.seeds, pool.exam]).unique("id", keep="first", maintain_order=True)
    place = {key: number for number, key in enumerate(every["id"])}
    families = every["family"].rank("dense").to_numpy().astype(np.int64) - 1
    drawers = {RANDOM: at_random, **({EACH: of_each} if len(cases[0].base) else {})}
    scores = {name: np.full((len(cases), len(every)), np.nan) for name in (*drawers, *choices)}
    sizes: set[int] = set()
    for number, case in enumerate(cases):
        at = [place[key] for key in case.test["id"]]

        def right(rows: pl.DataFrame, case: Case = case, number: int = number) -> NDArray[np.float64]:
            sizes.add(len(rows) - case.count)
            arm = Arm("", pl.concat([case.base, rows.select(case.base.columns)]))
            return task(Draw(number, case.seed, (), case.test), arm, Path())

        for name, drawer in drawers.items():
            chosen = [drawer(case.candidates, case.base, case.count, 100 * case.seed + turn) for turn in range(DRAWN)]
            scores[name][number, at] = np.mean([right(rows) for rows in chosen], axis=0)
        for name, choose in choices.items():
            scores[name][number, at] = right(choose(case.candidates, case.base, case.count, case.seed))
    found = {}
    for name in choices:
        over, *more = (crossed(scores[name] - scores[drawer], families, drawn) for drawer in drawers)
        found[name] = Compared(over, more[0] if more else None)
    result.check(f"{about}: every choice has the same size", sizes == {0}, sorted(sizes))
    for name in scores:
        row = {**about, "choice": name, "accuracy": f"{np.nanmean(scores[name]):.3f}"}
        if name in found:
            row |= {"over random": told(found[name].over)}
            each = found[name].over_each
            row |= {"over random of each seed": told(each)} if each is not None else {}
        result.rows.append(row)
    return found


def told(over: Interval) -> str:
    """A difference with its interval; a star where that is beyond chance."""
    return f"{over.mean:+.3f} ({over.low:+.3f} to {over.high:+.3f}){'*' if over.sure else ''}"


def sources(result: Result, folder: Path, names: Sequence[str], shots: Sequence[int], draws: int) -> None:
    """The sample and CHBench: variants and real rows, every way of choosing."""
    verdicts: dict[str, list[Compared]] = {}
    for name in names:
        run = folder / name
        augment(folder, "text", "--source", name, "--no-prefect", "--out", run, *MADE)
        pool = open_pool(run)
        for count in shots:
            about = {"source": name, "choose": f"2 of 5 variants of {count} a label"}
            found = compared(result, pool, *of_variants(pool, count, draws), OF_VARIANTS, about)
            for choice, each in found.items():
                verdicts.setdefault(choice, []).append(each)
        for share in (0.2, 0.5):
            about = {"source": name, "choose": f"{share:.0%} of real rows"}
            for choice, each in compared(result, pool, *of_rows(pool, share, draws), OF_ROWS, about).items():
                verdicts.setdefault(choice, []).append(each)
    result.notes.append(verdict(verdicts))


def verdict(found: Mapping[str, Sequence[Compared]]) -> str:
    """What the comparisons come to, in a sentence or two."""
    sides = {
        RANDOM: [(name, each.over) for name, some in found.items() for each in some],
        EACH: [(name, each.over_each) for name, some in found.items() for each in some if each.over_each is not None],
    }
    parts = []
    for side, every in sides.items():
        ways = {
            how: [name for name, each in every if each.sure and (each.mean > 0) == (how == "better")]
            for how in ("better", "worse")
        }
        listed = "; ".join(f"{how}: {', '.join(some)}" for how, some in ways.items() if some)
        parts.append(
            f"Against {side}, {len(ways['better'])} of {len(every)} choices are better beyond chance and "
            f"{len(ways['worse'])} worse, where {len(every) / 20:.1f} would be by chance alone"
            + (f" ({listed})" if listed else "")
        )
    return ". ".join(parts)


# Where the truth is known


def half_copies(seed: dict[str, str], rng: random.Random, _place: int) -> Iterable[dict[str, object]]:
    """Three variants that say what the seed says, two that know more."""
    return [{"prompt": seed["prompt"] + mark} for mark in ("?", "??", "!")] + [
        {"prompt": question(seed["label"], rng)} for _ in range(2)
    ]


def half_wrong(seed: dict[str, str], rng: random.Random, _place: int) -> Iterable[dict[str, object]]:
    """Three variants with another label, two with their own."""
    others = [label for label in LABELS if label != seed["label"]]
    wrong = [{"prompt": question(seed["label"], rng), "label": rng.choice(others)} for _ in range(3)]
    return [*wrong, *({"prompt": question(seed["label"], rng)} for _ in range(2))]


def by_trust(candidates: pl.DataFrame, seeds: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """The variants that have their seed's label, as a judge without fault would score them."""
    labels = dict(seeds.select("id", "label").iter_rows())
    own = pl.col("parents").list.first().replace_strict(labels, return_dtype=pl.String)
    judged = candidates.with_columns((pl.col("label") == own).cast(pl.Float64).alias("trust_score"))
    chosen = by_filters(["top_k"], top_k={"by": "trust_score", "k": 2})(judged, seeds, count, seed)
    return chosen.select(candidates.columns)


def mostly_alike(pool: Pool, draws: int) -> tuple[list[Case], float]:
    """To choose from: 64 seeds, and 60 rows for each of the first four that differ in nothing but marks."""
    cases = []
    for seed in range(draws):
        order = sorted(pool.seeds["id"], key=lambda key: seed_for(key, "alike", 0, seed))
        inside = pool.seeds.filter(pl.col("id").is_in(order[:64])).sort("id")
        copies = [
            each.with_columns(prompt=pl.col("prompt") + mark * times, id=pl.col("id") + f"{mark}{times}")
            for each in inside[:4].iter_slices(1)
            for mark in "?!"
            for times in range(1, 31)
        ]
        candidates = pl.concat([inside, *copies])
        test = pool.seeds.filter(~pl.col("id").is_in(order[:64]))
        cases.append(Case(seed, inside.clear(), candidates, test, 64))
    return cases, 64 / len(pool.seeds)


def known(result: Result, folder: Path, draws: int) -> None:
    """Choosing must win where it can be known to."""
    file = write_rows(folder, per_label=100)
    copies = open_pool(make_run(folder / "copies", file, half_copies))
    chosen = {name: OF_VARIANTS[name] for name in ("coverage", "top_k, least like the seed", "top_k, most diverse")}
    wins(
        "copies",
        compared(result, copies, *of_variants(copies, 2, draws), chosen, {"variants": "3 of 5 are copies"}),
        result,
    )
    wrong = open_pool(make_run(folder / "wrong", file, half_wrong))
    trusted = {"top_k, by a judge without fault": by_trust}
    wins(
        "labels",
        compared(result, wrong, *of_variants(wrong, 2, draws), trusted, {"variants": "3 of 5 mislabelled"}),
        result,
    )
    pool = with_copies(copies, mostly_alike(copies, draws)[0])
    about = {"variants": "a pool mostly of copies"}
    apart = {name: SPREAD[name] for name in ("cluster, one row of each", "coverage")}
    wins("alike", compared(result, pool, *mostly_alike(copies, draws), apart, about), result)


def wins(what: str, found: Mapping[str, Compared], result: Result) -> None:
    """All of these are better than random, of each seed too."""
    for name, both in found.items():
        for each in (both.over, both.over_each or both.over):
            result.check(f"{what}: {name} beats random", each.sure and each.mean > 0, told(each))


def with_copies(pool: Pool, cases: Sequence[Case]) -> Pool:
    """The pool with all candidates among its variants, so that the classifier knows their texts."""
    every = pl.concat([pool.variants, *(case.candidates for case in cases)]).unique("id", maintain_order=True)
    return Pool(pool.run, pool.manifest, pool.seeds, every, pool.exam)


def main(argv: list[str] | None = None) -> Result:
    args = arguments(__doc__).parse_args(argv)
    result = Result("selection")
    names = ["sample", *(["chbench"] if os.environ.get("AUGMENT_CHBENCH_DIR") and not args.smallest else [])]
    if len(names) == 1:
        result.notes.append("CHBench was left out")
    with workplace() as folder:
        sources(result, folder, names, [1] if args.smallest else [1, 3], 2 if args.smallest else 30)
        known(result, folder, 8 if args.smallest else 20)
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
