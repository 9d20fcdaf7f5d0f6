"""Small pictures and archives on disk, as people have them."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from augment.sources import Source


def picture(seed: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Image.Image:
    """A picture of coloured blocks, another for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).convert(mode)


def save(place: Path, seed: int, size: tuple[int, int] = (20, 16), mode: str = "RGB", **options: Any) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, size, mode).save(place, **options)
    return place


def png(seed: int, size: tuple[int, int] = (20, 16), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture(seed, size).save(file, kind)
    return file.getvalue()


def bomb(side: int = 50_000) -> bytes:
    """A PNG of a few hundred bytes that says it has `side` × `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tar(place: Path, members: dict[str, bytes], kind: str = "w") -> Path:
    with tarfile.open(place, kind) as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return place


def reasons(source: Source) -> dict[str, int]:
    return dict(source.rejected.group_by("reason").len().rows())


def faults(source: Source) -> dict[str, str]:
    """Place to reason."""
    return dict(source.rejected.select("detail", "reason").rows())
