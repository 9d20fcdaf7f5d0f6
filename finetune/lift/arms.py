"""Draws and arms: which rows each model learns from, and which rows it is asked about.

A draw is a small random share of the seeds, and every arm of a draw learns from these seeds alone: as they are,
repeated, or with their variants. So whatever luck there is in the draw, all arms have it, and their differences are
paired. A variant of a seed that was not drawn is in no arm, since it would tell what is in that seed.

All arms but the first have the same number of rows, seed by seed: where a seed has three variants, the control has
that seed four times. So they differ in what the rows say and in nothing else, neither in compute nor in weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from augment.errors import RunError
from augment.records import seed_for
from finetune.lift.pool import Pool

REAL, REPEATED, AUGMENTED = "real", "real, oversampled", "augmented"


@dataclass(frozen=True)
class Arm:
    """What one model learns from: `rows` has the columns of a `Pool`'s frames, a line each time a row is learned."""

    name: str
    rows: pl.DataFrame


@dataclass(frozen=True)
class Draw:
    """One random seed's arms, and the real rows outside the draw, kin to none in it, that all of them are tested on."""

    number: int
    seed: int
    arms: tuple[Arm, ...]
    test: pl.DataFrame


@dataclass(frozen=True)
class Design:
    """Who is drawn from and how. `strata` are the labels and the ids of their seeds (one stratum "" without labels).

    `shots` seeds are drawn of each stratum. `left_out` are labels without enough seeds, with how many they have.
    """

    pool: Pool
    strata: dict[str, tuple[str, ...]]
    shots: int
    left_out: dict[str, int]

    @property
    def drawn_share(self) -> float:
        """The share of a stratum that a draw takes, on average over strata."""
        return sum(self.shots / len(ids) for ids in self.strata.values()) / len(self.strata)

    def draws(self, seeds: Sequence[int]) -> Iterator[Draw]:
        """A draw for each random seed."""
        for number, seed in enumerate(seeds):
            yield _draw(self, number, seed)


def by_label(pool: Pool, shots: int) -> Design:
    """Draws of `shots` seeds of each label that has more seeds than that.

    Raises:
        RunError: rows have no labels, or fewer than two labels have enough seeds.
    """
    seeds = pool.seeds.filter(pl.col("label").is_not_null())
    if seeds.is_empty():
        raise RunError(
            f"no seed of {pool.run} has a label to learn; name its column when the run is made (--map label=COLUMN), "
            "or measure with --task adapter"
        )
    found = {str(label): tuple(ids) for label, ids in seeds.group_by("label").agg("id").sort("label").iter_rows()}
    strata = {label: ids for label, ids in found.items() if len(ids) > shots}
    left_out = {label: len(ids) for label, ids in found.items() if label not in strata}
    if len(strata) < 2:
        sizes = sorted(map(len, found.values()))
        if len(found) < 2:
            raise RunError(
                f"all seeds of {pool.run} have the label '{next(iter(found))}'; there is nothing to tell apart"
            )
        raise RunError(
            f"{len(strata)} of {len(found)} labels in {pool.run} have more than {shots} seeds, and two are needed; "
            + (f"lower --shots to {sizes[-2] - 1}" if sizes[-2] > 1 else "their seeds are too few")
        )
    return Design(pool, strata, shots, left_out)


def everything(pool: Pool) -> Design:
    """Every draw is all seeds, so that draws differ by nothing but the training's own randomness."""
    ids = tuple(pool.seeds["id"])
    return Design(pool, {"": ids}, len(ids), {})


def unlabelled(pool: Pool, shots: int) -> Design:
    """Draws of `shots` seeds, whatever their labels.

    Raises:
        RunError: there are no more seeds than that.
    """
    if len(pool.seeds) <= shots:
        raise RunError(f"{pool.run} has {len(pool.seeds)} seeds, so no draw of {shots} leaves one; lower --shots")
    return Design(pool, {"": tuple(pool.seeds["id"])}, shots, {})


def _draw(design: Design, number: int, seed: int) -> Draw:
    pool = design.pool
    drawn = {key for ids in design.strata.values() for key in _chosen(ids, design.shots, seed)}
    seeds = pool.seeds.filter(pl.col("id").is_in(drawn))
    inside = pl.col("parents").list.len() > 0, pl.col("parents").list.eval(pl.element().is_in(drawn)).list.all()
    variants = pool.variants.filter(*inside)
    if set(design.strata) != {""}:
        variants = variants.filter(pl.col("label").is_not_null())
    real = pl.concat([pool.seeds, pool.exam]).unique("id", keep="first", maintain_order=True)
    test = real.filter(~pl.col("family").is_in(seeds["family"].implode()))  # variants are of their seeds' families
    if set(design.strata) != {""}:
        test = test.filter(pl.col("label").is_in(list(design.strata)))
    return Draw(number, seed, arms_of(seeds, variants, pool.generators), test)


def _chosen(ids: Sequence[str], shots: int, seed: int) -> list[str]:
    """The first `shots` in an order that depends on the ids and `seed` alone: a larger draw holds the smaller one."""
    return sorted(ids, key=lambda key: (seed_for(key, "lift", 0, seed), key))[:shots]


def arms_of(seeds: pl.DataFrame, variants: pl.DataFrame, generators: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of a draw: `seeds`, and all `variants`, each a child of one of them (of its first parent here)."""
    rows = pl.concat([seeds, variants])
    made: list[list[int]] = [[] for _ in range(len(seeds))]
    place = {key: number for number, key in enumerate(seeds["id"])}
    for number, parents in enumerate(variants["parents"], start=len(seeds)):
        made[place[parents[0]]].append(number)
    maker = rows["generator"].to_list()

    def filled(without: str | None) -> pl.DataFrame:
        """Each seed with its variants but those of `without`, repeated in turn until all have as many rows as ever."""
        chosen = []
        for number, children in enumerate(made):
            kept = [number, *(child for child in children if maker[child] != without)]
            chosen += [kept[turn % len(kept)] for turn in range(1 + len(children))]
        return rows[chosen]

    repeated = [number for number, children in enumerate(made) for _ in range(1 + len(children))]
    arms = [Arm(REAL, seeds), Arm(REPEATED, rows[repeated]), Arm(AUGMENTED, filled(None))]
    if len(generators) > 1:
        arms += [Arm(f"{AUGMENTED} without {name}", filled(name)) for name in generators]
    return tuple(arms)
