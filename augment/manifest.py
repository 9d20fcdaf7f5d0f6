"""A run's manifest: written last, with the hash of every file, so that its presence means a whole dataset."""

from __future__ import annotations

import hashlib
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


def digest_of(path: Path) -> dict[str, Any]:
    """A file's size in bytes and its SHA-256, as a manifest names them."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
