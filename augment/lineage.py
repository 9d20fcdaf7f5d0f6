"""Versions of a dataset: which published run a new one grows from, and what it takes over.

Runs of one recipe on one source, answered by one model, are a line. An incremental run takes the variants of
seeds that are still there from the newest of them, and makes variants only for what is new or edited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from augment.errors import RunError
from augment.manifest import MANIFEST, digest_of, manifest_of
from augment.records import PARENT, POSITION, SCHEMA, VERDICT

if TYPE_CHECKING:
    from augment.plan import Plan

ROWS = "curated/train.parquet"
BLOCK = 2000
"""Rows of the parent that are in memory at once."""


@dataclass(frozen=True)
class Parent:
    """The published run that a new version grows from; `digest` is its manifest's SHA-256."""

    folder: Path
    version: int
    fingerprint: str
    content: str
    digest: str

    def named(self) -> dict[str, str]:
        """How a manifest names its parent."""
        return {"name": self.folder.name, "fingerprint": self.fingerprint, "manifest": self.digest}


def newest(runs: Path, line: str) -> Parent | None:
    """The latest version of a line among the folders of `runs`, or None.

    Raises:
        RunError: its rows are not those that its manifest names.
    """
    found: list[tuple[int, float, Path, dict[str, Any]]] = []
    for path in runs.glob(f"*/{MANIFEST}"):
        try:
            manifest = manifest_of(path.parent)
        except RunError:
            continue  # not a run of ours, so not of this line
        if manifest.get("line") == line:
            found.append((manifest["version"], path.stat().st_mtime, path.parent, manifest))
    if not found:
        return None
    version, _, folder, manifest = max(found, key=lambda each: each[:3])
    rows = folder / ROWS
    if not rows.is_file() or digest_of(rows) != manifest["files"][ROWS]:
        raise RunError(
            f"{rows} is not the file that {folder}/manifest.json names; restore it, or remove {folder} to start anew"
        )
    digest = digest_of(folder / MANIFEST)["sha256"]
    return Parent(folder, version, manifest["fingerprint"], manifest["content"], digest)


def carried(plan: Plan) -> Iterator[pl.DataFrame]:
    """The parent's variants of seeds that the plan still has, as candidates to be sifted anew, block by block.

    They come in the parent's order, so that what was published goes before what is new.
    """
    if plan.parent is None:
        return
    import pyarrow.parquet as pq

    seeds = plan.seeds.select(
        pl.col("id").alias("_seed"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("_position"),
        pl.col("prompt").alias("parent_prompt"),
        pl.col("response").alias("parent_response"),
    )
    known = seeds["_seed"].implode()
    with pq.ParquetFile(plan.parent.folder / ROWS) as file:
        for batch in file.iter_batches(BLOCK, columns=list(SCHEMA)):
            frame = pl.DataFrame(pl.from_arrow(batch)).filter(
                pl.col("generator") != "seed", pl.col("parents").list.eval(pl.element().is_in(known)).list.all()
            )
            placed = frame.with_columns(pl.col("parents").list.first().alias("_seed")).join(
                seeds, on="_seed", maintain_order="left"
            )
            numbered = placed.join(_candidates(plan), on="generator", maintain_order="left").with_columns(
                pl.col("_places").list.get(pl.col("variant") % pl.col("_places").list.len()).alias("_place"),
            )
            candidate = (pl.col("variant") // pl.col("_places").list.len()) * len(plan.turns) + pl.col("_place")
            rows = numbered.with_columns(
                candidate.cast(pl.Int64).alias("_candidate"),
                *(pl.lit(None, dtype=dtype).alias(name) for name, dtype in VERDICT.items()),
            ).select(*SCHEMA, *VERDICT, *PARENT, *POSITION)
            if len(rows):
                yield rows


def _candidates(plan: Plan) -> pl.DataFrame:
    """Each generator with its places in the order of turns: the inverse of `Plan.turn`."""
    places = [
        [place for place, which in enumerate(plan.turns) if which == number] for number in range(len(plan.generators))
    ]
    names = [each.name for each in plan.generators]
    return pl.DataFrame(
        {"generator": names, "_places": places}, schema={"generator": pl.String, "_places": pl.List(pl.Int64)}
    )
