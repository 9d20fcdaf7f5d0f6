"""The rows of a run of pictures, as the formats see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from augment.errors import RunError
from augment.generators.scenes import photo_of
from augment.images.boxes import Box, read_boxes
from augment.lineage import ROWS

COLUMNS = (
    *("id", "image", "mask", "boxes", "width", "height"),
    *("label", "caption", "prompt", "generator", "parents", "negative"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A published picture: where its files are, and what is said of it; sizes and boxes in pixels."""

    id: str
    picture: Path
    mask: Path | None
    boxes: tuple[Box, ...]
    width: int
    height: int
    label: str | None
    caption: str | None
    prompt: str | None
    generator: str
    parents: tuple[str, ...]
    negative: str | None

    @property
    def text(self) -> str | None:
        """The picture in words: its caption, else what it was drawn from, else a photo of its class."""
        return self.caption or self.prompt or (photo_of(self.label) if self.label else None)


@dataclass(frozen=True)
class Written:
    """What a format made of rows: the file or folder to hand to a trainer, from the export's folder, and their number.

    `lacks` is what a row that was left out does not have; `note` a remark for the user.
    """

    handed: str
    rows: int
    lacks: str = ""
    note: str = ""


def shown(run: Path) -> list[Shown]:
    """Every row of the run in its order; `negative` is the id of another row, which may not be among them.

    Raises:
        RunError: the rows cannot be read, or name files that are not theirs.
    """
    try:
        frame = pl.scan_parquet(run / ROWS, glob=False).select(COLUMNS).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        why = " ".join(str(error).partition("\n")[0].split())
        raise RunError(f"cannot read {run / ROWS}: {why}; make the run again") from None
    return [_row(run, *each) for each in frame.iter_rows()]


def _row(
    run: Path,
    id: str,
    image: str,
    mask: str | None,
    boxes: str | None,
    width: int,
    height: int,
    label: str | None,
    caption: str | None,
    prompt: str | None,
    generator: str,
    parents: Sequence[str] | None,
    negative: str | None,
) -> Shown:
    if Path(id).name != id or image != f"train/{id}.png" or mask not in (None, f"train/masks/{id}.png"):
        raise RunError(f"the row {id} of {run / ROWS} names files that are not its own; see augment verify {run}")
    curated = run / "curated"
    return Shown(
        id,
        curated / image,
        curated / mask if mask else None,
        read_boxes(boxes),
        width,
        height,
        label,
        caption,
        prompt,
        generator,
        tuple(parents or ()),
        negative,
    )
