"""A source's name to its pictures: a card, a folder, a table or an archive of pictures, or a Hugging Face dataset id.

What comes out is the `Source` that text has, its rows with the columns of pictures. The exam is a share of all pictures
by the digest of their pixels alone: another label, caption or file name never moves one across, and neither do new
pictures. It is drawn over all classes together, so that a very small class may come to be wholly in the exam or wholly
outside of it; the first is said in the source's notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from augment.errors import SourceError
from augment.images.entries import Listing
from augment.images.listing import list_source
from augment.images.reading import Read, read_entries
from augment.records import PICTURE, SCHEMA, VERDICT, fingerprint, picture_row_id
from augment.source_cards import Card, is_own
from augment.sources import CLIP, Source

ROW: dict[str, Any] = {**SCHEMA, **PICTURE}


def open_pictures(
    name: str,
    *,
    path: Path | None = None,
    columns: Mapping[str, str] | None = None,
    holdout: float | None = None,
    paired: bool = False,
) -> Source:
    """The pictures of the source called `name`: read, kept in the picture store, cleaned of bad ones and split.

    `columns` maps our names to the source's (`--map image=file,caption=text`); `holdout` is the share of pictures, from
    0 to under 1, that is kept out as the exam (the card's own share when None). With `paired` a row is a picture and a
    caption: a picture without one is rejected, and one with several becomes a row for each.

    Raises:
        SourceError: it cannot be found or read, holds no pictures, or none that can be used.
        RunError: a picture cannot be kept; the disk is full or read-only.
    """
    card, listing, origin = list_source(name, path, columns or {})
    source = Path(name).stem if origin == name or is_own(name) else name
    return _source(source, card, listing, origin, card.holdout if holdout is None else holdout, paired)


def _source(name: str, card: Card, listing: Listing, origin: str, holdout: float, paired: bool) -> Source:
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for row, fault, place in _told_apart(_rows(read_entries(listing.entries), paired), paired):
        row["source"] = name
        row["split"] = _split(row["pixels"], holdout)
        if fault is None:
            good.append(row)
        else:
            bad.append({**_out_of_sight(row), "dropped_by": "source", "reason": fault, "detail": place})
    if not good:
        first = f"{bad[0]['reason']}: {bad[0]['detail']}" if bad else "no rows"
        raise SourceError(f"no usable picture in {origin}: all {len(bad):,} were rejected (first: {first})")
    frame = pl.DataFrame(good, schema=ROW, orient="row")
    rejected = pl.DataFrame(bad, schema={**ROW, **VERDICT}, orient="row").with_columns(split=None)
    seeds, exam = (frame.filter(pl.col("split") == split) for split in ("train", "exam"))
    return Source(
        name=name,
        card=card,
        seeds=seeds,
        exam=exam,
        rejected=rejected.cast({"split": pl.String}),
        rows_in=len(good) + len(bad),
        columns=dict(listing.columns),
        origin=origin,
        notes=(*listing.notes, *_unbalanced(seeds, exam)),
    )


def _rows(found: Iterable[Read], paired: bool) -> Iterable[tuple[dict[str, Any], str | None, str]]:
    """A row for each picture, or for each caption of it, with what is wrong with it and its place."""
    for read in found:
        captions: tuple[str | None, ...] = read.captions or (None,)
        for caption in captions if paired else captions[:1]:
            fault = read.fault or ("no caption" if paired and caption is None else None)
            yield _row(read, caption), fault, read.place


def _row(read: Read, caption: str | None) -> dict[str, Any]:
    name, width, height = read.picture or (None, None, None)
    return {
        **dict.fromkeys(ROW),
        "id": picture_row_id(name, read.label, caption, read.mask, read.boxes) if name is not None else None,
        "parents": [],
        "generator": "seed",
        "variant": 0,
        "label": read.label,
        "caption": caption,
        "image": name,
        "pixels": name,
        "width": width,
        "height": height,
        "mask": read.mask,
        "boxes": read.boxes,
    }


def _told_apart(
    rows: Iterable[tuple[dict[str, Any], str | None, str]], paired: bool
) -> Iterable[tuple[dict[str, Any], str | None, str]]:
    """The rows, repeated pictures faulted: those under another label than the first, and those that bring no new
    caption, if captions count."""
    labels: dict[str, str | None] = {}
    captions: dict[str, set[str | None]] = {}
    for row, fault, place in rows:
        pixels = row["pixels"]
        if fault is None and pixels in labels:
            if row["label"] is not None and labels[pixels] not in (None, row["label"]):
                fault = "same picture with another label"
            elif not paired or row["caption"] in captions[pixels]:
                fault = "duplicate row"
        if fault is None:
            labels.setdefault(pixels, row["label"])
            captions.setdefault(pixels, set()).add(row["caption"])
        yield row, fault, place


def _split(pixels: str | None, holdout: float) -> str:
    share = int(fingerprint("split", pixels)[:8], 16) / 2**32
    return "exam" if pixels is not None and share < holdout else "train"


def _out_of_sight(row: dict[str, Any]) -> dict[str, Any]:
    """A rejected row as it is shown: of the exam's pictures only that there was one, long texts cut."""
    if row["split"] == "exam":
        return {**row, **dict.fromkeys(("label", "caption", "image", "pixels", "mask", "boxes"))}
    return {**row, **{name: row[name] and row[name][:CLIP] for name in ("label", "caption")}}


def _unbalanced(seeds: pl.DataFrame, exam: pl.DataFrame) -> tuple[str, ...]:
    lost = sorted(set(exam["label"].drop_nulls()) - set(seeds["label"].drop_nulls()))
    if not lost:
        return ()
    return (f"wholly in the exam, so without a seed: {', '.join(lost)} (--holdout sets the share)",)
