"""The pictures of a subject: read from a folder, the broken ones named, each cut to the square that is learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augment.errors import SourceError
from augment.images.pictures import SUFFIXES, Unreadable, pixels_of, read_picture

if TYPE_CHECKING:
    from PIL.Image import Image

ENOUGH = 3
"""Pictures of one thing; with fewer, what is around it is learned as well (Ruiz et al. 2023 take 3 to 5)."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A whole picture: its file's name, the digest of its pixels as read, and its middle as a square."""

    name: str
    pixels: str
    square: Image


@dataclass(frozen=True, slots=True)
class Photos:
    """The pictures that can be learned from, and a line on each file that cannot."""

    kept: tuple[Photo, ...]
    left_out: tuple[str, ...]


def read_photos(folder: Path, size: int) -> Photos:
    """The pictures in `folder`, by name, each once; squares of `size` pixels a side.

    Raises:
        SourceError: no such folder, or no whole picture in it.
    """
    if not folder.is_dir():
        raise SourceError(f"no folder {folder}; give --images a folder with a few pictures of the subject")
    found = sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
    if not found:
        raise SourceError(f"no pictures in {folder} ({', '.join(SUFFIXES)}); give --images a folder with a few")
    kept: dict[str, Photo] = {}
    left_out = []
    for path in found:
        try:
            picture = read_picture(path)
        except Unreadable as error:
            left_out.append(f"{path.name}: {error}; left out")
            continue
        pixels = pixels_of(picture)
        if pixels in kept:
            left_out.append(f"{path.name}: the same picture as {kept[pixels].name}; left out")
            continue
        kept[pixels] = Photo(path.name, pixels, middle(picture, size))
    if not kept:
        faults = "; ".join(each.removesuffix("; left out") for each in left_out[:3])
        raise SourceError(f"no whole picture in {folder} ({faults}); give --images a folder with a few")
    return Photos(tuple(kept.values()), tuple(left_out))


def middle(picture: Image, size: int) -> Image:
    """The largest square in the middle, `size` pixels a side."""
    from PIL import Image as PILImage
    from PIL import ImageOps

    return ImageOps.fit(picture, (size, size), PILImage.Resampling.LANCZOS)
