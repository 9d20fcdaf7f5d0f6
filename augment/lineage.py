"""Versions of a dataset: which published run a new one grows from, and what it takes over.

Runs of one recipe on one source, answered by one model, are a line. An incremental run takes the variants of
seeds that are still there from the newest of them, and makes variants only for what is new or edited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from augment.errors import RunError
from augment.images.gallery import taken_down
from augment.images.store import pictures
from augment.manifest import MANIFEST, digest_of, manifest_of
from augment.records import PARENT, POSITION, REVIEWED
from augment.review.verdicts import REJECTED, REVIEW, ROW, Verdicts

if TYPE_CHECKING:
    from augment.plan import Plan

ROWS = "curated/train.parquet"
REJECTED_ROWS = "rejected.parquet"
BLOCK = 2000
"""Rows of the parent that are in memory at once."""


@dataclass(frozen=True)
class Parent:
    """The published run that a new version grows from; `digest` is its manifest's SHA-256.

    `verdicts` are what people decided about its rows and those of the versions before it.
    """

    folder: Path
    version: int
    fingerprint: str
    content: str
    digest: str
    verdicts: Verdicts = field(default_factory=Verdicts)

    def named(self) -> dict[str, str]:
        """How a manifest names its parent."""
        return {"name": self.folder.name, "fingerprint": self.fingerprint, "manifest": self.digest}


def newest(runs: Path, line: str) -> Parent | None:
    """The latest version of a line among the folders of `runs`, or None.

    Raises:
        RunError: its rows are not those that its manifest names.
    """
    found: list[tuple[int, float, Path]] = []
    for path in runs.glob(f"*/{MANIFEST}"):
        try:
            manifest = manifest_of(path.parent)
        except RunError:
            continue  # not a run of ours, so not of this line
        if manifest.get("line") == line:
            found.append((manifest["version"], path.stat().st_mtime, path.parent))
    return parent_of(max(found)[-1]) if found else None


def parent_of(folder: Path) -> Parent:
    """A finished run as what a new version grows from.

    Raises:
        RunError: it is no finished run, or its rows are not those that its manifest names.
    """
    manifest = manifest_of(folder)
    rows = folder / ROWS
    if not rows.is_file() or digest_of(rows) != manifest["files"][ROWS]:
        raise RunError(
            f"{rows} is not the file that {folder}/manifest.json names; restore it, or remove {folder} to start anew"
        )
    return Parent(
        folder,
        manifest.get("version") or 1,
        manifest["fingerprint"],
        manifest.get("content") or "",
        digest_of(folder / MANIFEST)["sha256"],
        Verdicts.of([(each, manifest_of(each)["fingerprint"]) for each in (folder, *ancestors(folder))]),
    )


def ancestors(folder: Path) -> Iterator[Path]:
    """The versions that a run grew from, the nearest first, as far as their folders lie side by side."""
    seen = {folder.resolve()}
    while True:
        parent = manifest_of(folder).get("parent")
        if not isinstance(parent, dict):
            return
        folder = folder.resolve().parent / str(parent.get("name"))
        try:
            there = manifest_of(folder)["fingerprint"] == parent.get("fingerprint")
        except RunError:
            return
        if not there or folder in seen:
            return
        seen.add(folder)
        yield folder


def rows_of(parent: Parent, columns: Mapping[str, Any] = MappingProxyType({})) -> Iterator[pl.DataFrame]:
    """The parent's variants as its reviewers want them (those of `ROW`, and `columns` besides), block by block.

    Those that it published come in its order, with a verdict where people reject them; then, of those it rejected, the
    ones that people accept or keep out; then accepted ones that only older versions hold.
    """
    import pyarrow.parquet as pq

    met: set[str] = set()
    verdicts = parent.verdicts
    schema = {**ROW, **columns}
    for name in (ROWS, REJECTED_ROWS):
        if name == REJECTED_ROWS and not verdicts:
            return
        with pq.ParquetFile(parent.folder / name) as file:
            wanted = [each for each in file.schema_arrow.names if each in schema]
            for batch in file.iter_batches(BLOCK, columns=wanted):
                frame = pl.concat(
                    [pl.DataFrame(schema=schema), pl.DataFrame(pl.from_arrow(batch))], how="diagonal"
                ).filter(pl.col("generator") != "seed")
                if verdicts:
                    concerned = frame.filter(verdicts.concerns())
                    met.update(concerned["id"], concerned["edited_from"].drop_nulls())
                if name == ROWS:
                    yield verdicts.heeded(frame)
                else:
                    kept_out = (pl.col("dropped_by") == REVIEW) & (pl.col("reason") == REJECTED)
                    yield verdicts.heeded(concerned).filter(pl.col("dropped_by").is_null() | kept_out)
    yield verdicts.missing(met)


def carried(plan: Plan) -> Iterator[pl.DataFrame]:
    """The parent's variants of seeds that the plan still has, as candidates to be sifted anew, block by block.

    They come in the parent's order, so that what was published goes before what is new. Those that people reject have
    their verdict, so that they are counted and never made again.
    """
    if plan.parent is None:
        return
    seeds = plan.seeds.select(
        pl.col("id").alias("_seed"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("_position"),
        pl.col("prompt").alias("parent_prompt"),
        pl.col("response").alias("parent_response"),
    )
    known = seeds["_seed"].implode()
    names = list(ROW) if plan.parent.verdicts else [name for name in ROW if name not in REVIEWED]
    names += plan.content_columns
    for block in rows_of(plan.parent, plan.content_columns):
        frame = block.filter(pl.col("parents").list.eval(pl.element().is_in(known)).list.all())
        placed = frame.with_columns(pl.col("parents").list.first().alias("_seed")).join(
            seeds, on="_seed", maintain_order="left"
        )
        numbered = placed.join(_candidates(plan), on="generator", maintain_order="left").with_columns(
            pl.col("_places").list.get(pl.col("variant") % pl.col("_places").list.len()).alias("_place"),
        )
        candidate = (pl.col("variant") // pl.col("_places").list.len()) * len(plan.turns) + pl.col("_place")
        rows = numbered.with_columns(candidate.cast(pl.Int64).alias("_candidate")).select(*names, *PARENT, *POSITION)
        if len(rows):
            yield taken_down(rows, plan.parent.folder, pictures()) if plan.pictured else rows


def _candidates(plan: Plan) -> pl.DataFrame:
    """Each generator with its places in the order of turns: the inverse of `Plan.turn`."""
    places = [
        [place for place, which in enumerate(plan.turns) if which == number] for number in range(len(plan.generators))
    ]
    names = [each.name for each in plan.generators]
    return pl.DataFrame(
        {"generator": names, "_places": places}, schema={"generator": pl.String, "_places": pl.List(pl.Int64)}
    )
