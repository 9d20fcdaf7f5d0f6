"""A finished run as a dataset to sift: all its candidates, also those that it rejected, with the scores they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq

from augment import generators
from augment.errors import AugmentError, RunError
from augment.filtering.dataset import BEFORE, BLOCK, Dataset
from augment.lineage import REJECTED_ROWS, ROWS, parent_of
from augment.manifest import holds_pictures, manifest_of
from augment.records import CONTENT, POSITION, REVIEWED, SCHEMA, VERDICT, WRITTEN
from augment.reopen import beside_exam, further_exams, reopened, without_exam_copies
from augment.review.guard import GUARD
from augment.sources import open_source
from filters import TABLE, Context
from filters.chain import chain_of

MADE_FROM_EXAM = "made from a row of the exam"
"""Why a variant is out whose seed is in an exam that came later."""


def of_run(folder: Path, path: Path | None = None, exam: str | None = None) -> Dataset:
    """The candidates of a run; `path` is where its source's files are now, `exam` a further one to hold them against.

    What it published comes first, so that the same chain decides the same once more.

    Raises:
        RunError: it is no finished run of texts, it has no candidate, or its files are not those of its manifest.
        SourceError: the exam cannot be read.
    """
    parent = parent_of(folder)
    manifest = manifest_of(folder)
    if holds_pictures(manifest):
        raise RunError(
            f"{folder} holds pictures, and augment filter sifts texts; make the run again with other settings "
            "(--set FILTER.SETTING=VALUE): what was drawn is not drawn again"
        )
    summary: dict[str, Any] = orjson.loads((folder / "summary.json").read_bytes())
    rows = pl.scan_parquet(folder / ROWS, glob=False)
    rejected = pl.scan_parquet(folder / REJECTED_ROWS, glob=False)
    scored = manifest.get("filters") or _record(manifest)
    schema = rejected.collect_schema()
    own = {name: schema[name] for name in schema if name in (*REVIEWED, *WRITTEN, *manifest.get("columns", ()))}
    columns = {**SCHEMA, **own, **_scores(scored, schema)}
    further = open_source(exam, holdout=0.0).seeds if exam else pl.DataFrame(schema=SCHEMA)
    alone = "columns" in manifest  # it was made from a file, whose rows are nobody's variants
    is_seed = pl.lit(False) if alone else (pl.col("generator") == "seed").fill_null(False)
    owner = pl.col("id") if alone else pl.coalesce(pl.col("parents").list.first(), "id")
    seeds = rows.filter(is_seed).select(list(SCHEMA)).collect()
    struck = pl.Series("id", [], dtype=pl.String) if alone else _copies(seeds, further)
    clean = ~pl.col("id").is_in(struck.implode())
    never = is_seed | (pl.col("dropped_by") == "source").fill_null(False)
    if not any(each.head(1).collect().height for each in (rows.filter(~is_seed), rejected.filter(~never))):
        raise RunError(f"{folder} holds no row that a filter could judge; its rejected.parquet says why")
    places = _places(
        [
            seeds.lazy().select(pl.col("id").alias("_seed")),
            *(frame.select(owner.alias("_seed")) for frame in (rows, rejected)),
        ]
    )
    return Dataset(
        name=manifest.get("name") or folder.resolve().name,
        digest=parent.digest,
        blocks=partial(_blocks, folder, places, columns, never, owner, struck),
        context=partial(_context, manifest, summary, seeds.filter(clean), path, further),
        settled=_settled,
        positions=len(places),
        seeds=seeds.filter(clean),
        lost=pl.concat([rejected.filter(never).select(*SCHEMA, *VERDICT).collect(), _withheld(seeds, struck)]),
        columns=own,
        scored=scored,
        manifest={**manifest, "parent": parent.named(), **_exams(manifest, exam)},
        summary=summary | _without(summary, len(struck)),
        folder=folder,
        owners=None if alone else places["_seed"],
    )


def _copies(seeds: pl.DataFrame, exam: pl.DataFrame) -> pl.Series:
    """The ids of the seeds that (nearly) repeat a row of the exam."""
    return seeds.filter(beside_exam(seeds, exam)["dropped_by"].is_not_null())["id"]


def _withheld(seeds: pl.DataFrame, struck: pl.Series) -> pl.DataFrame:
    """Seeds that are in the exam, as rejected rows: without their texts."""
    hidden = [pl.lit(None, dtype=SCHEMA[name]).alias(name) for name in CONTENT]
    told = (pl.lit(GUARD), pl.lit("in the exam"), pl.lit(None, dtype=pl.String))
    verdict = (value.alias(name) for value, name in zip(told, VERDICT, strict=True))
    return seeds.filter(pl.col("id").is_in(struck.implode())).with_columns(*hidden, *verdict)


def _settled() -> pl.Expr:
    """Rows that no filter judges: without content, put out by people, or made from a seed that is in the exam."""
    by = pl.col("dropped_by")
    return by.is_not_null() & (~by.is_in(list(TABLE.targets())) | (pl.col("reason") == MADE_FROM_EXAM))


def _exams(manifest: Mapping[str, Any], exam: str | None) -> dict[str, Any]:
    return {"exams": [*(manifest.get("exams") or ()), exam]} if exam else {}


def _without(summary: Mapping[str, Any], struck: int) -> dict[str, Any]:
    """The account of the source's rows, with so many seeds fewer."""
    return {"seeds": summary["seeds"] - struck, "source_rejected": summary["source_rejected"] + struck}


def _record(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The chain of a run that did not write it down: that of its recipe, as filters are now."""
    recipe = manifest.get("recipe") or {}
    names = recipe.get("filters") or ["default"]
    chain = chain_of(names)
    known = {each.name for each in chain.filters}
    return chain_of(
        names, {name: each for name, each in (recipe.get("settings") or {}).items() if name in known}
    ).record


def _scores(scored: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The score columns that the rows have."""
    known = TABLE.targets()
    found = [name for each in scored if each["name"] in known for name in TABLE.load(each["name"]).scores]
    return {name: schema[name] for name in found if name in schema}


def _places(owners: Sequence[pl.LazyFrame]) -> pl.DataFrame:
    """Each row that others come from (`_seed`) with its place: the order in which they were published."""
    found = pl.concat(owners).filter(pl.col("_seed").is_not_null()).unique(maintain_order=True).collect()
    return found.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("_position"))


def _blocks(
    folder: Path,
    places: pl.DataFrame,
    columns: Mapping[str, Any],
    never: pl.Expr,
    owner: pl.Expr,
    struck: pl.Series,
) -> Iterator[pl.DataFrame]:
    """The candidates: what was published, in its order, then what was not; those made from `struck` seeds are out."""
    schema = {**columns, **VERDICT}
    out = pl.col("parents").list.first().is_in(struck.implode()).fill_null(False)
    verdict = {"dropped_by": GUARD, "reason": MADE_FROM_EXAM}
    number = 0
    for name in (ROWS, REJECTED_ROWS):
        with pq.ParquetFile(folder / name) as file:
            wanted = [each for each in file.schema_arrow.names if each in schema]
            for batch in file.iter_batches(BLOCK, columns=wanted):
                whole = pl.concat([pl.DataFrame(schema=schema), pl.DataFrame(pl.from_arrow(batch))], how="diagonal")
                frame = whole.filter(~never)
                if frame.is_empty():
                    continue
                numbers = pl.int_range(number, number + len(frame), dtype=pl.Int64, eager=True)
                number += len(frame)
                owned = frame.with_columns(
                    owner.alias("_seed"),
                    numbers.alias("_candidate"),
                    pl.col("dropped_by").is_null().alias(BEFORE),
                    *(pl.when(out).then(pl.lit(value)).otherwise(name).alias(name) for name, value in verdict.items()),
                )
                placed = owned.join(places, on="_seed", how="left", maintain_order="left")
                yield placed.select(*schema, *POSITION, BEFORE)


def _context(
    manifest: Mapping[str, Any],
    summary: Mapping[str, Any],
    seeds: pl.DataFrame,
    path: Path | None,
    further: pl.DataFrame,
) -> Context:
    """What filters may look at. The exam is read anew from the run's source, for no run folder holds it.

    Raises:
        RunError: the source cannot be read.
    """
    recipe = manifest.get("recipe") or {}
    exam = further
    if "columns" in manifest:
        own = [open_source(recipe["exam"], holdout=0.0).seeds] if recipe.get("exam") else []
        return Context(seeds=seeds, exam=pl.concat([*own, further_exams(manifest), further]))
    if recipe.get("without_seeds") or summary.get("exam") or recipe.get("exam") or manifest.get("exams"):
        try:
            source, held_out = reopened(manifest, path)
        except AugmentError as error:
            raise RunError(
                f"{recipe.get('source')}, from which the run was made, cannot be read: {error}; put it back, or name "
                "its files with --path"
            ) from None
        exam = pl.concat([held_out, further])
        if seeds.is_empty():
            seeds = without_exam_copies(source, further).seeds.head(recipe.get("limit") or len(source.seeds))
    made = summary.get("per_generator", {})
    traits = ("adds_facts", "makes_new", "flips")
    adds, new, flips = (frozenset(name for name in made if generators.has(name, each)) for each in traits)
    return Context(seeds=seeds, exam=exam, adds_facts=adds, makes_new=new, flips=flips)
