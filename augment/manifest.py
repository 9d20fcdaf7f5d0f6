"""A run's manifest: written last, with the hash of every file, so that its presence means a whole dataset."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from augment.errors import RunError

MANIFEST = "manifest.json"


def manifest_of(folder: Path) -> dict[str, Any]:
    """A run's manifest.

    Raises:
        RunError: the folder holds no finished run.
    """
    try:
        manifest: dict[str, Any] = orjson.loads((folder / MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise RunError(f"{folder} holds no finished run (no manifest.json); give a run folder") from None
    if not isinstance(manifest, dict) or not {"fingerprint", "source", "files"} <= manifest.keys():
        raise RunError(f"{folder}/manifest.json was not written by augment; give a run folder")
    return manifest


def holds_pictures(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's rows are pictures, or pairs of a picture and a caption."""
    return "pictures" in manifest


def digest_of(path: Path) -> dict[str, Any]:
    """A file's size in bytes and its SHA-256, as a manifest names them."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def publish(folder: Path, files: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
    """Write `files` into `folder`, each beside its place and renamed, and last the manifest: `record` and their hashes.

    Raises:
        RunError: the folder cannot be written to, or the disk is full.
    """
    try:
        (folder / MANIFEST).unlink(missing_ok=True)
        for name, content in files.items():
            _replace(folder / name, content)
        hashes = {name: digest_of(folder / name) for name in files}
        whole = orjson.dumps({**record, "files": hashes}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        _replace(folder / MANIFEST, whole)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}; make room or choose another --out") from None


def put(path: Path, content: bytes) -> None:
    """Write one file beside its place, and rename it.

    Raises:
        RunError: it cannot be written, or the disk is full.
    """
    try:
        _replace(path, content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; make room or choose another --out") from None


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    settle(beside, path)


def settle(beside: Path, target: Path) -> None:
    """Put a finished file in its place, on the disk before under its name."""
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(target)
