"""Rows of pictures as a filter sees them, in a line each; and simple pictures of three classes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from augment.images.store import pictures
from augment.records import PICTURE, SCHEMA
from filters import Context, Filter
from filters.chain import with_parents

SHAPES = ("bars", "disc", "triangle")
COLUMNS = {**SCHEMA, **PICTURE}


def shape(label: str, number: int, size: tuple[int, int] = (80, 64)) -> Image.Image:
    """A disc, a triangle or upright bars on a soft background, another one for each number."""
    rng = random.Random(f"{label} {number}")
    width, height = size
    one, other = (np.array([rng.randrange(150, 256) for _ in range(3)]) for _ in range(2))
    fade = np.linspace(0, 1, height)[:, None, None]
    back = np.broadcast_to(one * (1 - fade) + other * fade, (height, width, 3)).astype(np.uint8)
    picture = Image.fromarray(back).resize((4 * width, 4 * height))
    draw = ImageDraw.Draw(picture)
    colour = tuple(rng.randrange(0, 120) for _ in range(3))
    half = height * rng.uniform(0.9, 1.4)
    x, y = (4 * side * rng.uniform(0.4, 0.6) for side in size)
    if label == "disc":
        draw.ellipse((x - half, y - half, x + half, y + half), fill=colour)
    elif label == "triangle":
        draw.polygon([(x, y - half), (x + half, y + half), (x - half, y + half)], fill=colour)
    else:
        for at in (-1, 0, 1):
            centre = x + at * half * 0.8
            draw.rectangle((centre - half / 5, y - half, centre + half / 5, y + half), fill=colour)
    return picture.resize(size, Image.Resampling.BOX)


def noisy(picture: Image.Image, sigma: float, seed: int = 0) -> Image.Image:
    values = np.asarray(picture).astype(float)
    return Image.fromarray(
        np.clip(values + np.random.default_rng(seed).normal(0, sigma, values.shape), 0, 255).astype("uint8")
    )


def source(rows: Sequence[tuple[str | None, Image.Image]], letter: str = "s", **more: Any) -> pl.DataFrame:
    """Source rows s0, s1, … of (label, picture) pairs; `more` are lists of further columns."""
    lines = []
    for number, (label, picture) in enumerate(rows):
        name = pictures().add(picture)
        line = {"id": f"{letter}{number}", "parents": [], "label": label, "image": name, "pixels": name}
        line |= {"width": picture.width, "height": picture.height}
        lines.append({**line, **{column: values[number] for column, values in more.items()}})
    return pl.DataFrame(lines, schema=COLUMNS)


def shapes(each: int, first: int = 0) -> list[tuple[str, Image.Image]]:
    """`each` pictures of each class, as (label, picture)."""
    return [(label, shape(label, number)) for label in SHAPES for number in range(first, first + each)]


def context_of(
    seeds: Sequence[tuple[str | None, Image.Image]] = (),
    exam: Sequence[tuple[str | None, Image.Image]] = (),
    **more: Any,
) -> Context:
    """What the filters may look at: seeds s0, s1, … and exam rows e0, e1, …"""
    return Context(source(seeds), source(exam, "e"), **more)


def variants(
    context: Context, *made: tuple[str | None, Image.Image], first: int = 0, generator: str = "img2img", **more: Any
) -> pl.DataFrame:
    """Variants v0, v1, … of (parent id or None, picture), with the working columns; labels and captions are the parents'
    unless `more` says other ones, for all rows or in a list."""
    frame = source([(None, picture) for _, picture in made], "v").with_columns(
        pl.Series("id", [f"v{first + number}" for number in range(len(made))], dtype=pl.String),
        pl.Series("parents", [[] if parent is None else [parent] for parent, _ in made], dtype=pl.List(pl.String)),
        pl.lit(generator).alias("generator"),
    )
    frame = with_parents(frame, context).with_columns(
        pl.col("parent_label").alias("label"), pl.col("parent_caption").alias("caption")
    )
    for column, value in more.items():
        values = value if isinstance(value, list) else [value] * len(frame)
        frame = frame.with_columns(pl.Series(column, values, dtype=COLUMNS[column]))
    return frame


def scored(each: Filter, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
    """The frame with scores and `reason`; checks what every filter owes: the same rows, the declared types."""
    out = each.score(frame, context)
    assert out.drop(list(each.scores)).equals(frame)
    assert {name: out.schema[name] for name in each.scores} == each.scores
    return out.with_columns(each.verdict().cast(pl.String).alias("reason"))


def reasons(each: Filter, frame: pl.DataFrame, context: Context) -> list[str | None]:
    """The verdict on each row."""
    return scored(each, frame, context)["reason"].to_list()
