"""Contact sheets: for each generator some seeds, their variants beside them, and those that were dropped, with why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from augment.lineage import ROWS
from augment.report.blocks import Sheet, Tile
from augment.report.gather import REJECTED, Run
from augment.report.rows import collect, families, withheld, worded
from augment.report.shots import Shots

LINES, EACH = 6, 7
"""Seeds of each generator, and variants of each of them."""
DROPPED = 2
"""Of the variants, at least so many that were dropped, where there are."""
GENERATORS = 12
LONGEST = 120
_COLUMNS = (
    *("id", "family", "generator", "variant", "label", "caption", "prompt"),
    *("image", "mask", "boxes", "dropped_by", "reason"),
)
_NOTE = (
    "A seed first, then its variants; grey ones were dropped. Yellow: boxes. Pink: the border of the mask. "
    "A click shows the row."
)


def sheets(runs: Sequence[Run]) -> list[Sheet]:
    """A sheet for each generator of each run of pictures."""
    found = []
    for run in runs:
        if run.pictured:
            named = f" ({run.name})" if len(runs) > 1 else ""
            rows = _rows(run)
            made = rows.filter(pl.col("generator") != "seed")
            order = made["generator"].value_counts().sort("count", "generator", descending=[True, False])["generator"]
            shots = Shots(run)
            captioned = run.manifest.get("modality") == "paired"
            for generator in order.head(GENERATORS):
                lines = _lines(rows, made.filter(pl.col("generator") == generator), shots, captioned)
                if lines:
                    found.append(Sheet(f"{generator}{named}", lines, {"generator": generator}))
    return [dataclasses.replace(each, note=_NOTE if each is found[-1] else "") for each in found]


def _rows(run: Run) -> pl.DataFrame:
    """The run's rows that show something, as far as a sheet needs them."""
    kept = families(run, ROWS).with_columns(dropped_by=pl.lit(None, pl.String), reason=pl.lit(None, pl.String))
    frames = [collect(run, each.select(_COLUMNS)) for each in (kept, withheld(families(run, REJECTED)))]
    return worded(pl.concat(frames, how="vertical_relaxed")).filter(pl.col("image").is_not_null())


def _lines(rows: pl.DataFrame, made: pl.DataFrame, shots: Shots, captioned: bool) -> list[list[Tile]]:
    chosen = made["family"].unique().sort().head(LINES)
    lines = []
    for family in chosen:
        seed = rows.filter(pl.col("id") == family, pl.col("generator") == "seed")
        variants = made.filter(pl.col("family") == family).sort("variant", "id")
        dropped = variants.filter(pl.col("dropped_by").is_not_null())
        kept = variants.filter(pl.col("dropped_by").is_null()).head(EACH - min(DROPPED, len(dropped)))
        shown = pl.concat([seed.head(1), kept, dropped.head(EACH - len(kept))])
        tiles = [
            _tile(row, shot, captioned) for row in shown.iter_rows(named=True) if (shot := shots.of(row)) is not None
        ]
        if any(tile.kind != "seed" for tile in tiles):
            lines.append(tiles)
    return lines


def _tile(row: dict[str, Any], shot: str, captioned: bool) -> Tile:
    dropped = ": ".join(filter(None, (row["dropped_by"], row["reason"])))
    kind = "dropped" if dropped else "seed" if row["generator"] == "seed" else "kept"
    said = row["prompt"] or row["label"] if captioned else row["label"] or row["prompt"]
    told = f"✕ {dropped}" if dropped else said or ""
    words = ", ".join(
        filter(None, (row["generator"], row["label"], row["prompt"], dropped and f"dropped by {dropped}"))
    )
    return Tile(shot, row["id"], words[:LONGEST], told[:LONGEST], kind)
