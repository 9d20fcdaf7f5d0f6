"""What changed between two runs: rows, labels, lengths, scores, generators, rejections.

A row's id is a hash of its content and origin, so an edited row has another id and has to be found again:

* rows with one id in both runs are *unchanged*, unless a label, image or caption that is no part of the id differs;
* a seed that is gone and a seed that came are one *changed* seed when they share the folded question (those with the
  same answer first) or, failing that, an answer that no other seed of either run has: one that many seeds share, like
  "yes", tells nothing. One to one, in file order;
* a variant that is gone and one that came are one variant when generator, variant number and seed are the same, a
  changed seed being the same seed. It is *changed* when its content differs; otherwise it is unchanged, and has
  another id because its seed was edited;
* everything else is *removed* or *added*. So before = unchanged + changed + removed and after = unchanged + changed +
  added, for seeds and for variants.

Rows with one id in both are besides *rescored* when a score column that both runs have differs, and *remade* when they
were made otherwise (source, split, engine, model, prompt, parameters, seed or reply).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from augment import shifts
from augment.kinship import recipe_changes, relation
from augment.lineage import ROWS
from augment.manifest import manifest_of
from augment.records import CONTENT
from filters.fold import fold

MADE = ("source", "split", "engine", "model", "revision", "template", "params", "seed", "reply_key")
"""How a row was made: its provenance."""
SHOWN = ("id", "parents", "generator", "variant", *CONTENT)
"""The columns of an example."""
_BLOCK = 100_000
"""Questions that are folded at once."""


@dataclass(frozen=True)
class _Matched:
    """Where the rows of two runs went, as row numbers (`row` of one file, or `old` and `new`)."""

    unchanged: pl.DataFrame
    changed: pl.DataFrame
    removed: pl.DataFrame
    added: pl.DataFrame


def compare(old: Path, new: Path, examples: int = 5) -> dict[str, Any]:
    """What changed from the run folder `old` to `new`, as nested plain data ready for JSON.

    `examples` rows are given for each of added, removed and changed, whole: first one of each seed, in file order.
    Memory is some hundred bytes a row: only row numbers, keys and hashes are held.

    Raises:
        RunError: a folder holds no finished run, or a file of it is missing or cannot be read.
    """
    manifests = manifest_of(old), manifest_of(new)
    rows = shifts.Pair(old / ROWS, new / ROWS)
    rejected = shifts.Pair(old / "rejected.parquet", new / "rejected.parquet")
    shared = [name for name in rows.score_columns(0) if name in rows.score_columns(1)]
    before, after = (_keys(rows, side, shared) for side in (0, 1))
    matched = _match(rows, before, after)
    seeds, variants = (_counts(before, after, matched, of_seeds) for of_seeds in (True, False))
    found = {
        "old": _named(old, manifests[0]),
        "new": _named(new, manifests[1]),
        "relation": relation(old, new),
        "recipe": recipe_changes(*manifests),
        "rows": {name: seeds[name] + variants[name] for name in seeds},
        "seeds": seeds,
        "variants": variants,
        "labels": shifts.labels(rows),
        "lengths": shifts.lengths(rows),
        "scores": shifts.scores(rows),
        "generators": shifts.counted(rows, ["generator"], pl.col("generator") != "seed"),
        "rejected": shifts.counted(rejected, ["dropped_by", "reason"]),
        "same_rejected": shifts.same_rows(rejected, ["id", "dropped_by", "reason"]),
    }
    found["same"] = _same(found)
    found["examples"] = {
        "added": [{"new": row} for row in _rows(rows, 1, _first(matched.added, after, examples))],
        "removed": [{"old": row} for row in _rows(rows, 0, _first(matched.removed, before, examples))],
        "changed": _changed(rows, matched.changed, before, examples),
    }
    return found


def _named(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """How a run is called in the comparison."""
    return {"run": folder.resolve().name, "path": str(folder), "version": manifest.get("version") or 1}


def _same(found: dict[str, Any]) -> bool:
    moved = [found["rows"][name] for name in ("added", "removed", "changed", "rescored", "remade")]
    lone = [*found["scores"]["only_old"], *found["scores"]["only_new"]]
    return not any(moved) and not lone and bool(found["same_rejected"])


def _keys(rows: shifts.Pair, side: int, shared: list[str]) -> pl.DataFrame:
    """One run's rows without their texts: what tells them apart and whether they differ, a line a row.

    `row` is the place in the file, `seed` the id of the seed that a row is or comes from, `answer` the hash of a seed's
    response; `content`, `scores` and `made` are hashes of those columns.
    """
    kinds = rows.common_types(shared)
    is_seed = pl.col("generator") == "seed"
    answered = is_seed & pl.col("response").is_not_null()
    scores = [pl.col(name).cast(kind) for name, kind in kinds.items()]
    frame = rows.read(
        side,
        [
            pl.col("id"),
            pl.when(is_seed).then("id").otherwise(pl.col("parents").list.first()).alias("seed"),
            is_seed.alias("is_seed"),
            pl.col("generator"),
            pl.col("variant"),
            pl.when(answered).then(pl.col("response").hash()).alias("answer"),
            pl.struct(CONTENT).hash().alias("content"),
            (pl.struct(scores).hash() if scores else pl.lit(0, pl.UInt64)).alias("scores"),
            pl.struct(MADE).hash().alias("made"),
        ],
    )
    if frame["id"].n_unique() == len(frame):
        return frame
    turn = pl.int_range(pl.len()).over("id")  # not written by us; still each row is counted once
    return frame.with_columns(pl.when(turn > 0).then(pl.format("{}#{}", "id", turn)).otherwise("id").alias("id"))


def _match(rows: shifts.Pair, before: pl.DataFrame, after: pl.DataFrame) -> _Matched:
    kept = before.join(after, on="id", maintain_order="left", suffix="_new").with_columns(
        (pl.col("content") == pl.col("content_new")).alias("same")
    )
    gone = before.join(after, on="id", how="anti", maintain_order="left")
    come = after.join(before, on="id", how="anti", maintain_order="left")
    seeds = _changed_seeds(rows, before, after, gone, come)
    ids = seeds.join(before.select(pl.col("row").alias("old"), pl.col("id").alias("seed")), on="old").join(
        after.select(pl.col("row").alias("new"), pl.col("id").alias("now")), on="new"
    )
    moved = gone.filter(~pl.col("is_seed")).join(
        ids.select("seed", "now"), on="seed", how="left", maintain_order="left"
    )
    moved = moved.with_columns(pl.coalesce("now", "seed").alias("seed")).drop("now")
    pairs, _, _ = _pair(moved, come.filter(~pl.col("is_seed")), ["seed", "generator", "variant"])
    places = [pl.col("row").alias("old"), pl.col("row_new").alias("new")]
    changed = pl.concat(
        [kept.filter(~pl.col("same")).select(places), seeds, pairs.filter(~pl.col("same"))[["old", "new"]]]
    )
    found = pl.concat([seeds, pairs[["old", "new"]]])
    return _Matched(
        unchanged=pl.concat(
            [
                kept.filter("same").select(
                    *places,
                    (pl.col("scores") != pl.col("scores_new")).alias("rescored"),
                    (pl.col("made") != pl.col("made_new")).alias("remade"),
                ),
                pairs.filter("same").select(
                    "old", "new", pl.lit(False).alias("rescored"), pl.lit(False).alias("remade")
                ),
            ]
        ),
        changed=changed,
        removed=gone.select("row").join(found, left_on="row", right_on="old", how="anti"),
        added=come.select("row").join(found, left_on="row", right_on="new", how="anti"),
    )


def _changed_seeds(
    rows: shifts.Pair, before: pl.DataFrame, after: pl.DataFrame, gone: pl.DataFrame, come: pl.DataFrame
) -> pl.DataFrame:
    """The seeds that were edited: `old` and `new`."""
    left, right = gone.filter("is_seed"), come.filter("is_seed")
    if left.is_empty() or right.is_empty():
        return pl.DataFrame(schema={"old": left.schema["row"], "new": left.schema["row"]})
    left, right = _with_question(rows, 0, left), _with_question(rows, 1, right)
    own = _lone_answers(before).join(_lone_answers(after), on="answer", how="full", coalesce=True)
    own = own.filter(pl.col("len").fill_null(1) == 1, pl.col("len_right").fill_null(1) == 1).select("answer")
    by_both, left, right = _pair(left, right, ["question", "answer"])
    by_question, left, right = _pair(left, right, ["question"])
    by_answer, _, _ = _pair(left.join(own, on="answer", how="semi"), right, ["answer"])
    return pl.concat([each[["old", "new"]] for each in (by_both, by_question, by_answer)])


def _lone_answers(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("answer").is_not_null()).group_by("answer").len()


def _with_question(rows: shifts.Pair, side: int, seeds: pl.DataFrame) -> pl.DataFrame:
    """The seeds with `question`, the hash of the folded prompt; null for a null prompt."""
    blocks = []
    for start in range(0, len(seeds), _BLOCK):
        block = seeds.slice(start, _BLOCK)
        texts = rows.read(side, [pl.col("prompt")], block["row"])["prompt"]
        folded = fold(texts)
        blocks.append(block.with_columns(pl.when(folded.is_not_null()).then(folded.hash()).alias("question")))
    return pl.concat(blocks)


def _pair(left: pl.DataFrame, right: pl.DataFrame, on: list[str]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Rows of one key, one to one in file order (`old`, `new`, `same` content), and what is left of each side."""
    turn = pl.int_range(pl.len()).over(on).alias("turn")
    wanted = ["row", "content", *on]
    pairs = (
        left.select(wanted)
        .with_columns(turn)
        .join(right.select(wanted).with_columns(turn), on=[*on, "turn"], maintain_order="left", suffix="_new")
        .select(
            pl.col("row").alias("old"),
            pl.col("row_new").alias("new"),
            (pl.col("content") == pl.col("content_new")).alias("same"),
        )
    )
    rest = left.join(pairs, left_on="row", right_on="old", how="anti", maintain_order="left")
    return pairs, rest, right.join(pairs, left_on="row", right_on="new", how="anti", maintain_order="left")


def _counts(before: pl.DataFrame, after: pl.DataFrame, matched: _Matched, of_seeds: bool) -> dict[str, int]:
    """The account of the seeds, or of the variants."""

    def rows(frame: pl.DataFrame, run: pl.DataFrame, column: str) -> pl.DataFrame:
        kind = run.filter(pl.col("is_seed") == of_seeds).select(pl.col("row").alias(column))
        return frame.join(kind, on=column, how="semi")

    unchanged = rows(matched.unchanged, after, "new")
    return {
        "before": int((before["is_seed"] == of_seeds).sum()),
        "after": int((after["is_seed"] == of_seeds).sum()),
        "unchanged": len(unchanged),
        "added": len(rows(matched.added, after, "row")),
        "removed": len(rows(matched.removed, before, "row")),
        "changed": len(rows(matched.changed, after, "new")),
        "rescored": int(unchanged["rescored"].sum()),
        "remade": int(unchanged["remade"].sum()),
    }


def _first(some: pl.DataFrame, run: pl.DataFrame, examples: int) -> list[int]:
    """The places of the first rows of `some`, one of each seed before the second of any."""
    rows = run.select("row", "seed").join(some, on="row", how="semi", maintain_order="left")
    turn = pl.int_range(pl.len()).over(pl.col("seed").fill_null(""))
    places: list[int] = rows.with_columns(turn.alias("turn")).sort("turn", "row")["row"].head(examples).to_list()
    return places


def _changed(rows: shifts.Pair, pairs: pl.DataFrame, before: pl.DataFrame, examples: int) -> list[dict[str, Any]]:
    places = _first(pairs.select(pl.col("old").alias("row")), before, examples)
    then = dict(pairs.filter(pl.col("old").is_in(places)).iter_rows())
    both = zip(_rows(rows, 0, places), _rows(rows, 1, [then[place] for place in places]), strict=True)
    return [
        {"old": old, "new": new, "fields": [name for name in CONTENT if old[name] != new[name]]} for old, new in both
    ]


def _rows(rows: shifts.Pair, side: int, places: list[int]) -> list[dict[str, Any]]:
    """The rows at those places of the file, in the order asked for."""
    if not places:
        return []
    found = rows.read(side, list(map(pl.col, SHOWN)), pl.Series(sorted(places)))
    lines = {row.pop("row"): row for row in found.iter_rows(named=True)}
    return [lines[place] for place in places]
