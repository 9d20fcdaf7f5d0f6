"""The source cards as a person reads them, and a source's rows as a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from augment.errors import SourceError
from augment.images.catalogue import is_pictures, picture_lines, picture_row, write_pictures
from augment.source_cards import card_names, read_card
from augment.sources import Source, cached, open_source

SHOWN = ("id", "source", "split", "prompt", "response", "label")
MODALITIES = {"image": "pictures"}
_PREVIEW = 100


def listing() -> str:
    """The cards, a line each."""
    lines = []
    for name in card_names():
        card = read_card(name)
        kind = f" · {MODALITIES[card.modality]}" if card.modality != "text" else ""
        told = f"{card.title} · {', '.join(card.languages)} · {card.licence}{kind}"
        lines.append(f"{name:<13} {told}\n{'':<13} {card.description}")
    return "\n".join(
        [
            *lines,
            "Also: any CSV, JSON, JSONL or Parquet file or folder, or a Hugging Face dataset id (owner/name).",
            "Pictures: a folder of them, such a file with their paths or the pictures in it, or WebDataset archives.",
        ]
    )


def open_any(
    name: str, path: Path | None = None, columns: Mapping[str, str] | None = None, holdout: float | None = None
) -> Source:
    """The source called `name`, of pictures where it holds some, else of text.

    Raises:
        SourceError: it cannot be found or read.
    """
    from augment.images.listing import holds_pictures
    from augment.images.sources import open_pictures

    if holds_pictures(name, path, columns or {}):
        return open_pictures(name, path=path, columns=columns, holdout=holdout)
    return open_source(name, path=path, columns=columns, holdout=holdout)


def portrait(source: Source, name: str) -> str:
    """One source, opened by `name`: rows, columns, labels, licence, where it is, three rows."""
    rows = pl.concat([source.seeds, source.exam])
    labels = rows.group_by("label").len().sort("len", "label", descending=[True, False]).rows()
    card = source.card
    lines = [
        f"{source.name}: {card.title or source.origin}",
        card.description,
        f"rows      {source.rows_in:,} = {len(source.seeds):,} train + {len(source.exam):,} exam + "
        f"{len(source.rejected):,} rejected",
        f"columns   {', '.join(f'{ours}={theirs}' for ours, theirs in source.columns.items())}",
        "labels    " + ", ".join(f"{label or '(none)'} {count}" for label, count in labels[:20]),
        *(picture_lines(rows) if is_pictures(source) else []),
        f"licence   {card.licence}{f' ({card.licence_note})' if card.licence_note else ''}",
        f"cite      {card.citation}",
        f"read from {source.origin}",
    ]
    if card.hub:
        place = cached(name, card)
        lines.append(f"cached    {place if place.is_dir() else f'not yet ({place})'}")
    if card.directory_env:
        lines.append(f"{card.directory_env}={os.environ.get(card.directory_env, '(not set)')}")
    lines += source.notes
    reasons = source.rejected.group_by("reason").len().sort("reason").rows()
    lines += [f"rejected  {count:,} × {reason}" for reason, count in reasons]
    for row in rows.head(3).iter_rows(named=True):
        texts = [f"  {_clip(row['prompt'] or '')}", f"  {_clip(row['response'] or '')}"]
        lines += ["", f"[{row['id']}] {row['label'] or ''}", *(picture_row(row) if is_pictures(source) else texts)]
    return "\n".join(line for line in lines if line is not None)


def _clip(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _PREVIEW else flat[:_PREVIEW] + "…"


def write_rows(source: Source, split: str, out: Path | None) -> str:
    """Write one split's rows to `out`; a line saying so.

    Raises:
        SourceError: no such split, no file named, or a format that is not known (pictures: any but Parquet).
    """
    splits = {"train": source.seeds, "exam": source.exam}
    if split not in splits:
        raise SourceError(f"no split '{split}'; known: train, exam")
    if out is None:
        raise SourceError(f"--split {split} needs --out FILE (.jsonl, .csv or .parquet)")
    rows = splits[split]
    if rows.is_empty():
        raise SourceError(f"{source.name} has no {split} rows; --holdout 20% sets how many are held out")
    if is_pictures(source):
        write_pictures(rows, out)
        return f"{len(rows):,} rows to {out}"
    rows = rows.select(SHOWN)
    writers: dict[str, Callable[[Path], object]] = {
        ".jsonl": rows.write_ndjson,
        ".csv": rows.write_csv,
        ".parquet": rows.write_parquet,
    }
    if out.suffix not in writers:
        raise SourceError(f"cannot write {out}; use one of {', '.join(writers)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writers[out.suffix](out)
    except OSError as error:
        raise SourceError(f"cannot write {out}: {error.strerror or error}") from None
    return f"{len(rows):,} rows to {out}"
