"""Every file that a manifest names has its size and its SHA-256, and a run folder holds no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augment.images.gallery import FOLDER
from augment.manifest import MANIFEST, digest_of
from augment.report.gather import KINDS
from augment.report.write import NAME as REPORT
from augment.review.decisions import DECISIONS
from augment.tables import size_of
from augment.verify.checks import Check, counted

ALWAYS = ("curated/train.parquet", "rejected.parquet", "summary.json", "README.md")
"""What every run is published with."""


def check_files(run: Path, manifest: dict[str, Any]) -> Check:
    """Hash the run's files and compare."""
    found = Check("files")
    named = manifest["files"] if isinstance(manifest["files"], dict) else {}
    right = size = 0
    for name, wanted in named.items():
        fault = _fault(run, name, wanted)
        if fault:
            found.blame(name, fault)
        else:
            right += 1
            size += wanted["bytes"]
    if not named:
        found.blame("manifest.json", "names no file")
    for name in ALWAYS if named else ():
        if name not in named:
            found.blame(name, "is not named in the manifest, and every run has one")
    extra = list(_extra(run, set(named), "pictures" in manifest))
    for name in extra:
        found.blame(name, "was not published with this run")
    found.counts = {"files": len(named), "right": right, "extra": len(extra)}
    whole = f"{counted(right, 'file')} ({size_of(size)}) as the manifest names them"
    found.said = whole if not found.faults else f"{right:,} of {counted(len(named), 'file')} as the manifest names them"
    return found


def _extra(run: Path, named: set[str], pictured: bool) -> Iterator[str]:
    """Files that no manifest names and nothing of ours puts into a run folder; pictures are another check's."""
    known = {*named, MANIFEST, DECISIONS, REPORT}
    records = {each.parent for kind in KINDS for each in run.glob(f"*/{kind}.json")}  # a training kept in its run
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if (path.is_dir() and not path.is_symlink()) or name in known or name.startswith("."):
            continue
        if not records.isdisjoint(path.parents) or (pictured and name.startswith(f"{FOLDER}/")):
            continue
        yield name


def _fault(run: Path, name: str, wanted: Any) -> str:
    """What is wrong with a file; nothing where it is as the manifest says."""
    path = run / name
    if not path.resolve().is_relative_to(run.resolve()):
        return "is outside of the run"
    if not path.is_file():
        return "is missing"
    try:
        here = digest_of(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not isinstance(wanted, dict):
        return "has no hash in the manifest"
    if here["bytes"] != wanted.get("bytes"):
        return f"has {here['bytes']:,} bytes, not {wanted.get('bytes')}"
    return "" if here["sha256"] == wanted.get("sha256") else "has another SHA-256"
