"""The run folder: curated, rejected, summary, card, and the manifest last. No manifest, no dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
import polars as pl

from augment import __version__
from augment.dataset_card import dataset_card
from augment.errors import RunError
from augment.images.gallery import FOLDER as PICTURES
from augment.images.gallery import METADATA, Gallery
from augment.images.store import Pictures, pictures
from augment.lock import LOCK, Lock
from augment.manifest import MANIFEST, digest_of, manifest_of, settle
from augment.plan import Plan
from augment.records import POSITION, SCHEMA, VERDICT
from augment.review.decisions import REVIEWED_FILE
from augment.summary import Summary
from augment.terms import terms_of

BLOCK = 2000
"""About how many rows are in memory at once while the files are written."""


def with_places(seeds: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """Seeds with the columns of `POSITION`: each before its candidates."""
    return seeds.with_columns(places.alias("_position"), pl.lit(-1, pl.Int64).alias("_candidate"))


def _as_it_is(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


@dataclass(frozen=True)
class Edition:
    """What a run folder is to hold: rows in blocks, `columns` besides those of every dataset, and what tells of them.

    `manifest` lacks only the files' hashes; `reviewed` are the decisions of people that the rows follow, if any;
    `pictures` is where the rows' pictures are, if they have some.
    """

    columns: dict[str, Any]
    curated: Callable[[], Iterator[pl.DataFrame]]
    rejected: Callable[[], Iterator[pl.DataFrame]]
    summary: Summary
    card: str
    manifest: dict[str, Any]
    reviewed: bytes = b""
    pictures: Pictures | None = None


@dataclass
class Workshop:
    """A run folder while it is being made: locked, with each sifted shard kept on disk."""

    folder: Path
    lock: Lock
    parts: list[tuple[int, int, Path]] = field(default_factory=list)

    @classmethod
    def open(cls, plan: Plan) -> Self:
        """Take the run folder for this process.

        Raises:
            RunError: another process holds it, or it holds something else.
        """
        return cls.take(plan.out, plan.fingerprint, plan.recipe.overwrite)

    @classmethod
    def take(cls, folder: Path, fingerprint: str, overwrite: bool = False) -> Self:
        """Take a folder for the run of that fingerprint, over another run only with `overwrite`.

        Raises:
            RunError: as `open`.
        """
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(folder, fingerprint, overwrite)
            lock = Lock.take(folder)
            _refuse_foreign(
                folder, fingerprint, overwrite
            )  # once more: somebody may have published while we were not holding it
            lock.sign()
            shutil.rmtree(folder / ".work", ignore_errors=True)
            (folder / ".work").mkdir()
        return cls(folder, lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.folder / ".work", ignore_errors=True)
        self.lock.release()

    def keep(self, sifted: pl.DataFrame) -> None:
        """Put some sifted candidates on disk until all are there."""
        path = self.folder / ".work" / f"{len(self.parts):06}.parquet"
        with _writing(self.folder):
            sifted.write_parquet(path, compression="lz4")
        positions = sifted["_position"].to_numpy()
        self.parts.append((int(positions.min()), int(positions.max()), path))

    def kept(self) -> pl.DataFrame:
        """All kept candidates, in the order in which they will be published."""
        frames = [pl.scan_parquet(path, glob=False).filter(pl.col("dropped_by").is_null()) for _, _, path in self.parts]
        return pl.concat(frames, how="diagonal").sort(*POSITION).collect()

    def rejudge(self, judged: pl.DataFrame) -> None:
        """Put candidates in the place of what was kept on disk of them: with the verdict and scores they have here."""
        for _, _, path in self.parts:
            held = pl.read_parquet(path, glob=False)
            here = judged.join(held.select(list(POSITION)), on=list(POSITION), how="semi")
            rest = held.join(here.select(list(POSITION)), on=list(POSITION), how="anti")
            with _writing(self.folder):
                pl.concat([rest, here], how="diagonal").write_parquet(path, compression="lz4")

    def publish(self, plan: Plan, summary: Summary) -> Path:
        """Write every file beside its place, rename it, and write the manifest last.

        Raises:
            RunError: the folder cannot be written to, or the disk is full.
        """
        manifest = {
            "augment": __version__,
            **({"modality": plan.modality, "made_with": plan.made_with} if plan.pictured else {}),
            "name": plan.name,
            "version": plan.version,
            "parent": plan.parent and plan.parent.named(),
            "fingerprint": plan.fingerprint,
            "line": plan.line,
            "content": plan.content,
            "source": {"name": plan.source.name, "fingerprint": plan.source.fingerprint},
            "recipe": plan.recipe.decisive(),
            "filters": plan.chain.made_with(plan.context()),
            "terms": terms_of(plan),
        }
        return self.write(
            Edition(
                columns=plan.columns,
                curated=lambda: self._curated(plan),
                rejected=lambda: self._rejected(plan),
                summary=summary,
                card=dataset_card(plan, summary),
                manifest=manifest,
                reviewed=plan.verdicts.lines(),
                pictures=pictures() if plan.pictured else None,
            )
        )

    def write(self, edition: Edition) -> Path:
        """Write an edition's files, each beside its place before it is renamed, and its manifest last.

        Raises:
            RunError: the folder cannot be written to, or the disk is full.
        """
        with _writing(self.folder):
            return self._written(edition)

    def _written(self, edition: Edition) -> Path:
        (self.folder / MANIFEST).unlink(missing_ok=True)
        (self.folder / "curated").mkdir(exist_ok=True)
        gallery = Gallery(self.folder, edition.pictures) if edition.pictures is not None else None
        hang = gallery.hang if gallery else _as_it_is
        self._write_rows("curated/train.parquet", {**SCHEMA, **edition.columns}, edition.curated, hang)
        self._write_rows("rejected.parquet", {**SCHEMA, **VERDICT, **edition.columns}, edition.rejected)
        pretty = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        self._write("summary.json", orjson.dumps(edition.summary.to_dict(), option=pretty))
        self._write("README.md", edition.card.encode())
        names = ["curated/train.parquet", "rejected.parquet", "summary.json", "README.md"]
        if edition.reviewed:
            self._write(REVIEWED_FILE, edition.reviewed)
            names.append(REVIEWED_FILE)
        else:
            (self.folder / REVIEWED_FILE).unlink(missing_ok=True)
        record = dict(edition.manifest)
        if gallery:
            record["pictures"] = gallery.close()
            names += [f"{PICTURES}/{METADATA}"] if gallery.hung else []
        record["files"] = {name: digest_of(self.folder / name) for name in names}
        self._write(MANIFEST, orjson.dumps(record, option=pretty))
        return self.folder

    def blocks(self, positions: int, step: int, content: dict[str, Any]) -> Iterator[tuple[int, pl.DataFrame]]:
        """All candidates in order, `step` of the `positions` at a time: the first of those, and their candidates.

        `content` are the columns of a block without any.
        """
        for start in range(0, positions, step):
            end = start + step
            paths = [path for low, high, path in self.parts if low < end and high >= start]
            if paths:
                here = pl.col("_position").is_between(start, end - 1)
                frames = [pl.scan_parquet(path, glob=False).filter(here).collect() for path in paths]
                yield start, pl.concat(frames, how="diagonal").sort(*POSITION)
            else:
                yield start, pl.DataFrame(schema={**content, **POSITION})

    def _blocks(self, plan: Plan) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """A stretch of seeds and all their candidates, in order, then the next."""
        step = max(1, BLOCK * len(plan.seeds) // (len(plan.seeds) + plan.total))
        content = {**SCHEMA, **VERDICT, **plan.content_columns}
        for start, rows in self.blocks(len(plan.seeds), step, content):
            yield plan.seeds.slice(start, step), rows

    def _curated(self, plan: Plan) -> Iterator[pl.DataFrame]:
        first = 0
        for seeds, rows in self._blocks(plan):
            kept = rows.filter(pl.col("dropped_by").is_null())
            if not plan.recipe.without_seeds:
                places = pl.int_range(first, first + len(seeds), dtype=pl.Int64, eager=True)
                shown = with_places(seeds, places).filter(~pl.col("id").is_in(_replaced(plan, kept).implode()))
                kept = pl.concat([shown, kept], how="diagonal").sort(*POSITION)
            first += len(seeds)
            yield kept

    def _rejected(self, plan: Plan) -> Iterator[pl.DataFrame]:
        yield plan.source.rejected
        for _, rows in self._blocks(plan):
            yield rows.filter(pl.col("dropped_by").is_not_null())

    def _write_rows(
        self,
        name: str,
        schema: dict[str, Any],
        frames: Callable[[], Iterator[pl.DataFrame]],
        finish: Callable[[pl.DataFrame], pl.DataFrame] = _as_it_is,
    ) -> None:
        import pyarrow.parquet as pq

        target = self.folder / name
        beside = target.with_suffix(".tmp")
        empty = pl.DataFrame(schema=schema)
        with pq.ParquetWriter(beside, empty.to_arrow().schema, compression="zstd") as writer:
            for frame in frames():
                if len(frame):
                    whole = pl.concat([empty, frame], how="diagonal").select(list(schema))
                    writer.write_table(finish(whole).to_arrow())
        settle(beside, target)

    def _write(self, name: str, content: bytes) -> None:
        target = self.folder / name
        beside = target.with_name(target.name + ".tmp")
        beside.write_bytes(content)
        settle(beside, target)


def _replaced(plan: Plan, kept: pl.DataFrame) -> pl.Series:
    """The seeds that are in the dataset with a label that they were given, instead of without."""
    names = [each.name for each in plan.generators if getattr(each, "annotates", False)]
    return kept.filter(pl.col("generator").is_in(names))["parents"].list.first()


def _refuse_foreign(folder: Path, fingerprint: str, overwrite: bool) -> None:
    """Nothing that we did not write is ever written over, and no other recipe's dataset unasked."""
    ours = (folder / LOCK).exists()
    if not ours and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty and not a run folder; choose another --out")
    if (folder / MANIFEST).is_file() and not overwrite:
        other = manifest_of(folder)
        if other["fingerprint"] != fingerprint:
            raise RunError(
                f"{folder} holds another run ({other['source']['name']}, {other['fingerprint'][:8]}); "
                "choose another --out, or add --overwrite"
            )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what a full or read-only disk raises into one line."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise RunError(f"cannot write to the run folder {folder}: {why}; choose another --out or make room") from None
