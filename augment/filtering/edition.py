"""A dataset sifted anew, published: the rows that are kept, those that are not with the reason, and the accounts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from augment import __version__
from augment.dataset_card import file_card, sifted_card
from augment.filtering.dataset import BEFORE, Dataset, sifted
from augment.manifest import MANIFEST, manifest_of
from augment.places import RUNS
from augment.publish import Edition, Workshop, with_places
from augment.records import SCHEMA, VERDICT, fingerprint
from augment.review.decisions import REVIEWED_FILE
from augment.summary import Summary, Tally, account, checks_of
from filters import Context
from filters.chain import Chain

STEP = 20_000
"""About how many rows are in memory at once while the files are written."""


@dataclass(frozen=True)
class Filtered:
    """What came of sifting: the folder and its summary; `new` is false where the folder held the same already."""

    path: Path
    summary: dict[str, Any]
    new: bool = True


def filtered(
    dataset: Dataset,
    chain: Chain,
    tally: Tally,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    check: Callable[[], None] = lambda: None,
    context: Context | None = None,
) -> Filtered:
    """Sift all rows and publish them as a run folder: `out`, or one under runs/.

    `tally` can be watched meanwhile; `check` is called between two blocks, and may raise; `context` is the dataset's.

    Raises:
        RunError: the folder is held by another process or is not ours, or cannot be written.
        AugmentError: whatever a filter raises that a user can put right.
    """
    started = time.perf_counter()
    context = context or dataset.context()
    identity = fingerprint("filter", dataset.digest, chain.made_with(context), sorted(context.exam["id"]))
    folder = out or RUNS / f"{dataset.name.replace('/', '-')}-{identity[:8]}"
    if (folder / MANIFEST).is_file() and manifest_of(folder)["fingerprint"] == identity:
        return Filtered(folder, orjson.loads((folder / "summary.json").read_bytes()), new=False)
    tally.target = dataset.positions if not dataset.summary else int(dataset.summary["candidates"])
    bad = 0
    with Workshop.take(folder, identity, overwrite) as workshop:
        for block in sifted(dataset, chain, context):
            check()
            workshop.keep(block)
            readable = block.filter(pl.col("dropped_by").ne_missing("source"))
            bad += len(block) - len(readable)
            tally.add(readable)
            tally.sieve.add(chain, readable)
        if chain.selections and tally.kept:
            chosen = chain.select(workshop.kept(), context)
            workshop.rejudge(chosen)
            tally.put_out(chosen)
            tally.sieve.put_out(chain, chosen)
        counts = {
            **_counts(dataset, tally, bad, workshop),
            **account(tally, chain),
            "filtered": _moves(dataset, workshop),
        }
        counts |= checks_of(context)
        counts["seconds"] = round(time.perf_counter() - started, 3)
        rows = _Rows(dataset, chain, workshop)
        workshop.write(
            Edition(
                columns={**dataset.columns, **chain.scores},
                curated=rows.curated,
                rejected=rows.rejected,
                summary=Summary(counts),
                card=_card(dataset, counts, chain),
                manifest=_manifest(dataset, chain, context, identity),
                reviewed=_reviewed(dataset),
            )
        )
    return Filtered(folder, counts)


@dataclass(frozen=True)
class _Rows:
    """What the files hold, in order: each seed, then its candidates; of a file its rows."""

    dataset: Dataset
    chain: Chain
    workshop: Workshop

    def curated(self) -> Iterator[pl.DataFrame]:
        for first, rows in self._blocks():
            kept = rows.filter(pl.col("dropped_by").is_null())
            seeds = self._seeds.filter(pl.col("_position").is_between(first, first + self._step - 1))
            yield pl.concat([seeds, kept], how="diagonal").sort("_position", "_candidate")

    def rejected(self) -> Iterator[pl.DataFrame]:
        yield self.dataset.lost
        for _, rows in self._blocks():
            yield rows.filter(pl.col("dropped_by").is_not_null())

    @cached_property
    def _seeds(self) -> pl.DataFrame:
        """The seeds that are published, each in its place before its candidates."""
        owners = self.dataset.owners
        known = {} if owners is None else {id: place for place, id in enumerate(owners)}
        places = pl.Series([known[id] for id in self.dataset.seeds["id"]], dtype=pl.Int64)
        return with_places(self.dataset.seeds, places)

    @cached_property
    def _step(self) -> int:
        rows = int(_parts(self.workshop).select(pl.len()).collect().item())
        return max(1, STEP * self.dataset.positions // max(1, len(self.dataset.seeds) + rows))

    def _blocks(self) -> Iterator[tuple[int, pl.DataFrame]]:
        content = {**SCHEMA, **self.dataset.columns, **self.chain.scores, **VERDICT}
        return self.workshop.blocks(self.dataset.positions, self._step, content)


def _parts(workshop: Workshop, *columns: str) -> pl.LazyFrame:
    """Those columns of every row on disk."""
    names = [*columns, "_position"]
    return pl.concat([pl.scan_parquet(path, glob=False).select(names) for _, _, path in workshop.parts])


def _counts(dataset: Dataset, tally: Tally, bad: int, workshop: Workshop) -> dict[str, Any]:
    """What the summary says of what went in."""
    if dataset.summary:
        return {**dataset.summary, "carried": 0, "rounds": 0, "seeds_short": _short(dataset, workshop)}
    nothing = dict.fromkeys(("seeds", "exam", "unused", "carried", "rounds"), 0)
    rows = {"rows_in": tally.candidates + bad, "source_rejected": bad, "target": tally.candidates}
    return {"source": dataset.name, "columns": dict(dataset.renamed), **rows, **nothing, "seeds_short": []}


def _short(dataset: Dataset, workshop: Workshop) -> list[dict[str, Any]]:
    """The seeds with fewer variants than their share; of a total nobody has one."""
    n = str((dataset.manifest.get("recipe") or {}).get("n", ""))
    before: list[dict[str, Any]] = list(dataset.summary.get("seeds_short", []))
    if not n.endswith("x") or dataset.owners is None:
        return before
    target, asked = int(n[:-1]), {each["id"]: each["candidates"] for each in before}
    counted = (
        _parts(workshop, "dropped_by")
        .group_by("_position")
        .agg(pl.col("dropped_by").is_null().sum().alias("kept"), pl.len().alias("candidates"))
        .collect()
    )
    found = {position: (kept, candidates) for position, kept, candidates in counted.iter_rows()}
    lines = [each for each in before if each["id"] not in set(dataset.owners)]
    for position, id in enumerate(dataset.owners):
        kept, candidates = found.get(position, (0, 0))
        if kept < target:
            lines.append({"id": id, "target": target, "kept": kept, "candidates": asked.get(id, candidates)})
    return lines


def _moves(dataset: Dataset, workshop: Workshop) -> dict[str, Any]:
    """Where the rows come from, and how many came in and went out since they were published there."""
    now = pl.col("dropped_by").is_null()
    moved = (
        _parts(workshop, "dropped_by", BEFORE)
        .select((now & ~pl.col(BEFORE)).sum().alias("let_in"), (~now & pl.col(BEFORE)).sum().alias("put_out"))
        .collect()
        .row(0, named=True)
    )
    return {"from": dataset.manifest["parent"]["name"], **moved} if "parent" in dataset.manifest else {}


def _manifest(dataset: Dataset, chain: Chain, context: Context, identity: str) -> dict[str, Any]:
    """What the manifest says: as before, but for the line of versions, to which a dataset sifted by hand is no heir."""
    told = {**dataset.manifest, "augment": __version__, "name": dataset.name, "fingerprint": identity}
    told |= {"version": int(dataset.manifest.get("version") or 0) + 1, "line": None, "content": None}
    return {**told, "filters": chain.made_with(context)}


def _card(dataset: Dataset, counts: dict[str, Any], chain: Chain) -> str:
    names = [each.name for each in chain.filters]
    if dataset.folder is None:
        return file_card(dataset.name, counts, names)
    card = (dataset.folder / "README.md").read_text("utf-8")
    if not dataset.summary["seeds"]:
        return file_card(dataset.name, counts, names)
    return sifted_card(card, dict(dataset.summary), counts, dataset.folder.resolve().name, names)


def _reviewed(dataset: Dataset) -> bytes:
    """The decisions of people that the rows follow."""
    path = dataset.folder / REVIEWED_FILE if dataset.folder else None
    return path.read_bytes() if path is not None and path.is_file() else b""
