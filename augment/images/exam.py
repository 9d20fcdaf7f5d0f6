"""No picture of the exam among the seeds: copies of it, mirrored ones too, are taken out before anything is drawn."""

from __future__ import annotations

import dataclasses

import polars as pl

from augment.records import CONTENT, PICTURE
from augment.sources import Source


def without_exam_pictures(source: Source, exam: pl.DataFrame) -> Source:
    """The source with the seeds that copy an exam picture moved to the rejected, without what shows them.

    This guard is no choice of the recipe's: `--filters` decides what is asked of variants only.
    """
    if exam.is_empty():
        return source
    from filters.pictures.exam_image import like_exam

    copies = like_exam(source.seeds, exam)
    hit = source.seeds.filter(copies).with_columns(
        *(pl.lit(None, dtype=dtype).alias(name) for name, dtype in PICTURE.items()),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in CONTENT),
        pl.lit("exam_image").alias("dropped_by"),
        pl.lit("copy of an exam picture").alias("reason"),
        pl.lit(None, dtype=pl.String).alias("detail"),
    )
    rejected = pl.concat([source.rejected, hit.select(source.rejected.columns)])
    return dataclasses.replace(source, seeds=source.seeds.filter(~copies), rejected=rejected)
