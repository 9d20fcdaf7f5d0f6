"""Folders of pictures: by class, as torchvision, timm and `datasets` read them, or with a line of metadata each."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from augment.images.exports.shown import Shown, Written
from augment.records import fingerprint

_UNSAFE = re.compile(r"[^\w\- ]+")


def imagefolder(rows: Sequence[Shown], out: Path, _: str) -> Written:
    """A folder for each class where every row has a label, else one folder and what is said of each picture."""
    if all(row.label is not None for row in rows):
        folders = class_folders(row.label for row in rows if row.label is not None)
        for folder in set(folders.values()):
            (out / folder).mkdir()
        for row in rows:
            shutil.copyfile(row.picture, out / folders[row.label or ""] / f"{row.id}.png")
        return Written("", len(rows))
    _with_metadata(rows, out, lambda row: {"label": row.label, "caption": row.caption, "prompt": row.prompt})
    return Written("", len(rows), note="with metadata.jsonl, for not every row has a label")


def diffusers(rows: Sequence[Shown], out: Path, _: str) -> Written:
    """What the training scripts of diffusers read (`--train_data_dir`, `--caption_column text`)."""
    told = [row for row in rows if row.text]
    _with_metadata(told, out, lambda row: {"text": row.text})
    return Written("", len(told), "a caption, prompt or label")


def class_folders(labels: Iterable[str]) -> dict[str, str]:
    """A folder's name for each class: its label, without what no file system takes; two never share one."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for label in sorted(set(labels)):
        folder = _UNSAFE.sub("_", label).strip()[:60].rstrip() or "_"
        if folder.casefold() in taken:
            folder = f"{folder}-{fingerprint(label)[:6]}"
        taken.add(folder.casefold())
        found[label] = folder
    return found


def _with_metadata(rows: Sequence[Shown], out: Path, told: Any) -> None:
    """The pictures, and metadata.jsonl: `told` of each row, and its hard negative where the run has some.

    A hard negative is a triplet in one line: the picture, its text, and a picture and a text that are not its own.
    """
    known = {row.id: row for row in rows}
    contrasted = any(row.negative in known for row in rows)
    lines = []
    for row in rows:
        shutil.copyfile(row.picture, out / f"{row.id}.png")
        line = {"file_name": f"{row.id}.png", **told(row)}
        if contrasted:
            other = known.get(row.negative or "")
            line |= {"negative_file_name": other and f"{other.id}.png", "negative_text": other and other.text}
        lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    (out / "metadata.jsonl").write_bytes(b"".join(lines))
