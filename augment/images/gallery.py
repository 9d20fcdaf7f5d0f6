"""The pictures of a published run: a folder that `datasets` reads as it is, every column of a row beside its picture.

curated/train/<id>.png           a row's picture, with its recipe inside where it is generated
curated/train/masks/<id>.png     its mask, where it has one
curated/train/metadata.parquet   the columns of curated/train.parquet, with `file_name` and `mask_file_name`, paths
                                 from this folder, and the boxes as `objects` (bbox: x, y, width, height; categories)
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from augment.errors import RunError
from augment.images.boxes import read_boxes
from augment.images.pictures import Unreadable, decode
from augment.images.store import Pictures
from augment.manifest import settle

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = "curated/train"
METADATA = "metadata.parquet"
OBJECTS = pl.Struct({"bbox": pl.List(pl.List(pl.Float64)), "categories": pl.List(pl.String)})


@dataclass
class Gallery:
    """A run's pictures while they are hung, beside their place until all are there."""

    folder: Path
    store: Pictures
    hung: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)
    _table: Any = None

    @property
    def beside(self) -> Path:
        """Where they are until `close`."""
        return self.folder / ".work" / "pictures"

    def hang(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Copy the rows' pictures and masks; the rows with the paths that these have in the folder `curated`.

        Raises:
            RunError: a picture is no longer in the store.
            OSError: the disk is full.
        """
        import pyarrow.parquet as pq

        (self.beside / "masks").mkdir(parents=True, exist_ok=True)
        images: list[str] = []
        masks: list[str | None] = []
        for id, image, mask in rows.select("id", "image", "mask").iter_rows():
            images.append(self._copied(image, f"{id}.png"))
            masks.append(mask and self._copied(mask, f"masks/{id}.png"))
        named = rows.select(
            pl.Series("file_name", images, pl.String),
            pl.exclude("image", "mask", "boxes"),
            pl.Series("mask_file_name", masks, pl.String),
            pl.Series("objects", [_objects(each) for each in rows["boxes"]], OBJECTS),
        ).to_arrow()
        self._table = self._table or pq.ParquetWriter(self.beside / METADATA, named.schema, compression="zstd")
        self._table.write_table(named)
        self.hung += len(rows)
        inside = [each and f"train/{each}" for each in masks]
        return rows.with_columns(
            pl.Series("image", [f"train/{each}" for each in images], pl.String), pl.Series("mask", inside, pl.String)
        )

    def _copied(self, name: str, to: str) -> str:
        raw = self.store.raw(name)
        (self.beside / to).write_bytes(raw)
        self._digest.update(f"{to} {hashlib.sha256(raw).hexdigest()}\n".encode())
        return to

    def close(self) -> dict[str, Any]:
        """Put the pictures in their place; how a manifest names them: how many rows, and one digest over all files.

        The digest is SHA-256 over a line a file in the order of the rows: its path, a blank, its own SHA-256.
        """
        target = self.folder / FOLDER
        if target.exists():
            shutil.rmtree(target)
        if self._table is not None:
            self._table.close()
            if not any((self.beside / "masks").iterdir()):
                (self.beside / "masks").rmdir()
            settle(self.beside / METADATA, self.beside / METADATA)
            self.beside.replace(target)
        return {"rows": self.hung, "sha256": self._digest.hexdigest()}


def taken_down(rows: pl.DataFrame, folder: Path, store: Pictures) -> pl.DataFrame:
    """Published rows with their pictures and masks back in the store, under names that say what is in them.

    Raises:
        RunError: a published file is gone or broken.
    """
    images, masks = [], []
    for pixels, image, mask in rows.select("pixels", "image", "mask").iter_rows():
        store.put(pixels, _published(folder / "curated" / image))
        images.append(pixels)
        masks.append(mask and store.add(_decoded(folder / "curated" / mask)))
    return rows.with_columns(pl.Series("image", images, pl.String), pl.Series("mask", masks, pl.String))


def _published(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; restore it, or remove the run to start anew") from None


def _decoded(path: Path) -> Image:
    try:
        return decode(_published(path))
    except Unreadable as error:
        raise RunError(f"{path} is {error}; restore it, or remove the run to start anew") from None


def _objects(boxes: str | None) -> dict[str, Any]:
    found = read_boxes(boxes)
    return {
        "bbox": [[each.x, each.y, each.width, each.height] for each in found],
        "categories": [each.label for each in found],
    }
