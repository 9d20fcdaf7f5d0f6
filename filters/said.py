"""All that a row says, whatever column it says it in, and all that its seeds said: for filters that look for leaks."""

from __future__ import annotations

import orjson
import polars as pl

COLUMNS = ("prompt", "response", "label", "caption", "context", "span")
"""The columns that hold a row's own words; a conversation has its turns besides."""
_PARENTS = ("parent_prompt", "parent_response", "parent_label", "parent_caption")


def said(frame: pl.DataFrame) -> pl.Series:
    """The words of each row, a line a column ("" of a row without any); of `messages` the turns between the first and
    the last, which are the prompt and the response."""
    told: list[pl.Expr | pl.Series] = [pl.col(name) for name in COLUMNS if frame.schema.get(name) == pl.String]
    if frame.schema.get("messages") == pl.String and frame["messages"].count():
        told.append(frame["messages"].map_elements(_between, return_dtype=pl.String).alias("_between"))
    joined = pl.concat_str(told, separator="\n", ignore_nulls=True) if told else pl.lit("")
    return frame.select(joined.fill_null("").alias("said")).to_series()


def said_before(rows: pl.DataFrame, seeds: pl.DataFrame) -> list[str]:
    """The words of the seeds that each row was made of, all its parents', also where it counts as a new example."""
    if not len(rows):
        return []
    wanted = set(rows["parents"].explode().drop_nulls()) if "parents" in rows.columns else set()
    parents = seeds.filter(pl.col("id").is_in(pl.Series(sorted(wanted), dtype=pl.String).implode()))
    words = dict(zip(parents["id"], said(parents), strict=True))
    names = [name for name in _PARENTS if name in rows.columns]
    beside = rows.select(names).rows() if names else [()] * len(rows)
    named: list[list[str] | None] = rows["parents"].to_list() if "parents" in rows.columns else [None] * len(rows)
    return [
        "\n".join((*filter(None, told), *(words.get(each, "") for each in of or ())))
        for told, of in zip(beside, named, strict=True)
    ]


def _between(messages: str) -> str | None:
    try:
        turns = [each["content"] for each in orjson.loads(messages)]
        return "\n".join(turns[1:-1]) or None
    except (orjson.JSONDecodeError, KeyError, TypeError):  # a file's own column of that name
        return messages
