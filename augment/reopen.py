"""What a recipe reads: its source, and all rows that are held out; also of a run, whose folder never holds its exam."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from augment.images.sources import open_pictures
from augment.recipe import Recipe, read_recipe
from augment.sources import Source, open_source


def sources_of(recipe: Recipe) -> tuple[Source, pl.DataFrame]:
    """The recipe's source, and its exam: the rows that the source holds out and those of `--exam`.

    Raises:
        SourceError: one of them cannot be found or read.
    """
    opened = partial(open_pictures, paired=recipe.modality == "paired") if recipe.modality != "text" else open_source
    source = opened(recipe.source, path=recipe.path, columns=recipe.map, holdout=recipe.holdout)
    if recipe.exam is None:
        return source, source.exam
    return source, pl.concat([source.exam, opened(recipe.exam, holdout=0.0).seeds])


def reopened(manifest: Mapping[str, Any], path: Path | None = None) -> tuple[Source, pl.DataFrame]:
    """The source and the exam of a finished run as they are now; `path` is where the source's files are.

    Whether they are still what the run was made from is the caller's question (`Source.fingerprint`).

    Raises:
        RecipeError, SourceError: the recipe in the manifest or its source cannot be read.
    """
    recipe = manifest.get("recipe") or {}
    return sources_of(read_recipe({**recipe, "path": path}, modality=manifest.get("modality") or "text"))
