"""The pictures of a run: each has the pixels of its row, a generated one says so, and no other file is there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import RunError
from augment.images.gallery import FOLDER, METADATA
from augment.images.pictures import Unreadable, decode, pixels_of
from augment.images.stamp import recipe_of
from augment.lineage import ROWS
from augment.verify.checks import Check, counted

SAMPLING = {"temperature", "top_p", "max_tokens"}
"""The parameters of a row that was made of words alone: its picture is its parent's."""
COLUMNS = ("id", "parents", "generator", "variant", "image", "mask", "pixels", "width", "height", "params", "reply_key")


@dataclass(frozen=True, slots=True)
class Hung:
    """A published row as far as its picture goes."""

    id: str
    parents: tuple[str, ...]
    generator: str
    variant: int
    image: str
    mask: str | None
    pixels: str
    width: int
    height: int
    params: str | None
    reply_key: str | None

    @property
    def drawn(self) -> bool:
        """Whether its picture was generated: it is no seed, nor has it its parent's picture."""
        try:
            return self.params is not None and set(orjson.loads(self.params)) != SAMPLING
        except (orjson.JSONDecodeError, TypeError):
            return True


def hung(run: Path) -> Iterator[Hung]:
    """The run's rows in the order in which they were published.

    Raises:
        RunError: the file is missing or broken.
    """
    try:
        frame = pl.scan_parquet(run / ROWS, glob=False).select(COLUMNS).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        why = " ".join(str(error).partition("\n")[0].split())
        raise RunError(f"cannot read {run / ROWS}: {why}; restore it") from None
    for id, parents, *rest in frame.iter_rows():
        yield Hung(id, tuple(parents or ()), *rest)


def check_pictures(run: Path, manifest: dict[str, Any]) -> Check:
    """Open every picture and hold it against its row, its recipe and the manifest."""
    found = Check("pictures")
    digest = hashlib.sha256()
    rows = masks = carried = 0
    met = {METADATA}
    try:
        for row in hung(run):
            rows += 1
            masks += row.mask is not None
            raw = _file(found, run, row.image, f"train/{row.id}.png", met, digest)
            carried += raw is not None and _right(found, row, raw) and row.drawn
            if row.mask is not None:
                mask = _file(found, run, row.mask, f"train/masks/{row.id}.png", met, digest)
                if mask is not None and (fault := _mask_fault(row, mask)):
                    found.blame(f"masks/{row.id}.png", fault)
    except RunError as error:
        found.blame(ROWS, str(error))
        found.said = "the rows cannot be read, so no picture was looked at"
        return found
    for name in _foreign(run / FOLDER, met):
        found.blame(name, "was not published with this run")
    named = manifest["pictures"] if isinstance(manifest["pictures"], dict) else {}
    if named.get("rows") != rows:
        found.blame(ROWS, f"has {counted(rows, 'row')}, and the manifest names {named.get('rows')}")
    elif named.get("sha256") != digest.hexdigest() and not found.faults:
        found.blame(FOLDER, "the files are not byte for byte those that were published, though their pixels are")
    wrong = len({place for place, _ in found.faults})
    found.counts = {"pictures": rows, "masks": masks, "recipes": carried}
    also = f" and {counted(masks, 'mask')}" if masks else ""
    verdict = "as they were published" if not wrong else f"of which {wrong:,} are not as they were published"
    found.said = f"{counted(rows, 'picture')}{also} {verdict}; {carried:,} carry the recipe that made them"
    return found


def _file(found: Check, run: Path, named: str, wanted: str, met: set[str], digest: Any) -> bytes | None:
    """A picture's bytes, counted into the digest over all; None, and a fault, where it is not there."""
    name = wanted.removeprefix("train/")
    met.add(name)
    if named != wanted:
        found.blame(name, f"its row names {named}")
        return None
    try:
        raw = (run / "curated" / wanted).read_bytes()
    except OSError as error:
        found.blame(name, "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}")
        return None
    digest.update(f"{name} {hashlib.sha256(raw).hexdigest()}\n".encode())
    return raw


def _right(found: Check, row: Hung, raw: bytes) -> bool:
    """Whether a picture is its row's; a fault where it is not."""
    fault = _picture_fault(row, raw)
    if fault:
        found.blame(f"{row.id}.png", fault)
    return not fault


def _picture_fault(row: Hung, raw: bytes) -> str:
    try:
        picture = decode(raw)
    except Unreadable as error:
        return f"is {error}"
    if picture.size != (row.width, row.height):
        return f"is {picture.width} × {picture.height}, and its row says {row.width} × {row.height}"
    if pixels_of(picture) != row.pixels:
        return "has other pixels than its row says"
    if not row.drawn:
        return ""
    try:
        recipe, source = recipe_of(raw)
    except (OSError, SyntaxError, ValueError):
        recipe, source = None, None
    if not isinstance(recipe, dict):
        return "was generated, and carries no recipe"
    if source is None:
        return "was generated, and does not say so (DigitalSourceType)"
    told = tuple(recipe.get(name) for name in ("generator", "variant", "parent", "key"))
    same = told == (row.generator, row.variant, row.parents[0] if row.parents else None, row.reply_key)
    return "" if same else "carries the recipe of another picture"


def _mask_fault(row: Hung, raw: bytes) -> str:
    try:
        size = decode(raw).size
    except Unreadable as error:
        return f"is {error}"
    return "" if size == (row.width, row.height) else f"is {size[0]} × {size[1]}, and its picture is not"


def _foreign(folder: Path, met: set[str]) -> Iterator[str]:
    """Files in the pictures' folder that no row names, and links, which may lead anywhere."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        folders = path.is_dir() and not path.is_symlink()
        if path.is_symlink() or (name not in met and not folders):
            yield name
