"""Curated rows in the shapes that trainers read: Alpaca, ShareGPT, ChatML, LLaMA-Factory's registry; and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import RecipeError, RunError
from augment.images.exports.write import FORMATS as PICTURES
from augment.images.exports.write import Exported, export_pictures
from augment.manifest import holds_pictures, manifest_of
from augment.registry import closest


def _alpaca(prompt: str, response: str) -> dict[str, Any]:
    return {"instruction": prompt, "input": "", "output": response}


def _sharegpt(prompt: str, response: str) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": response}]}


def _chatml(prompt: str, response: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]}


FORMATS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "alpaca": _alpaca,
    "chatml": _chatml,
    "llamafactory": _sharegpt,
    "sharegpt": _sharegpt,
}


def export(run: Path, format: str, out: Path) -> Exported:
    """Write the run's curated rows to the folder `out`.

    Raises:
        RecipeError: unknown format, or one for other rows.
        RunError: no finished run, or no row that fits.
    """
    manifest = manifest_of(run)
    name = str(manifest["source"]["name"])
    pictured = holds_pictures(manifest)
    fitting, others = (PICTURES, FORMATS) if pictured else (FORMATS, PICTURES)
    if format in others:
        kinds = ("text", "pictures") if pictured else ("pictures", "text")
        raise RecipeError(
            f"the format '{format}' is for {kinds[0]}, and {run} holds {kinds[1]}; write {', '.join(sorted(fitting))}"
        )
    if format not in fitting:
        raise RecipeError(f"no export format '{format}'; {closest(format, sorted(fitting))}")
    return export_pictures(run, format, out, name) if pictured else _texts(run, format, out, name)


def _texts(run: Path, format: str, out: Path, name: str) -> Exported:
    """Write the prompts and responses of a run, in a file."""
    rows = pl.read_parquet(run / "curated/train.parquet", columns=["prompt", "response"], glob=False)
    answered = rows.filter(pl.col("response").is_not_null())
    if answered.is_empty():
        raise RunError(f"no row of {run} has a response, and {format} needs one")
    shape = FORMATS[format]
    shaped = [shape(*row) for row in answered.iter_rows()]
    registry = _registry(out / "dataset_info.json") if format == "llamafactory" else {}
    stem = "".join(letter if letter.isalnum() else "_" for letter in name)
    if format == "chatml":
        file = out / f"{stem}.jsonl"
        _write(file, b"".join(orjson.dumps(row) + b"\n" for row in shaped))
    else:
        file = out / f"{stem}.json"
        _write(file, orjson.dumps(shaped, option=orjson.OPT_INDENT_2))
    if format == "llamafactory":
        entry = {"file_name": file.name, "formatting": "sharegpt", "columns": {"messages": "conversations"}}
        _write(out / "dataset_info.json", orjson.dumps({**registry, stem: entry}, option=orjson.OPT_INDENT_2))
    return Exported(file, len(answered), len(rows) - len(answered), "without a response")


def _registry(path: Path) -> dict[str, Any]:
    """What LLaMA-Factory's registry already lists."""
    try:
        known = orjson.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, orjson.JSONDecodeError):
        known = None
    if not isinstance(known, dict):
        raise RunError(f"{path} is not a registry of datasets; mend it or choose another --out")
    return known


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another --out") from None
