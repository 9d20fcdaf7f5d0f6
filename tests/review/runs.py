"""Run folders to review: made by the seeded fake, with rows that filters rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from augment.pipeline import Curated, curate
from augment.review.session import Desk, Session, open_guard
from tests.test_pipeline import plan_of, seeds

FLAGS: dict[str, object] = {
    "n": "3x",
    "generators": "paraphrase,persona",
    "filters": "length,near_dup",
    "set": {"length": {"max_prompt": 45}, "near_dup": {"threshold": 0.5}},
    "incremental": True,
}


def made(place: Path, rows: int = 20, **flags: object) -> Curated:
    """A run of so many seeds, grown from what is there."""
    return curate(plan_of(**{"source": seeds(place, rows), **FLAGS, **flags}))


def sit(run: Path, reviewer: str = "ann", sizes: tuple[int, int] = (60, 60), seed: int = 0, **at: Any) -> Session:
    """A sitting over so many kept and rejected rows."""
    guard, _ = open_guard(run, at.get("path"))
    return Session.open(Desk.of(run), reviewer, sizes, seed, guard)


def kept(session: Session) -> list[str]:
    """The ids of the kept rows that are shown, in order."""
    return [id for id in session.order if session.rows[id].get("dropped_by") is None]


def rejected(session: Session, by: str | None = None) -> list[str]:
    """The ids of the rejected rows that are shown, in order."""
    found = [id for id in session.order if session.rows[id].get("dropped_by") is not None]
    return [id for id in found if by in (None, session.rows[id]["dropped_by"])]


def curated(run: Path) -> pl.DataFrame:
    """What a run published."""
    return pl.read_parquet(run / "curated/train.parquet", glob=False)


def out(run: Path) -> pl.DataFrame:
    """What a run rejected."""
    return pl.read_parquet(run / "rejected.parquet", glob=False)


def row(frame: pl.DataFrame, id: str) -> dict[str, Any] | None:
    """The row of that id, or None."""
    found = frame.filter(pl.col("id") == id)
    return found.row(0, named=True) if len(found) else None
