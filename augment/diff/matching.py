"""Which row of one run is which row of another.

A row's id is a hash of its content and origin, so an edited row has another id and has to be found again:

* rows with one id in both runs are *unchanged*, unless a label, image or caption that is no part of the id differs;
* a seed that is gone and a seed that came are one *changed* seed when they share the folded question (those with the
  same answer first) or, failing that, an answer that no other seed of either run has: one that many seeds share, like
  "yes", tells nothing. One to one, in file order;
* a variant that is gone and one that came are one variant when generator, variant number and seed are the same, a
  changed seed being the same seed. It is *changed* when its content differs; otherwise it is unchanged, and has
  another id because its seed was edited;
* of pictures the pixels are the question and the caption is the answer: a picture with another label, or a picture
  that was touched up under its own caption, is a changed seed;
* everything else is *removed* or *added*. So before = unchanged + changed + removed and after = unchanged + changed +
  added, for seeds and for variants.

Rows with one id in both are besides *rescored* when a score column that both runs have differs, and *remade* when they
were made otherwise (source, split, engine, model, prompt, parameters, seed or reply).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from augment.diff.shifts import Pair
from augment.records import CONTENT
from filters.fold import fold

MADE = ("source", "split", "engine", "model", "revision", "template", "params", "seed", "reply_key")
"""How a row was made: its provenance."""
_BLOCK = 100_000
"""Questions that are folded at once."""


@dataclass(frozen=True)
class Matched:
    """Where the rows of two runs went, as row numbers (`row` of one file, or `old` and `new`)."""

    unchanged: pl.DataFrame
    changed: pl.DataFrame
    removed: pl.DataFrame
    added: pl.DataFrame


def keys_of(rows: Pair, side: int, shared: list[str]) -> pl.DataFrame:
    """One run's rows without their texts: what tells them apart and whether they differ, a line a row.

    `row` is the place in the file, `seed` the id of the seed that a row is or comes from, `answer` the hash of a seed's
    response; `content`, `scores` (the `shared` columns) and `made` are hashes of those columns.

    Raises:
        RunError: the file cannot be read.
    """
    kinds = rows.common_types(shared)
    is_seed = pl.col("generator") == "seed"
    answer = pl.col("caption" if rows.pictured else "response")
    scores = [pl.col(name).cast(kind) for name, kind in kinds.items()]
    frame = rows.read(
        side,
        [
            pl.col("id"),
            pl.when(is_seed).then("id").otherwise(pl.col("parents").list.first()).alias("seed"),
            is_seed.alias("is_seed"),
            pl.col("generator"),
            pl.col("variant"),
            pl.when(is_seed & answer.is_not_null()).then(answer.hash()).alias("answer"),
            pl.struct(_content(rows)).hash().alias("content"),
            (pl.struct(scores).hash() if scores else pl.lit(0, pl.UInt64)).alias("scores"),
            pl.struct(MADE).hash().alias("made"),
        ],
    )
    if frame["id"].n_unique() == len(frame):
        return frame
    turn = pl.int_range(pl.len()).over("id")  # not written by us; still each row is counted once
    return frame.with_columns(pl.when(turn > 0).then(pl.format("{}#{}", "id", turn)).otherwise("id").alias("id"))


def _content(rows: Pair) -> list[pl.Expr]:
    """What a row holds. Of pictures the pixels count: the names of the files come from the rows' ids."""
    if not rows.pictured:
        return [pl.col(name) for name in CONTENT]
    texts = [pl.col(name) for name in CONTENT if name != "image"]
    return [*texts, pl.col("pixels"), pl.col("boxes"), pl.col("mask").is_null().alias("mask")]


def match(rows: Pair, before: pl.DataFrame, after: pl.DataFrame) -> Matched:
    """Where every row went; `before` and `after` are both runs' `keys_of`.

    Raises:
        RunError: the questions of seeds that may have been edited cannot be read.
    """
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
    return Matched(
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
    rows: Pair, before: pl.DataFrame, after: pl.DataFrame, gone: pl.DataFrame, come: pl.DataFrame
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


def _with_question(rows: Pair, side: int, seeds: pl.DataFrame) -> pl.DataFrame:
    """The seeds with `question`, the hash of the folded prompt or of the pixels; null for a null prompt."""
    if rows.pictured:
        return seeds.with_columns(rows.read(side, [pl.col("pixels")], seeds["row"])["pixels"].hash().alias("question"))
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
