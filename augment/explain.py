"""A row's whole story: where it comes from, who made it with what words, how it scored, what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import RecipeError, RunError
from augment.images.store import pictures
from augment.manifest import manifest_of
from augment.places import home
from augment.records import PICTURE, REVIEWED, SCHEMA, VERDICT, WRITTEN
from augment.replies import ReplyStore
from augment.review.verdicts import Verdicts
from augment.runs import finished_runs
from filters import Filter, limits_of
from filters.chain import chain_of_record


def find_row(id: str, run: Path | None) -> tuple[Path, dict[str, Any]]:
    """The row whose id starts with `id`, in `run` or in the newest run under `runs/` that has it.

    Raises:
        RunError: no such row, or several.
    """
    runs = [run] if run is not None else _recent_runs()
    for folder in runs:
        manifest_of(folder)
        for name in ("curated/train.parquet", "rejected.parquet"):
            found = (
                pl.scan_parquet(folder / name, glob=False).filter(pl.col("id").str.starts_with(id)).head(2).collect()
            )
            if len(found) > 1 and found["id"].n_unique() > 1:
                raise RunError(f"several rows of {folder} start with '{id}'; give more of the id")
            if len(found):
                return folder, found.row(0, named=True)
    where = str(run) if run is not None else f"{len(runs)} runs under runs/"
    raise RunError(f"no row '{id}' in {where}; ids are in the column `id` of curated/train.parquet")


def _recent_runs() -> list[Path]:
    found = finished_runs()
    if not found:
        raise RunError("no finished run under runs/; name one with --run DIR")
    return found


def story(id: str, run: Path | None) -> dict[str, Any]:
    """Everything known about a row, as nested plain data ready to print or to dump as JSON.

    Raises:
        RunError: no such row.
    """
    folder, row = find_row(id, run)
    parents = [_parent(folder, each) for each in row["parents"] or []]
    known = {**SCHEMA, **PICTURE, **WRITTEN, **VERDICT, **REVIEWED}
    rest = {name: value for name, value in row.items() if name not in known and value is not None}
    theirs = manifest_of(folder).get("columns", ())
    own, scores = ({name: rest[name] for name in rest if (name in theirs) is foreign} for foreign in (True, False))
    dropped = row.get("dropped_by")
    told: dict[str, Any] = {
        "id": row["id"],
        "run": str(folder),
        "verdict": f"dropped by {dropped}: {row['reason']}" if dropped else "kept",
        "content": _content(folder, row),
        "from": {
            "source": row["source"],
            "split": row["split"],
            "generator": row["generator"],
            "variant": row["variant"],
        },
        "parents": parents,
    }
    if row.get("detail"):
        told["detail"] = row["detail"]
    if row.get("reviewed"):
        told["review"] = _reviewed(folder, row)
    if row["engine"]:
        made = ("engine", "model", "revision", "template", "params", "seed", "reply_key", "tokens_in", "tokens_out")
        told["made by"] = {name: row[name] for name in made if row[name] not in (None, "")}
        told["made by"]["params"] = orjson.loads(row["params"])
        before = told["made by"]["params"].pop("steps", None)
        told |= {"asked before": [_exchange(key) for key in before]} if before else {}
        told |= _exchange(row["reply_key"])
    if own:
        told["columns"] = own
    if scores:
        told |= {"scores": scores, **_judged(folder, row)}
    return told


def readable(told: dict[str, Any]) -> dict[str, Any]:
    """A story for people: the scores that say something, the nearest to their limits first, each beside these.

    The others, which are 0, false or empty and within their limits, are named in one line.
    """
    limits, near = told.get("limits", {}), told.get("near", {})
    scores: dict[str, str] = {}
    silent = []
    for name, value in sorted(told.get("scores", {}).items(), key=lambda each: -near.get(each[0], -1.0)):
        if not value and near.get(name, 0) < 1:
            silent.append(name)
            continue
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        past = "; past it" if near.get(name, 0) > 1 else ""
        scores[name] = f"{shown} ({limits[name]}{past})" if name in limits else shown
    out: dict[str, Any] = {}
    for name, each in told.items():
        if name == "scores":
            out |= {"scores": scores} if scores else {}
            out |= {"scores of 0 or nothing": ", ".join(silent)} if silent else {}
        elif name not in ("limits", "near"):
            out[name] = each
    return out


def _judged(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """What the run's filters hold the row's scores against, and every reason for which they would drop it.

    `near` is how near each score is to its limit: 1 at it, more past it.
    """
    record = manifest_of(folder).get("filters")
    try:
        chain = chain_of_record(record or [], {})
    except RecipeError:
        return {}  # made with filters that are not installed here
    limits = {name: limit for name, limit in chain.bounds().items() if row.get(name) is not None}
    frame = pl.DataFrame([{name: row.get(name) for name in chain.scores}], schema=chain.scores)
    reasons = chain.reasons(frame)[0].to_list()
    more = {"all reasons": ", ".join(reasons)} if len(reasons) > 1 else {}
    near = {name: found for each in chain.filters for name, found in _near(each, row).items()}
    return {"limits": limits, "near": near, **more} if limits else more


def _near(each: Filter, row: dict[str, Any]) -> dict[str, float]:
    """How near a row's numbers are to their bounds: their ratio, over 1 on the wrong side; of a switch nothing."""
    found = {}
    for column, limits in limits_of(each).items():
        value = row.get(column)
        ratios = []
        for limit in limits:
            sign, _, setting = limit.rpartition(" ")
            bound = getattr(each, setting)
            if sign and isinstance(value, int | float) and isinstance(bound, int | float):
                ratios.append(_ratio(sign, float(value), float(bound)))
        if ratios:
            found[column] = round(max(ratios), 4)
    return found


def _ratio(sign: str, value: float, bound: float) -> float:
    inside = {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[sign]
    small, large = (value, bound) if sign in ("<", "<=") else (bound, value)
    ratio = small / large if small > 0 < large else 0.0
    return min(ratio, 1.0) if inside else max(ratio, 1.0001)


def _reviewed(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """What people decided about the row, and its texts before they edited it."""
    told = {name: row[name] for name in REVIEWED if row[name] is not None}
    before = Verdicts.of([(folder, "")]).touched.get(row["edited_from"] or "")
    return told | ({f"{name} before": before.seen.get(name) for name in ("prompt", "response")} if before else {})


def _content(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """What the row holds: texts, and where its pictures are; of a rejected row, in the picture store."""
    texts = ("prompt", "response", "label", *WRITTEN, "caption")
    told = (*texts, "image", "mask", "boxes", "width", "height", "pixels", "negative")
    found = {name: row[name] for name in told if row.get(name) is not None}
    for name in {"image", "mask"} & found.keys():
        inside = "/" in found[name]
        found[name] = str(folder / "curated" / found[name] if inside else pictures().path(found[name]))
    return found


def _parent(folder: Path, id: str) -> dict[str, Any]:
    seeds = pl.scan_parquet(folder / "curated/train.parquet", glob=False).filter(pl.col("id") == id).collect()
    return {"id": id, **_content(folder, seeds.row(0, named=True))} if len(seeds) else {"id": id}


def _exchange(key: str) -> dict[str, Any]:
    path = home() / "replies.sqlite"
    if not path.is_file():
        return {}
    with ReplyStore(path) as store:
        found = store.asked(key)
    if found is None:
        return {}
    asked, reply = found
    if (drawing := asked.get("drawing")) is not None:
        told = orjson.loads(reply.text).get("about") if reply.text else None
        asked_for = {name: each for name, each in drawing.items() if each not in (None, [], "")}
        return {"asked": asked_for, **({"drawn": told} if told else {})}
    return {
        "asked": dict(asked["messages"]),
        "answered": {"text": reply.text, "finish": reply.finish},
    }
