"""The next version of a dataset, as its reviewers want it: the same candidates, other verdicts, nothing generated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq

from augment import __version__
from augment.dataset_card import reviewed_card
from augment.errors import RunError
from augment.lineage import REJECTED_ROWS, ROWS, Parent, ancestors, newest, parent_of
from augment.manifest import MANIFEST, digest_of, manifest_of
from augment.publish import Edition, Workshop
from augment.records import REVIEWED, SCHEMA, fingerprint
from augment.review import rates
from augment.review.guard import Guard, prevailing
from augment.review.recount import recounted
from augment.review.session import Desk
from augment.review.verdicts import ROW
from augment.summary import Summary

BLOCK = 20_000
"""Rows of the parent that are in memory at once."""


@dataclass(frozen=True)
class Published:
    """What came of publishing: the version's folder, whether it is new, and how many rows went, came and were edited.

    `short` seeds have fewer variants now than the recipe asks for.
    """

    path: Path
    version: int
    new: bool
    summary: dict[str, Any]
    put_out: int = 0
    let_in: int = 0
    edited: int = 0
    short: int = 0


def publish(run: Path, path: Path | None = None) -> Published:
    """Write the next version of the dataset that `run` is a version of, beside it; `path` as in `augment text`.

    It grows from the newest version that grew from `run`, so that decisions about an older version count too.

    Raises:
        RunError: nothing was decided; the run or the exam's source cannot be read; the folder cannot be written.
    """
    started = time.perf_counter()
    parent = parent_of(_latest(run))
    manifest = manifest_of(parent.folder)
    before = _summary(parent.folder, manifest)
    if not parent.verdicts:
        raise RunError(f"nobody has decided about a row of {run} yet; review it first: augment review {run}")
    if not parent.verdicts.pending:
        return Published(parent.folder, parent.version, False, before)
    identity = fingerprint("review", parent.digest, parent.verdicts.digest)
    folder = parent.folder.parent / f"{manifest.get('name') or parent.folder.name}-{identity[:8]}"
    if (folder / MANIFEST).is_file() and manifest_of(folder)["fingerprint"] == identity:
        return Published(folder, parent.version + 1, False, _summary(folder, manifest_of(folder)))
    nobody = pl.DataFrame(schema=SCHEMA)
    rows = Reviewed(parent, Guard.of(manifest, before, path) if _needs_exam(parent) else Guard(nobody, nobody))
    counts, short = recounted(manifest, before, rows.curated, rows.rejected, rows.put_out, rows.let_in, len(rows.late))
    counts["review"] = {**parent.verdicts.counts(), **_measured(parent.folder)}
    counts["seconds"] = round(time.perf_counter() - started, 3)
    edition = Edition(
        columns={**rows.scores, **REVIEWED},
        curated=rows.curated,
        rejected=rows.rejected,
        summary=Summary(counts),
        card=reviewed_card(_card(parent.folder), before, counts, parent.version + 1, parent.folder.name),
        manifest={
            "augment": __version__,
            "name": manifest.get("name"),
            "version": parent.version + 1,
            "parent": parent.named(),
            "fingerprint": identity,
            "line": manifest.get("line"),
            # an incremental run fills up what reviewers took, once: then its content is the source's again
            "content": fingerprint(parent.content, "short") if short else parent.content,
            "source": manifest["source"],
            "recipe": manifest.get("recipe"),
            # how the rows were scored, what else they were held against, a file's own columns, licences
            **{name: manifest[name] for name in ("filters", "exams", "columns", "terms") if name in manifest},
        },
        reviewed=parent.verdicts.lines(),
    )
    with Workshop.take(folder, identity) as workshop:
        workshop.write(edition)
    moved = (len(rows.put_out), len(rows.let_in), rows.edited)
    return Published(folder, parent.version + 1, True, counts, *moved, short)


def _latest(run: Path) -> Path:
    """The newest version that grew from `run`, or `run` itself."""
    line = manifest_of(run).get("line")
    last = newest(run.resolve().parent, line) if line else None
    if last is None or run.resolve() not in {each.resolve() for each in ancestors(last.folder)}:
        return run
    return run.parent / last.folder.name


def _summary(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The run's summary, once its files are those that its manifest names."""
    for name, digest in manifest["files"].items():
        if not (folder / name).is_file() or digest_of(folder / name) != digest:
            raise RunError(f"{folder / name} is not the file that {folder}/manifest.json names; restore it")
    summary: dict[str, Any] = orjson.loads((folder / "summary.json").read_bytes())
    return summary


def _card(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


def _needs_exam(parent: Parent) -> bool:
    """Whether anything may be published that no filter let pass as it is."""
    return any(
        each.verdict == "edit" or (each.verdict == "accept" and each.decision.seen.get("dropped_by"))
        for each in parent.verdicts.standing.values()
    )


def _measured(folder: Path) -> dict[str, Any]:
    """The rates among the rows of the run that is grown from, where anybody looked at them."""
    desk = Desk.of(folder)
    made = desk.made()
    if not made:
        return {}
    standing = desk.standing(made)
    found, agreement = standing["rates"], standing["agreement"]
    nameless = [{**pair, "reviewers": ["two", "reviewers"]} for pair in agreement]  # a card is for everybody to read
    return {"of": folder.name, "rates": found, "agreement": agreement, "lines": rates.lines(found, nameless)}


@dataclass(frozen=True)
class Reviewed:
    """A parent's rows as its reviewers want them, those that they would publish held against the exam."""

    parent: Parent
    guard: Guard

    def curated(self) -> Iterator[pl.DataFrame]:
        """Every kept row in the parent's order, those let in after the others of their seed."""
        coming = self.let_in.with_columns(self._places)
        first = 0
        for frame in self._blocks(ROWS):
            placed = frame.with_columns(pl.int_range(first, first + len(frame), eager=True).cast(float).alias("_place"))
            first += len(frame)
            here = coming.filter(pl.col("_place") < first)
            coming = coming.filter(pl.col("_place") >= first)
            kept = placed.filter(pl.col("dropped_by").is_null())
            yield pl.concat([kept, here]).sort("_place", maintain_order=True).drop("_place")
        yield coming.drop("_place")

    def rejected(self) -> Iterator[pl.DataFrame]:
        """Every row that is out, those that were put out last."""
        for frame in self._blocks(REJECTED_ROWS):
            yield frame.filter(pl.col("dropped_by").is_not_null())
        yield self.put_out

    @cached_property
    def scores(self) -> dict[str, Any]:
        """The parent's score columns."""
        schema = pl.scan_parquet(self.parent.folder / REJECTED_ROWS, glob=False).collect_schema()
        return {name: kind for name, kind in schema.items() if name not in ROW}

    @property
    def put_out(self) -> pl.DataFrame:
        """The parent's kept rows that are not kept any longer."""
        return self._of_kept[0]

    @property
    def edited(self) -> int:
        """How many kept rows have another text than in the parent."""
        return self._of_kept[1] + int((self.let_in["reviewed"] == "edited").sum())

    @cached_property
    def _of_kept(self) -> tuple[pl.DataFrame, int]:
        out, edited = [self._empty], 0
        for stored in self._stored(ROWS):
            wanted = self._judged(stored)
            out.append(wanted.filter(pl.col("dropped_by").is_not_null()))
            new = (wanted["reviewed"] == "edited") & wanted["dropped_by"].is_null() & (wanted["id"] != stored["id"])
            edited += int(new.sum())
        return pl.concat(out), edited

    @cached_property
    def let_in(self) -> pl.DataFrame:
        """Rows that were not kept and are now."""
        again = (one.filter(pl.col("dropped_by").is_null()) for one in self._blocks(REJECTED_ROWS))
        return pl.concat([self._empty, *again, self.late])

    @cached_property
    def late(self) -> pl.DataFrame:
        """Of the rows let in, those that only an older version lists, and whose seed is still there."""
        met = {id for name in (ROWS, REJECTED_ROWS) for one in self._stored(name) for id in self._names(one)}
        found = self.parent.verdicts.missing(met)
        if found.is_empty():
            return self._empty
        seed = pl.when(pl.col("generator") == "seed").then("id").otherwise(pl.col("parents").list.first())
        rows = pl.scan_parquet(self.parent.folder / ROWS, glob=False)
        seeds = rows.select(seed.unique()).collect(engine="streaming").to_series()
        found = found.filter(pl.col("parents").list.first().is_in(seeds.implode()))
        judged = self._judged(pl.concat([self._empty, found], how="diagonal"))
        return judged.filter(pl.col("dropped_by").is_null())

    @property
    def _places(self) -> pl.Series:
        """Where in the parent's file the rows let in belong: behind the last of their seed."""
        parents = self.let_in["parents"].list.first()
        seed = pl.when(pl.col("generator") == "seed").then("id").otherwise(pl.col("parents").list.first())
        last = (
            pl.scan_parquet(self.parent.folder / ROWS, glob=False, row_index_name="_at")
            .select("_at", seed.alias("_seed"))
            .filter(pl.col("_seed").is_in(parents.implode()))
            .group_by("_seed")
            .agg(pl.col("_at").max())
            .collect(engine="streaming")
        )
        places = dict(last.iter_rows())
        return pl.Series("_place", [places.get(one, float("inf")) + 0.5 for one in parents], dtype=pl.Float64)

    @property
    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema={**ROW, **self.scores})

    def _names(self, frame: pl.DataFrame) -> set[str]:
        concerned = frame.filter(self.parent.verdicts.concerns())
        return {*concerned["id"], *concerned["edited_from"].drop_nulls()}

    def _stored(self, name: str) -> Iterator[pl.DataFrame]:
        """A file of the parent in blocks, with all columns that the new version has."""
        with pq.ParquetFile(self.parent.folder / name) as file:
            for batch in file.iter_batches(BLOCK):
                yield pl.concat([self._empty, pl.DataFrame(pl.from_arrow(batch))], how="diagonal")

    def _blocks(self, name: str) -> Iterator[pl.DataFrame]:
        yield from map(self._judged, self._stored(name))

    def _judged(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows as they are wanted; an edited one without its scores, which were another text's."""
        verdicts = self.parent.verdicts
        heeded = verdicts.heeded(frame)
        stale = pl.Series(heeded["id"] != frame["id"])
        scored = heeded.with_columns(pl.when(~stale).then(pl.col(name)).alias(name) for name in self.scores)
        return prevailing(verdicts.turned_away(scored), self.guard.exam, self.guard.seeds)
