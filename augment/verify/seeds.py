"""The seeds of a run of texts: each has the id of what it holds, and is the source's row where that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import AugmentError
from augment.lineage import ROWS
from augment.records import CONTENT, SCHEMA, row_id
from augment.reopen import reopened
from augment.verify.checks import Check, counted

RECORD = ("id", *CONTENT)


@dataclass(frozen=True)
class Known:
    """The seeds that a run's rows were made of, columns those of `RECORD`, as far as they are to be had.

    `whole`: they are all of the plan's, in its order, so that what a generator was shown beside a row is known too.
    """

    frame: pl.DataFrame
    whole: bool


def check_seeds(run: Path, manifest: Mapping[str, Any], rows: pl.DataFrame) -> tuple[Check, Known]:
    """Hold the run's seeds against their ids and the source; `rows` are all that it published."""
    found = Check("seeds")
    seeds = rows.filter(pl.col("generator") == "seed")
    for id, prompt, response, label in seeds.select("id", "prompt", "response", "label").iter_rows():
        if row_id(prompt or "", response, label) != id:
            found.blame(str(id), "a seed whose texts are not those that its id names")
    wrong = {place for place, _ in found.faults}
    recipe = manifest.get("recipe") or {}
    theirs, why = _source(manifest)
    if theirs is None:
        found.counts = {"seeds": len(seeds), "different": len(wrong), "not_checkable": len(seeds)}
        found.said = f"{counted(len(seeds), 'seed')}, not held against the source: {why}"
        every = not recipe.get("without_seeds") and manifest.get("version", 1) == 1 and "parent" not in manifest
        return found, Known(seeds.select(RECORD), every and _all(run, len(seeds)))
    had = set(theirs["id"])
    for id in seeds["id"]:
        if id not in had and id not in wrong:
            found.blame(id, f"a seed that {manifest['source'].get('name')} does not hold")
    different = len({place for place, _ in found.faults})
    found.counts = {"seeds": len(seeds), "identical": len(seeds) - different, "different": different}
    verdict = "as the source holds them" if not different else f"of which {different:,} are not the source's"
    found.said = f"{counted(len(seeds), 'seed')} {verdict}"
    return found, Known(theirs.select(RECORD), manifest.get("version", 1) == 1)


def _source(manifest: Mapping[str, Any]) -> tuple[pl.DataFrame | None, str]:
    """The rows that the plan had as seeds; None and why where the source is not there or is another now."""
    recipe = manifest.get("recipe") or {}
    try:
        source, _ = reopened(manifest)
    except AugmentError as error:
        return None, " ".join(str(error).split())
    if source.fingerprint != manifest["source"].get("fingerprint"):
        return None, f"{recipe.get('source')} is not what it was when the run was made"
    return (source.seeds.head(recipe["limit"]) if recipe.get("limit") else source.seeds), ""


def _all(run: Path, seeds: int) -> bool:
    """Whether the run published as many seeds as it had."""
    return counted_in(run, "seeds") == seeds


def counted_in(run: Path, name: str) -> int | None:
    """A count of the run's summary; None where there is none."""
    try:
        summary = orjson.loads((run / "summary.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    found = summary.get(name) if isinstance(summary, dict) else None
    return found if isinstance(found, int) else None


def rows_of(run: Path) -> tuple[pl.DataFrame | None, str]:
    """All that a run of texts published; None and why where it cannot be read."""
    try:
        rows = pl.read_parquet(run / ROWS, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        return None, f"cannot be read: {' '.join(str(error).partition(chr(10))[0].split())}"
    lacks = [name for name, kind in SCHEMA.items() if rows.schema.get(name) != kind]
    return (None, f"has no column {lacks[0]} of its kind") if lacks else (rows, "")
