"""What changed between two runs: rows (see `diff.matching`), labels, lengths, scores, generators, rejections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from augment.diff import shifts
from augment.diff.kinship import recipe_changes, relation
from augment.diff.matching import Matched, keys_of, match
from augment.lineage import ROWS
from augment.manifest import manifest_of
from augment.records import CONTENT

SHOWN = ("id", "parents", "generator", "variant", *CONTENT)
"""The columns of an example."""
SHOWN_OF_PICTURES = ("pixels", "width", "height", "mask", "boxes")


def compare(old: Path, new: Path, examples: int = 5) -> dict[str, Any]:
    """What changed from the run folder `old` to `new`, as nested plain data ready for JSON.

    `examples` rows are given for each of added, removed and changed, whole: first one of each seed, in file order.
    Memory is some hundred bytes a row: texts are hashed as they are read.

    Raises:
        RunError: a folder holds no finished run, or a file of it is missing or cannot be read.
    """
    manifests = manifest_of(old), manifest_of(new)
    rows = shifts.Pair(old / ROWS, new / ROWS)
    rejected = shifts.Pair(old / "rejected.parquet", new / "rejected.parquet")
    shared = [name for name in rows.score_columns(0) if name in rows.score_columns(1)]
    before, after = (keys_of(rows, side, shared) for side in (0, 1))
    matched = match(rows, before, after)
    seeds, variants = (_counts(before, after, matched, of_seeds) for of_seeds in (True, False))
    found = {
        "old": _named(old, manifests[0]),
        "new": _named(new, manifests[1]),
        "relation": relation(old, new),
        "recipe": recipe_changes(*manifests),
        "rows": {name: seeds[name] + variants[name] for name in seeds},
        "seeds": seeds,
        "variants": variants,
        "labels": shifts.labels(rows),
        "lengths": shifts.lengths(rows),
        "scores": shifts.scores(rows),
        "generators": shifts.counted(rows, ["generator"], pl.col("generator") != "seed"),
        "rejected": shifts.counted(rejected, ["dropped_by", "reason"]),
        "same_rejected": shifts.same_rows(rejected, ["id", "dropped_by", "reason"]),
    }
    found["same"] = _same(found)
    found["examples"] = {
        "added": [{"new": row} for row in _rows(rows, 1, _first(matched.added, after, examples))],
        "removed": [{"old": row} for row in _rows(rows, 0, _first(matched.removed, before, examples))],
        "changed": _changed(rows, matched.changed, before, examples),
    }
    return found


def _named(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """How a run is called in the comparison."""
    return {"run": folder.resolve().name, "path": str(folder), "version": manifest.get("version") or 1}


def _same(found: dict[str, Any]) -> bool:
    moved = [found["rows"][name] for name in ("added", "removed", "changed", "rescored", "remade")]
    lone = [*found["scores"]["only_old"], *found["scores"]["only_new"]]
    return not any(moved) and not lone and bool(found["same_rejected"])


def _counts(before: pl.DataFrame, after: pl.DataFrame, matched: Matched, of_seeds: bool) -> dict[str, int]:
    """The account of the seeds, or of the variants."""

    def rows(frame: pl.DataFrame, run: pl.DataFrame, column: str) -> pl.DataFrame:
        kind = run.filter(pl.col("is_seed") == of_seeds).select(pl.col("row").alias(column))
        return frame.join(kind, on=column, how="semi")

    unchanged = rows(matched.unchanged, after, "new")
    return {
        "before": int((before["is_seed"] == of_seeds).sum()),
        "after": int((after["is_seed"] == of_seeds).sum()),
        "unchanged": len(unchanged),
        "added": len(rows(matched.added, after, "row")),
        "removed": len(rows(matched.removed, before, "row")),
        "changed": len(rows(matched.changed, after, "new")),
        "rescored": int(unchanged["rescored"].sum()),
        "remade": int(unchanged["remade"].sum()),
    }


def _first(some: pl.DataFrame, run: pl.DataFrame, examples: int) -> list[int]:
    """The places of the first rows of `some`, one of each seed before the second of any."""
    rows = run.select("row", "seed").join(some, on="row", how="semi", maintain_order="left")
    turn = pl.int_range(pl.len()).over(pl.col("seed").fill_null(""))
    places: list[int] = rows.with_columns(turn.alias("turn")).sort("turn", "row")["row"].head(examples).to_list()
    return places


def _changed(rows: shifts.Pair, pairs: pl.DataFrame, before: pl.DataFrame, examples: int) -> list[dict[str, Any]]:
    places = _first(pairs.select(pl.col("old").alias("row")), before, examples)
    then = dict(pairs.filter(pl.col("old").is_in(places)).iter_rows())
    both = zip(_rows(rows, 0, places), _rows(rows, 1, [then[place] for place in places]), strict=True)
    return [{"old": old, "new": new, "fields": _fields(old, new)} for old, new in both]


def _fields(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs. The file of a picture has another name where only its row's id is another; its pixels tell."""
    named = {name: (old[name], new[name]) for name in (*CONTENT, "boxes") if name in old}
    if "pixels" in old:
        named["image"] = (old["pixels"], new["pixels"])
    return [name for name, (one, other) in named.items() if one != other]


def _rows(rows: shifts.Pair, side: int, places: list[int]) -> list[dict[str, Any]]:
    """The rows at those places of the file, in the order asked for."""
    if not places:
        return []
    shown = [*SHOWN, *(SHOWN_OF_PICTURES if rows.pictured else ())]
    slices = [rows.scan(side).slice(place, 1).select(shown) for place in places]
    return rows.collect(side, pl.concat(slices)).to_dicts()
