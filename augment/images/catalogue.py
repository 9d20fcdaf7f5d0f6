"""A source of pictures as a person reads it, and its rows as a file that holds the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import SourceError
from augment.images.boxes import read_boxes
from augment.images.store import pictures
from augment.sources import Source

FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "source": {"dtype": "string", "_type": "Value"},
    "split": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    "label": {"dtype": "string", "_type": "Value"},
    "caption": {"dtype": "string", "_type": "Value"},
    "mask": {"_type": "Image"},
    "boxes": {"dtype": "string", "_type": "Value"},
}
"""The columns of the file, as `datasets` describes them: it opens the pictures."""
_SHOWN = 6


def is_pictures(source: Source) -> bool:
    """Whether the source's rows are pictures."""
    return "pixels" in source.seeds.columns


def picture_lines(rows: pl.DataFrame) -> list[str]:
    """Sizes, captions, masks and boxes, a line each."""
    sizes = rows.group_by("width", "height").len().sort("len", "width", "height", descending=True).rows()
    shown = ", ".join(f"{width} × {height}: {count:,}" for width, height, count in sizes[:_SHOWN])
    more = f", and {len(sizes) - _SHOWN:,} more" if len(sizes) > _SHOWN else ""
    boxes = [len(read_boxes(each)) for each in rows["boxes"].drop_nulls()]
    return [
        f"sizes     {shown}{more} (pixels)",
        f"captions  {rows['caption'].count():,}, masks {rows['mask'].count():,}, "
        f"boxes {sum(boxes):,} on {len(boxes):,} pictures",
    ]


def picture_row(row: dict[str, Any]) -> list[str]:
    """What a row shows of itself: where its picture is kept, its size, and its caption."""
    return [f"  {pictures().path(row['image'])} ({row['width']} × {row['height']})", f"  {row['caption'] or ''}"]


def write_pictures(rows: pl.DataFrame, out: Path) -> None:
    """Write rows to a Parquet file that holds their pictures and masks.

    Raises:
        SourceError: another format, or it cannot be written.
        RunError: a picture is not in the store.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if out.suffix != ".parquet":
        raise SourceError(f"cannot write pictures to {out}; use a .parquet file, which holds them")
    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    kinds = {name: picture if told["_type"] == "Image" else pa.string() for name, told in FEATURES.items()}
    told = orjson.dumps({"info": {"features": FEATURES}})
    schema = pa.schema(kinds, metadata={"huggingface": told})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(out, schema) as writer:
            for part in rows.iter_slices(64):
                listed = [
                    {**row, "image": _embedded(row["image"]), "mask": _embedded(row["mask"])}
                    for row in part.select(list(FEATURES)).iter_rows(named=True)
                ]
                writer.write_table(pa.Table.from_pylist(listed, schema))
    except OSError as error:
        raise SourceError(f"cannot write {out}: {error.strerror or error}") from None


def _embedded(name: str | None) -> dict[str, Any] | None:
    return None if name is None else {"bytes": pictures().raw(name), "path": f"{name}.png"}
