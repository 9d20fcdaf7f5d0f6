"""A run's rows as a lift needs them: seeds to draw from, their variants, and the exam that the run never saw.

A run's folder has no exam, so that nobody trains on it by accident; the source is opened again, by the recipe that
the manifest keeps, and only where it is still the source that the run was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import AugmentError, RunError
from augment.manifest import MANIFEST, digest_of, holds_pictures, manifest_of
from augment.plan import Plan, make_plan
from augment.recipe import read_recipe
from finetune.rows import families_of

ROWS = "curated/train.parquet"
COLUMNS = ("id", "parents", "generator", "prompt", "response", "label")


@dataclass(frozen=True)
class Pool:
    """All rows of a run. The frames have `COLUMNS` and `family`, which rows that are kin share (see finetune.rows).

    `manifest` is the SHA-256 of the run's manifest; `notes` are one-line remarks for the user.
    """

    run: Path
    manifest: str
    seeds: pl.DataFrame
    variants: pl.DataFrame
    exam: pl.DataFrame
    notes: tuple[str, ...] = field(default=())

    @property
    def generators(self) -> tuple[str, ...]:
        """Who made the variants, by name."""
        return tuple(sorted(self.variants["generator"].unique()))


def open_pool(run: Path, path: Path | None = None) -> Pool:
    """The rows of the run in the folder `run`; `path` is where its source's files are, if not where they were.

    Raises:
        RunError: the folder holds no finished run, its rows were changed, or it has no variant or no seed.
    """
    manifest = manifest_of(run)
    if holds_pictures(manifest):
        raise RunError(
            f"{run} holds pictures, and a lift is measured on texts; write it with augment export {run} "
            "--format imagefolder --out DIR, and train a classifier with and without its variants"
        )
    if not (run / ROWS).is_file() or digest_of(run / ROWS) != manifest["files"].get(ROWS):
        raise RunError(f"{run / ROWS} is not the file that {run / MANIFEST} names; make the run again")
    curated = pl.read_parquet(run / ROWS, glob=False).select(COLUMNS)
    variants = curated.filter(pl.col("generator") != "seed")
    if variants.is_empty():
        raise RunError(f"{run} holds no variant, so there is nothing to measure; make some: augment text --n 5x")
    seeds = curated.filter(pl.col("generator") == "seed")
    exam = seeds.clear()
    notes: list[str] = []
    opened = _source_of(manifest, path)
    if isinstance(opened, Plan):
        exam = opened.exam.select(COLUMNS)
        seeds = opened.seeds.select(COLUMNS) if seeds.is_empty() else seeds
    else:
        notes.append(f"tested on undrawn seeds alone: {opened}")
    if seeds.is_empty():
        raise RunError(f"{run} was published without its seeds, and {opened}; make the run again without that flag")
    family = families_of(pl.concat([curated, seeds, exam]).unique("id", keep="first", maintain_order=True))

    def placed(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.Series("family", [family[key] for key in frame["id"]], dtype=pl.String))

    digest = digest_of(run / MANIFEST)["sha256"]
    return Pool(run, digest, placed(seeds), placed(variants), placed(exam), tuple(notes))


def _source_of(manifest: Mapping[str, Any], path: Path | None) -> Plan | str:
    """The run's plan once more, with its seeds and exam, or why it cannot be had."""
    name = manifest["source"]["name"]
    try:
        plan = make_plan(read_recipe({**manifest.get("recipe", {}), "path": path}), None)
    except AugmentError as error:
        return f"the source {name} could not be opened again ({str(error).partition(chr(10))[0]})"
    if plan.source.fingerprint != manifest["source"]["fingerprint"]:
        return f"the source {name} is not what it was when the run was made"
    return plan
