"""Entries to what a row needs: pictures and masks decoded on several threads, kept in the store, boxes checked.

Pillow lets other threads run while it decodes. Only a few entries are open at once, so memory is bounded by the
largest pictures, not by their number.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augment.images.annotations import boxes_in, mask_of
from augment.images.entries import Entry, Fault
from augment.images.known import Known, Size, digest_of
from augment.images.pictures import Unreadable, decode
from augment.images.store import Pictures, pictures

if TYPE_CHECKING:
    from PIL.Image import Image

THREADS = min(8, os.cpu_count() or 1)
AHEAD = 4
"""Entries a thread that are taken from the source before the first of them is done."""
MOST_BYTES = 256 * 2**20
"""Bytes of a file that is still taken for one picture."""


@dataclass(frozen=True, slots=True)
class Read:
    """An entry that was looked at: `picture`, `mask` and `boxes` are cells of a row; `fault` says why it is none."""

    place: str
    label: str | None
    captions: tuple[str, ...]
    picture: Size | None = None
    mask: str | None = None
    boxes: str | None = None
    fault: str | None = None


def read_entries(entries: Iterable[Entry]) -> Iterator[Read]:
    """Every entry, looked at, in the order given.

    Raises:
        RunError: the disk is full or read-only.
    """
    store = pictures()
    with Known(store.folder / "known.sqlite") as known, ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Read]] = deque()
        try:
            for entry in entries:
                waiting.append(pool.submit(_read, entry, store, known))
                if len(waiting) >= THREADS * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def _read(entry: Entry, store: Pictures, known: Known) -> Read:
    said = (entry.place, entry.label, entry.captions)
    picture = None
    try:
        if entry.fault is not None:
            raise Fault(entry.fault)
        if entry.picture is None:
            raise Fault("no picture")
        picture = _kept(entry.picture, "picture", store, known)
        mask = _mask(entry.mask, picture, store, known) if entry.mask is not None else None
        boxes = boxes_in(entry.boxes, picture.width, picture.height, entry.label)
    except (Fault, Unreadable) as fault:
        return Read(*said, picture, fault=str(fault))
    return Read(*said, picture, mask, boxes)


def _mask(file: Path | bytes, picture: Size, store: Pictures, known: Known) -> str:
    try:
        mask = _kept(file, "mask", store, known)
    except Unreadable as error:
        raise Fault(f"mask: {error}") from None
    if (mask.width, mask.height) != (picture.width, picture.height):
        raise Fault("mask of another size")
    return mask.name


def _kept(file: Path | bytes, purpose: str, store: Pictures, known: Known) -> Size:
    """The picture in a file, in the store; decoded only when it is new."""
    raw = file if isinstance(file, bytes) else _bytes(file)
    if not raw:
        raise Unreadable("an empty file")
    key = digest_of(raw, purpose)
    found = known.get(key)
    if found is not None and found.name in store:
        return found
    picture: Image = decode(raw)
    if purpose == "mask":
        picture = mask_of(picture)
    found = Size(store.add(picture), *picture.size)
    known.put(key, found)
    return found


def _bytes(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise Unreadable("no such file" if not file.exists() else "not a file")
        if file.stat().st_size > MOST_BYTES:
            raise Unreadable(f"over {MOST_BYTES >> 20} MB")
        return file.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
