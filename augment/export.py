"""Curated rows in the shapes that trainers read: Alpaca, ShareGPT, ChatML, LLaMA-Factory's registry; and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import RecipeError, RunError
from augment.images.exports.write import FORMATS as PICTURES
from augment.images.exports.write import Exported, export_pictures
from augment.manifest import holds_pictures, manifest_of
from augment.registry import closest
from augment.terms import warning_of

Turns = Sequence[tuple[str, str]]
"""What is said in turn, as (role, content): user, assistant, user, …, the last one the assistant's."""


def _alpaca(turns: Turns) -> dict[str, Any]:
    said = [content for _, content in turns]
    shaped: dict[str, Any] = {"instruction": said[-2], "input": "", "output": said[-1]}
    if len(said) > 2:
        shaped["history"] = [list(each) for each in zip(said[:-2:2], said[1:-2:2], strict=True)]
    return shaped


def _sharegpt(turns: Turns) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": names[role], "value": content} for role, content in turns]}


def _chatml(turns: Turns) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


FORMATS: dict[str, Callable[[Turns], dict[str, Any]]] = {
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
    done = export_pictures(run, format, out, name) if pictured else _texts(run, format, out, name)
    return dataclasses.replace(done, warning=warning_of(manifest.get("terms")))


def _texts(run: Path, format: str, out: Path, name: str) -> Exported:
    """Write the prompts and responses of a run, in a file; of a row that has `messages` all of those."""
    file = run / "curated/train.parquet"
    held = pl.read_parquet_schema(file)
    columns: list[str] = [name for name in ("prompt", "response", "messages") if name in held]
    rows = pl.read_parquet(file, columns=columns, glob=False)
    answered = rows.filter(pl.col("response").is_not_null())
    if answered.is_empty():
        raise RunError(f"no row of {run} has a response, and {format} needs one")
    shape = FORMATS[format]
    shaped = [shape(turns_of(row)) for row in answered.iter_rows(named=True)]
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


def turns_of(row: Mapping[str, Any]) -> Turns:
    """What is said in a published row: its `messages` where it has some, else its prompt and its response."""
    if row.get("messages"):
        return [(each["role"], each["content"]) for each in orjson.loads(row["messages"])]
    return [("user", row["prompt"]), ("assistant", row["response"])]


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
