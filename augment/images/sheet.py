"""Pictures side by side with a line of words under each, to look at many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 6
"""Pixels between pictures."""
LETTERS = 12
"""The height of words in pixels."""
_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "wqy-zenhei.ttc", "PingFang.ttc", "msyh.ttc")
"""Fonts that have Chinese; Pillow's own has not."""


def contact_sheet(rows: Sequence[Sequence[tuple[Image, str]]], side: int = 160) -> Image:
    """Rows of pictures, each fitted into `side` × `side` pixels, with its caption, cut to its width, beneath.

    Small pictures are enlarged by whole pixels' edges, so that a digit of 8 × 8 is seen as it is.
    """
    from PIL import Image as PILImage
    from PIL import ImageDraw

    worded = any(caption for row in rows for _, caption in row)
    cell = side + GAP, side + GAP + (LETTERS + 4 if worded else 0)
    columns = max((len(row) for row in rows), default=0)
    sheet = PILImage.new("RGB", (GAP + max(1, columns) * cell[0], GAP + max(1, len(rows)) * cell[1]), "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    for down, row in enumerate(rows):
        for across, (picture, caption) in enumerate(row):
            x, y = GAP + across * cell[0], GAP + down * cell[1]
            fitted = _fitted(picture, side)
            sheet.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
            pen.text((x, y + side + 1), _cut(caption, side, font), fill="black", font=font)
    return sheet


def _fitted(picture: Image, side: int) -> Image:
    from PIL import Image as PILImage

    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.convert("RGB").resize(
        size, PILImage.Resampling.NEAREST if scale > 2 else PILImage.Resampling.LANCZOS
    )


def _font() -> Any:
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, LETTERS)
        except OSError:
            continue
    return ImageFont.load_default(LETTERS)


def _cut(text: str, width: int, font: Any) -> str:
    line = " ".join(text.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
