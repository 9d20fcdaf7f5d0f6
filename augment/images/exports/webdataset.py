"""WebDataset (https://github.com/webdataset/webdataset): tar archives, the members of one name being one sample.

    NAME-000000.tar   ID.png  ID.json  ID.txt  ID.cls  ID.mask.png
    classes.json      the labels that the numbers of .cls stand for, in order

Every sample has the same members, and every object in .json the same keys with values of the same types, for readers
take the columns from the first samples. The same rows make the same bytes.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from augment.images.boxes import write_boxes
from augment.images.exports.shown import Shown, Written

SHARD = 256 * 2**20
"""Bytes from which on the next shard is begun."""


def webdataset(rows: Sequence[Shown], out: Path, name: str, shard: int = SHARD) -> Written:
    """Shards of about `shard` bytes each."""
    known = {row.id: row for row in rows}
    classes = sorted({row.label for row in rows if row.label is not None})
    labelled = all(row.label is not None for row in rows)
    masked = all(row.mask is not None for row in rows)
    numbers = {label: place for place, label in enumerate(classes)} if labelled else None
    if labelled:
        (out / "classes.json").write_bytes(orjson.dumps(classes, option=orjson.OPT_INDENT_2))
    archive: tarfile.TarFile | None = None
    number = size = 0
    try:
        for row in rows:
            if archive is None or size >= shard:
                if archive is not None:
                    archive.close()
                archive = tarfile.open(out / f"{name}-{number:06}.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
                number, size = number + 1, 0
            for ending, raw in _members(row, known, numbers, masked):
                archive.addfile(_header(f"{row.id}.{ending}", len(raw)), io.BytesIO(raw))
                size += len(raw)
    finally:
        if archive is not None:
            archive.close()
    some = sum(row.mask is not None for row in rows)
    note = f"without masks, for {some:,} of {len(rows):,} rows have one" if some and not masked else ""
    return Written("", len(rows), note=note)


def _members(
    row: Shown, known: dict[str, Shown], numbers: dict[str, int] | None, masked: bool
) -> Iterator[tuple[str, bytes]]:
    """A sample's files: their endings and what is in them."""
    yield "png", row.picture.read_bytes()
    other = known.get(row.negative or "")
    told: dict[str, Any] = {
        "id": row.id,
        "generator": row.generator,
        "parent": row.parents[0] if row.parents else "",
        "label": row.label or "",
        "caption": row.caption or "",
        "prompt": row.prompt or "",
        "boxes": write_boxes(row.boxes) or "",
        "width": row.width,
        "height": row.height,
        "negative": other.id if other else "",
        "negative_text": (other and other.text) or "",
    }
    yield "json", orjson.dumps(told)
    yield "txt", (row.text or "").encode()
    if numbers is not None:
        yield "cls", str(numbers[row.label or ""]).encode()
    if masked and row.mask is not None:
        yield "mask.png", row.mask.read_bytes()


def _header(name: str, size: int) -> tarfile.TarInfo:
    """A member's header with nothing of this machine or hour in it."""
    found = tarfile.TarInfo(name)
    found.size = size
    found.mode = 0o644
    return found
