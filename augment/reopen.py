"""What a recipe reads: its source, and all rows that are held out; also of a run, whose folder never holds its exam."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment.errors import AugmentError, SourceError
from augment.images.sources import open_pictures
from augment.manifest import manifest_of
from augment.published import run_named
from augment.recipe import Recipe, read_recipe
from augment.records import CONTENT, SCHEMA
from augment.source_cards import is_card
from augment.sources import Source, open_source
from augment.validation import validation_of
from filters import Context
from filters.chain import chain_of


def sources_of(recipe: Recipe) -> tuple[Source, pl.DataFrame]:
    """The recipe's source, and its exam: the rows that the source holds out and those of `--exam`.

    Texts that (nearly) repeat a row of the exam are no seeds of it; pictures are compared where a run is planned.

    Raises:
        SourceError: one of them cannot be found or read.
    """
    if (run := run_named(recipe.source)) is not None and recipe.validation:
        raise SourceError(f"--validation would part the rows of {run} from those made of them; hold them out there")
    opened = partial(open_pictures, paired=recipe.modality == "paired") if recipe.modality != "text" else open_source
    if run is not None and recipe.holdout and recipe.modality != "text":
        raise SourceError(
            f"--holdout would part the pictures of {run} from those that were made of them; hold more out where that "
            "was made, or leave --holdout away: what it holds out stays the exam"
        )
    source = opened(recipe.source, path=None if run else recipe.path, columns=recipe.map, holdout=recipe.holdout)
    if run is not None:
        source = _with_its_exam(source, run, recipe.path)
    further = [opened(recipe.exam, holdout=0.0).seeds] if recipe.exam is not None else []
    exam = pl.concat([source.exam, *further])
    if recipe.modality != "text":
        return source, exam
    source = without_exam_copies(source, exam)
    if not recipe.validation:
        return source, exam
    source = with_validation(source, recipe.validation, recipe.seed)
    return source, pl.concat([exam, source.validation])


def _with_its_exam(source: Source, run: Path, path: Path | None) -> Source:
    """A published run as a source, with the rows that it holds out; `path` is where its own source's files are.

    A file that was only sifted holds nothing out; a card's exam stays one also then.

    Raises:
        SourceError: its own source cannot be read.
    """
    manifest = manifest_of(run)
    recipe = manifest.get("recipe") or {}
    counts = orjson.loads((run / "summary.json").read_bytes())
    if not (counts.get("exam") or recipe.get("exam") or manifest.get("exams") or is_card(recipe.get("source") or "")):
        return source
    try:
        _, exam = reopened(manifest, path)
    except AugmentError as error:
        raise SourceError(
            f"what {run} holds out must stay held out, and {recipe.get('source')}, from which it was made, cannot be "
            f"read: {error}; put it back, or name its files with --path"
        ) from None
    more = exam.filter(~pl.col("id").is_in(source.exam["id"].implode()))
    notes = (*source.notes, f"the {len(exam):,} rows that it holds out stay the exam") if len(exam) else source.notes
    return dataclasses.replace(
        source, exam=pl.concat([source.exam, more]), rows_in=source.rows_in + len(more), notes=notes
    )


def without_exam_copies(source: Source, exam: pl.DataFrame) -> Source:
    """The source with the seeds that (nearly) repeat an exam row moved to the rejected, without their texts.

    This guard is no choice of the recipe's: `--filters` decides what is asked of variants only.
    """
    if exam.is_empty():
        return source
    sifted = beside_exam(source.seeds, exam)
    hit = sifted.filter(pl.col("dropped_by").is_not_null()).select(source.rejected.columns)
    hit = hit.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in CONTENT)
    clean = sifted.filter(pl.col("dropped_by").is_null()).select(source.seeds.columns)
    return dataclasses.replace(source, seeds=clean, rejected=pl.concat([source.rejected, hit]))


def with_validation(source: Source, share: float, seed: int) -> Source:
    """The source with a share of its seeds held out beside its exam, and with them the seeds that (nearly) repeat one.

    Raises:
        SourceError: no seed is left.
    """
    held = validation_of(source.seeds, share, seed)
    if held.is_empty():
        return source
    kin = beside_exam(source.seeds.join(held.select("id"), on="id", how="anti"), held)
    out = {*held["id"], *kin.filter(pl.col("dropped_by").is_not_null())["id"]}
    inside = pl.col("id").is_in(out)
    seeds, held = source.seeds.filter(~inside), source.seeds.filter(inside)
    if seeds.is_empty():
        raise SourceError(f"no seed of {source.name} is left beside {len(held)} held out; lower --validation")
    return dataclasses.replace(
        source,
        seeds=seeds,
        exam=pl.concat([source.exam, held]),
        validation=held,
        notes=(*source.notes, f"{len(held):,} seeds are held out beside the exam, for validation"),
    )


def beside_exam(seeds: pl.DataFrame, exam: pl.DataFrame) -> pl.DataFrame:
    """The seeds with the verdict on those that (nearly) repeat an exam row.

    One that is merely like an exam question is the user's own row: where all rows have one form of words, all are.
    """
    context = Context(seeds=seeds.clear(), exam=exam)
    return chain_of(["contamination"], {"contamination": {"reworded": 1.0}}).sift(seeds, context)


def reopened(manifest: Mapping[str, Any], path: Path | None = None) -> tuple[Source, pl.DataFrame]:
    """The source and the exam of a finished run as they are now; `path` is where the source's files are.

    Whether they are still what the run was made from is the caller's question (`Source.fingerprint`).

    Raises:
        RecipeError, SourceError: the recipe in the manifest or its source cannot be read.
    """
    recipe = manifest.get("recipe") or {}
    source, exam = sources_of(read_recipe({**recipe, "path": path}, modality=manifest.get("modality") or "text"))
    further = further_exams(manifest)
    return (without_exam_copies(source, further), pl.concat([exam, further])) if len(further) else (source, exam)


def further_exams(manifest: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of the exams that a run was held against after it was made: its manifest's `exams`.

    Raises:
        SourceError: one of them cannot be read.
    """
    rows = [open_source(each, holdout=0.0).seeds for each in manifest.get("exams") or ()]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *rows])
