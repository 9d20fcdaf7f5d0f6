"""Which rows to show: kept ones at random, rejected ones so that every filter and reason is seen.

A row's place depends on its id and the seed alone. So a larger sample begins with the smaller one, two reviewers see
the same rows, and whoever stops half-way has looked at a sample all the same.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import RunError
from augment.lineage import REJECTED_ROWS, ROWS
from augment.records import REVIEWED
from augment.review.verdicts import BARRED, ROW

SHARE = 0.5
"""Of the rejected sample that is spread evenly over filters and reasons; the rest goes by their numbers of rows."""

Reason = tuple[str, str]
"""A filter and why it dropped the row."""


@dataclass(frozen=True)
class Population:
    """How many rows there are to review: kept variants, by generator; rejected ones that can be shown, by reason."""

    kept: Mapping[str, int]
    rejected: Mapping[Reason, int]

    @property
    def sizes(self) -> tuple[int, int]:
        """Kept and rejected in all."""
        return sum(self.kept.values()), sum(self.rejected.values())


def readable() -> pl.Expr:
    """Whether a row of `rejected.parquet` can be shown: it holds a text, and nothing bars it."""
    return (
        ~pl.col("dropped_by").is_in(list(BARRED)) & pl.col("prompt").is_not_null() & (pl.col("generator") != "seed")
    ).fill_null(False)


def unseen(ids: Iterable[str]) -> pl.Expr:
    """Whether a row is none of those, nor the edited form of one."""
    known = pl.Series(list(ids), dtype=pl.String).implode()
    return ~(pl.col("id").is_in(known) | pl.col("edited_from").is_in(known).fill_null(False))


def population(folder: Path, done: Collection[str] = ()) -> Population:
    """What there is to review in a run, besides the rows that were `done` in earlier versions.

    Raises:
        RunError: a file of the run is missing or cannot be read.
    """
    kept = _kept(folder, done).group_by("generator").len()
    rejected = _rejected(folder, done).group_by("dropped_by", "reason").len()
    return Population(
        dict(sorted(_collect(kept, folder).iter_rows())),
        {(by, why): count for by, why, count in sorted(_collect(rejected, folder).iter_rows())},
    )


def _kept(folder: Path, done: Collection[str]) -> pl.LazyFrame:
    return _scan(folder / ROWS).filter(pl.col("generator") != "seed", unseen(done))


def _rejected(folder: Path, done: Collection[str]) -> pl.LazyFrame:
    return _scan(folder / REJECTED_ROWS).filter(readable(), unseen(done))


def kept_sample(folder: Path, size: int, seed: int, done: Collection[str] = ()) -> list[str]:
    """Ids of `size` kept variants, each as likely as any other, in a random order."""
    frame = _collect(_kept(folder, done).select("id"), folder)
    return [id for _, id in _lowest(frame["id"], size, seed)]


def rejected_sample(
    folder: Path, size: int, seed: int, strata: Mapping[Reason, int], done: Collection[str] = ()
) -> list[str]:
    """Ids of `size` rejected variants: at random within a filter's reason, the reasons taking turns by their shares."""
    turns = list(_turns(strata, size))
    wanted = Counter(turns)
    ids: dict[Reason, list[str]] = {key: [] for key in wanted}
    frame = _collect(_rejected(folder, done).select("id", "dropped_by", "reason"), folder)
    for id, by, reason in frame.iter_rows():
        if (by, reason) in ids:
            ids[by, reason].append(id)
    queues = {key: iter(_lowest(ids[key], count, seed)) for key, count in wanted.items()}
    return [next(queues[key])[1] for key in turns]


def _turns(strata: Mapping[Reason, int], size: int) -> Iterator[Reason]:
    """Whose turn it is, row by row: always the one that lags most behind its share (Webster's method)."""
    total = sum(strata.values())
    shares = {key: SHARE / len(strata) + (1 - SHARE) * count / total for key, count in strata.items()}
    queue = [(0.5 / share, key, 0) for key, share in shares.items()]
    heapq.heapify(queue)
    for _ in range(min(size, total)):
        _, key, taken = heapq.heappop(queue)
        yield key
        if taken + 1 < strata[key]:
            heapq.heappush(queue, ((taken + 1.5) / shares[key], key, taken + 1))


def _lowest(ids: Iterable[str], size: int, seed: int) -> list[tuple[bytes, str]]:
    key = seed.to_bytes(8, "big")
    return heapq.nsmallest(size, ((hashlib.blake2b(id.encode(), digest_size=8, key=key).digest(), id) for id in ids))


def split(size: int, sizes: tuple[int, int]) -> tuple[int, int]:
    """How many of `size` rows are kept and how many rejected ones: half each, or more where the others are too few."""
    kept, rejected = sizes
    first = min(kept, max(size - size // 2, size - rejected))
    return first, min(rejected, size - first)


def rows_by_id(folder: Path, ids: list[str], kept: bool) -> dict[str, dict[str, Any]]:
    """Rows of a run by id, with all their columns; those of `rejected.parquet` where not `kept`."""
    wanted = pl.col("id").is_in(pl.Series(ids, dtype=pl.String).implode())
    frame = _collect(_scan(folder / (ROWS if kept else REJECTED_ROWS)).filter(wanted), folder)
    return {row["id"]: row for row in frame.iter_rows(named=True)}


def seen(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a decision remembers it."""
    return {name: row[name] for name in ROW if row.get(name) is not None}


def scores(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row's scores."""
    return {name: value for name, value in row.items() if name not in ROW and value is not None}


def _scan(path: Path) -> pl.LazyFrame:
    if not path.is_file():
        raise RunError(f"{path} is missing, and the manifest beside it says it is there; make the run again")
    frame = pl.scan_parquet(path, glob=False)
    with _reading(path.parent):
        lacking = REVIEWED.keys() - set(frame.collect_schema().names())
    return frame.with_columns(pl.lit(None, dtype=REVIEWED[name]).alias(name) for name in sorted(lacking))


def _collect(frame: pl.LazyFrame, folder: Path) -> pl.DataFrame:
    with _reading(folder):
        return frame.collect(engine="streaming")


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turns what a damaged file raises into one line."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        why = " ".join(str(error).partition("\n")[0].split())
        raise RunError(f"the rows of {folder} cannot be read ({why}); make the run again") from None
