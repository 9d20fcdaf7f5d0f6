"""The rows that likeness is measured on: ids are hashes, so the smallest are a fair sample, the same each time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from augment.errors import AugmentError
from augment.lineage import ROWS
from augment.reopen import reopened
from augment.report.gather import Run
from augment.report.rows import collect, scan
from augment.source_cards import is_card, read_card
from augment.sources import cached

MOST = 4_000
"""Seeds, and kept variants, of all runs together that similarity is measured on."""

_COLUMNS = ("id", "generator", "label")
_LONGEST = 2_000


def sampled(runs: Sequence[Run], most: int = MOST) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """Seeds and kept variants of each run, at most `most` of either over all runs."""
    share = max(1, most // max(1, len(runs)))
    found = []
    for run in runs:
        text = pl.col(text_of(run)).str.slice(0, _LONGEST).alias("prompt")
        rows = scan(run, ROWS).select(*_COLUMNS, text).filter(pl.col("prompt").is_not_null())
        sides = (pl.col("generator") == "seed", pl.col("generator") != "seed")
        seeds, variants = (collect(run, rows.filter(side).sort("id").head(share)) for side in sides)
        found.append((seeds, variants))
    return found


def text_of(run: Run) -> str:
    """The column that holds a row in words."""
    return "caption" if run.pictured else "prompt"


def exam_of(run: Run, most: int = MOST) -> tuple[pl.Series | None, str]:
    """The prompts (captions of pictures) of the run's exam, from its source as it is here now, or None and why not.

    The source counts as the same when it still holds every seed that the run published and as many exam rows. Nothing
    is fetched. The texts are measured against; they never get into a page.
    """
    recipe = run.manifest.get("recipe")
    source = recipe.get("source") if isinstance(recipe, dict) else None
    if not isinstance(recipe, dict) or not isinstance(source, str) or not run.summary.get("exam"):
        return None, ""
    why = f"the exam of {run.name} is not compared: "
    if not (_here(source) and _here(recipe.get("exam") or source)):
        return None, f"{why}its source '{source}' is not here"
    try:
        opened, exam = reopened(run.manifest)
    except AugmentError as error:
        return None, f"{why}{error}"
    published = collect(run, scan(run, ROWS).filter(pl.col("generator") == "seed").select("id"))["id"]
    if not published.is_in(opened.seeds["id"].implode()).all() or len(opened.exam) != run.summary["exam"]:
        return None, f"{why}its source '{source}' has changed since"
    return exam.sort("id").head(most)[text_of(run)].drop_nulls().str.slice(0, _LONGEST), ""


def _here(source: str | None) -> bool:
    """Whether a source can be opened without fetching anything."""
    if not source:
        return False
    if is_card(source):
        card = read_card(source)
        told = bool(card.directory_env and os.environ.get(card.directory_env))
        return told or not card.hub or (cached(source, card) / "origin.json").is_file()
    return Path(source).exists()
