"""How two runs are related, by their manifests: versions of one dataset, the same source, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augment.errors import RunError
from augment.manifest import manifest_of


def relation(old: Path, new: Path) -> dict[str, Any]:
    """What NEW is to OLD: `kind`, for versions the number of `steps` from the older to the newer, and `text`.

    `kind` is "same run", "same recipe and source", "version" (NEW grew from OLD), "earlier version" (OLD grew from
    NEW), "same source" or "different sources".

    Raises:
        RunError: a folder holds no finished run, or its manifest names no source.
    """
    ours, theirs = manifest_of(old), manifest_of(new)
    if old.resolve() == new.resolve():
        return {"kind": "same run", "text": f"{_called(old, ours)} is compared with itself"}
    if ours["fingerprint"] == theirs["fingerprint"]:
        text = f"{_called(new, theirs)} and {_called(old, ours)} have the same recipe and source"
        return {"kind": "same recipe and source", "text": text}
    for kind, elder, younger in (("version", old, new), ("earlier version", new, old)):
        steps = _steps(elder, younger)
        if steps:
            made = f"{_called(younger, manifest_of(younger))} grew from {_called(elder, manifest_of(elder))}"
            return {
                "kind": kind,
                "steps": steps,
                "text": made + ("" if kind == "version" else ": OLD is the newer one"),
            }
    (name, content), (other_name, other_content) = _source(ours), _source(theirs)
    if content == other_content:
        names = " and ".join(dict.fromkeys((name, other_name)))
        return {"kind": "same source", "text": f"the same source ({names}) with the same rows"}
    if name == other_name:
        return {"kind": "same source", "text": f"the same source ({name}) with other rows"}
    return {"kind": "different sources", "text": f"different sources: {name} and {other_name}"}


def recipe_changes(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """The recipe's keys that two manifests have different values for: `key`, `before`, `after`."""
    before, after = (_flat(manifest.get("recipe") or {}) for manifest in (old, new))
    keys = dict.fromkeys((*before, *after))
    return [
        {"key": key, "before": before.get(key), "after": after.get(key)}
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _called(folder: Path, manifest: dict[str, Any]) -> str:
    return f"{folder.resolve().name} (version {manifest.get('version') or 1})"


def _source(manifest: dict[str, Any]) -> tuple[str, str]:
    """A run's source: its name and the fingerprint of its rows."""
    source = manifest["source"]
    if not isinstance(source, dict) or not {"name", "fingerprint"} <= source.keys():
        raise RunError(f"a manifest names no source but {source!r}; it was not written by augment")
    return str(source["name"]), str(source["fingerprint"])


def _steps(elder: Path, younger: Path) -> int | None:
    """How many versions on `younger` is, or None where it does not descend from `elder`."""
    wanted = manifest_of(elder)["fingerprint"]
    for steps, fingerprint in enumerate(_ancestors(younger), 1):
        if fingerprint == wanted:
            return steps
    return None


def _ancestors(folder: Path) -> Iterator[str]:
    """The fingerprints of a run's parent, its parent's parent, …, as far as their folders lie side by side."""
    seen = set()
    while folder not in seen:
        seen.add(folder)
        try:
            parent = manifest_of(folder).get("parent")
        except RunError:
            return
        if not isinstance(parent, dict) or "fingerprint" not in parent:
            return
        yield parent["fingerprint"]
        folder = folder.resolve().parent / str(parent.get("name"))


def _flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by their dotted names, as `--set` has them."""
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": each for name, each in _flat(value).items()}
        else:
            found[key] = value
    return found
