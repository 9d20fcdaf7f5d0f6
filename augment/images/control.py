"""Pictures that steer a diffusion model: the edges of another one, white on black, as ControlNets of edges know them.

Canny (IEEE PAMI 8(6), 1986) in numpy: whole numbers up to the direction of a gradient, so that the same picture has the
same edges everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

BLUR = 1.0
"""Pixels: the radius of the blur that keeps grain from being taken for edges."""
STRONG = 0.8
"""The share of a picture's local maxima that are too weak to begin an edge."""
WEAK = 0.4
"""Where an edge ends, as a part of where it begins."""
FAINT = 40
"""The steepest slope that is never an edge, in grey values over Sobel's kernel: a step of 10."""
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def edges(picture: Image, strong: float = STRONG) -> Image:
    """The edges of a picture, white lines a pixel wide on black, RGB, of the same size.

    `strong` from 0 to 1: the higher, the fewer edges. It is a share of this picture's own slopes, so that a pale
    picture has edges too; one of a single colour has none.
    """
    import numpy as np
    from PIL import Image as PILImage
    from PIL import ImageFilter

    soft = np.asarray(picture.convert("RGB").filter(ImageFilter.GaussianBlur(BLUR)), np.int32)
    across, down = _slopes(np.pad(soft, ((1, 1), (1, 1), (0, 0)), mode="edge"))
    steep = np.abs(across) + np.abs(down)
    channel = steep.argmax(axis=2)[..., None]  # a red thing on a green one of the same grey has edges too
    across, down, steep = (np.take_along_axis(each, channel, 2)[..., 0] for each in (across, down, steep))
    ridge = np.where(_highest(across, down, steep), steep, 0)
    slopes = ridge[ridge > FAINT]
    found = np.zeros(steep.shape, np.uint8)
    if slopes.size:
        begin = int(np.sort(slopes)[int(strong * (slopes.size - 1))]) if strong > 0 else 0
        found = _followed(ridge, begin, max(FAINT, int(begin * WEAK)))
    return PILImage.fromarray(np.repeat(found[..., None], 3, axis=2))


def _slopes(padded: NDArray[np.int32]) -> tuple[Any, Any]:
    """Sobel's two derivatives, of a picture with one more pixel all around."""
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    columns = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]


def _highest(across: Any, down: Any, steep: Any) -> Any:
    """Where no neighbour along the slope is steeper: of two alike, the one that is met first."""
    import numpy as np

    around = np.pad(steep, 1)
    height, width = steep.shape

    def beside(dy: int, dx: int) -> Any:
        return around[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    flat, upright = np.abs(across), np.abs(down)
    level = 2 * upright < flat  # up to 26.6°; the diagonals between
    plumb = 2 * flat < upright
    falling = (across > 0) == (down > 0)
    before = np.select([level, plumb, falling], [beside(0, -1), beside(-1, 0), beside(-1, -1)], beside(-1, 1))
    behind = np.select([level, plumb, falling], [beside(0, 1), beside(1, 0), beside(1, 1)], beside(1, -1))
    return (steep > before) & (steep >= behind)


def _followed(ridge: Any, begin: int, end: int) -> NDArray[np.uint8]:
    """White for the ridge where it reaches `begin`, and from there on as long as it stays over `end`."""
    import numpy as np

    padded = np.pad(ridge, 1)
    width = padded.shape[1]
    weak = (padded > end).ravel()
    reached = (padded >= begin).ravel() & weak
    frontier = np.flatnonzero(reached)
    steps = np.array([dy * width + dx for dy, dx in _NEIGHBOURS])
    while frontier.size:
        near = np.unique(frontier[:, None] + steps)
        frontier = near[weak[near] & ~reached[near]]
        reached[frontier] = True
    return reached.reshape(padded.shape)[1:-1, 1:-1].astype(np.uint8) * 255
