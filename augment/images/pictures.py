"""A file to a picture: decoded within limits, turned upright, on white, RGB; and the digest of its pixels."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""What is opened, whatever a file is called; anything else is refused before it is decoded."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MOST_PIXELS = 64_000_000
"""Pixels of one picture: 8000 × 8000. More is taken for a decompression bomb."""
LEAST_SIDE = 8


class Unreadable(Exception):
    """Why a file is no picture that can be used; one of a few fixed phrases."""


class _Quiet:
    """No warnings while any thread is inside: `warnings.catch_warnings` alone, left by two threads in turn, would keep
    the one's silence for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_QUIET = _Quiet()
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    MemoryError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
)
"""What Pillow raises over a broken file, depending on where it is broken."""


def decode(raw: bytes) -> Image:
    """The picture in `raw`, upright, RGB, transparency on white, 16 bits scaled to 8.

    Raises:
        Unreadable: no picture, cut off, too large or too small, or animated.
    """
    from PIL import Image as PILImage
    from PIL import ImageOps, UnidentifiedImageError

    try:
        # quiet: Pillow's own warning of bombs comes before our limit speaks
        with _QUIET, PILImage.open(io.BytesIO(raw), formats=FORMATS) as found:
            width, height = found.size
            if width * height > MOST_PIXELS:
                raise Unreadable("more than 64 million pixels")
            if min(width, height) < LEAST_SIDE:
                raise Unreadable("smaller than 8 pixels")
            if getattr(found, "n_frames", 1) > 1 and found.format != "MPO":  # a camera's JPEG with its preview
                raise Unreadable("animated")
            found.load()
            return upright(ImageOps.exif_transpose(found))
    except UnidentifiedImageError:
        raise Unreadable("not a picture") from None
    except PILImage.DecompressionBombError:
        raise Unreadable("more than 64 million pixels") from None
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Unreadable("broken or cut off") from None


def upright(picture: Image) -> Image:
    """The picture as RGB: alpha on white, palettes and grey spread out, 16 bits brought to 8, CMYK converted."""
    from PIL import Image as PILImage

    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        white = PILImage.new("RGBA", clear.size, "white")
        return PILImage.alpha_composite(white, clear).convert("RGB")
    return picture.convert("RGB")


def _eight_bits(picture: Image) -> Image:
    import numpy as np
    from PIL import Image as PILImage

    values = np.asarray(picture).astype(np.float64)
    if picture.mode == "F":
        low, high = float(values.min()), float(values.max())
        values = (values - low) / (high - low) * 255 if high > low else np.zeros_like(values)
    else:
        values = values / 257  # 65,535 to 255
    return PILImage.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8), "L")


def read_picture(path: Path) -> Image:
    """The picture in a file.

    Raises:
        Unreadable: as `decode`, or there is no such file.
    """
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None


def pixels_of(picture: Image) -> str:
    """The digest of the decoded pixels, 32 hex digits over mode, size and values: what a row is verified by."""
    found = hashlib.blake2b(f"{picture.mode} {picture.width} {picture.height}\n".encode(), digest_size=16)
    found.update(picture.tobytes())
    return found.hexdigest()
