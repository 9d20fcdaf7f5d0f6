"""A published run as a source: what it published and not what it rejected, with its families and its split.

Its rows are all of the training set. The rows that it holds out stay the exam (`augment.reopen`), and where more is to
be held out, a variant goes with the seed that it comes from, also through runs that were made from runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import RunError
from augment.manifest import MANIFEST, manifest_of
from augment.records import row_id
from augment.source_cards import is_card

ROWS = "curated/train.parquet"
COLUMNS = {"prompt": "prompt", "response": "response", "label": "label"}


def published_run(place: Path) -> Path | None:
    """The run whose folder, curated folder or curated rows `place` is, if it is one of these."""
    for folder in (place, place.parent, place.parent.parent):
        if (folder / MANIFEST).is_file() and place in (folder, folder / "curated", folder / ROWS):
            try:
                return folder if ROWS in manifest_of(folder)["files"] else None
            except RunError:
                return None  # another tool's manifest
    return None


def run_named(source: str) -> Path | None:
    """The run that a source's name stands for, as `published_run`; a card's name is the card's."""
    return published_run(Path(source)) if source and not is_card(source) else None


def questions_of(run: Path, columns: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The first questions that each published row comes from, by the id that the row has in a source.

    That is a seed's own question, and for a variant those of its parents; where the run was made from a run, those
    that its seeds came from. Of a parent that was not published its id stands for the question. `columns` are those
    that prompt, response and label are read from.
    """
    before = run_named(str((manifest_of(run).get("recipe") or {}).get("source") or ""))
    earlier = questions_of(before, COLUMNS) if before is not None else {}
    wanted = {**COLUMNS, **columns}
    rows = pl.read_parquet(run / ROWS, glob=False, columns=list({"id", "parents", *wanted.values()}))
    found: dict[str, tuple[str, ...]] = {}
    for seed in rows.filter(pl.col("parents").list.len() == 0).iter_rows(named=True):
        found[seed["id"]] = earlier.get(seed["id"], (seed[wanted["prompt"]] or "",))
    told: dict[str, tuple[str, ...]] = {}
    for row in rows.iter_rows(named=True):
        parents = [found.get(id) or earlier.get(id) or (id,) for id in row["parents"]]
        here = tuple(dict.fromkeys(each for one in parents for each in one)) or found[row["id"]]
        prompt, response, label = (_text(row[wanted[name]]) for name in COLUMNS)
        told.setdefault(row_id(prompt or "", response, label), here)
    return told


def _text(value: Any) -> str | None:
    """A cell as a source reads it."""
    return None if value is None else str(value).strip() or None
