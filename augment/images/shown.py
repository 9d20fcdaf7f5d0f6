"""A picture as a model that reads pictures is shown it: small, and the same bytes each time."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from augment.images.store import pictures

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 1024
"""Pixels of the longer side; more is more to pay for, and most models shrink it anyway."""
SHORTEST = 56
"""Pixels of the shorter side: Qwen-VL refuses less than two of its patches of 28."""
PLAIN = 256 * 256
"""Up to this many pixels nothing is lost in compression: what is drawn in them is small."""
QUALITY = 90


def shown(name: str) -> str:
    """The picture of that name in the store, as an address that holds all of it: "data:image/png;base64,…".

    Raises:
        RunError: it is not there, or broken.
    """
    picture = _sized(pictures().open(name))
    file = io.BytesIO()
    if picture.width * picture.height <= PLAIN:
        kind = "png"
        picture.save(file, "PNG", compress_level=1)
    else:
        kind = "jpeg"
        picture.save(file, "JPEG", quality=QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _sized(picture: Image) -> Image:
    from PIL import Image as PILImage

    scale = min(max(1.0, SHORTEST / min(picture.size)), LONGEST / max(picture.size))
    if scale == 1.0:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, PILImage.Resampling.LANCZOS)
