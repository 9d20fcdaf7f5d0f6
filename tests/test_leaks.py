"""Replies with personal data and credentials in them: none gets into what is published, and n× is met all the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from augment.engines.echo import answer
from tests.leaks import MADE
from tests.report_pages import everything
from tests.server import serve
from tests.test_pipeline import seeds

_RNG = random.Random(11)
LEAKS = {
    "11010519491231002X": "pii: an identity number",
    "13812345679": "pii: a phone number",
    "wang.fang@hospital.cn": "pii: an e-mail address",
    MADE["GitHub token"][0](_RNG): "secrets: a GitHub token",
    "k7Qw2mRz9x": "secrets: a password",
}
"""What is leaked, and what it is rejected for."""
SAYS = ("身份证号{}", "请打{}", "邮箱{}", "令牌{}", "密码：{}")


def leaking(messages: Iterable[tuple[str, str]], schema: Mapping[str, Any] | None, seed: int) -> str:
    """An echo, of which one in four says one of `LEAKS`, too."""
    said = answer(messages, schema, seed)
    at = seed % 17
    if at >= len(SAYS):
        return said
    quoted = said.rfind('"}')  # where the last text of the JSON ends
    return f"{said[:quoted]}，{SAYS[at].format(list(LEAKS)[at])}{said[quoted:]}"


@pytest.mark.parametrize("generator", ["paraphrase", "dialogue"])
def test_what_replies_leak_is_rejected_by_name_and_made_up_for(augment, place, generator):
    with serve(says="tests.test_leaks:leaking") as server:
        words = ("--llm", "openai:test-model", "--base-url", server.url, "--generators", generator)
        filters = () if generator == "paraphrase" else ("--filters", "pii,secrets")
        ran = augment("text", "--source", seeds(place, 30), "--n", "3x", "--out", "run", *words, *filters)
    assert ran.code == 0, ran.err
    assert not any(leak in cell for leak in LEAKS for cell in cells(pl.read_parquet("run/curated/train.parquet")))
    for name in ("README.md", "summary.json", "manifest.json"):
        assert not any(leak in Path("run", name).read_text("utf-8") for leak in LEAKS)
    assert augment("report", "run").code == 0
    page = everything(Path("run/report.html").read_text("utf-8"))
    assert "not shown: a page is passed on" in page and not any(leak in page for leak in LEAKS)
    rejected = pl.read_parquet("run/rejected.parquet", glob=False)
    found = rejected.select(pl.format("{}: {}", "dropped_by", "reason").alias("why"), "prompt", "response", "messages"
        if "messages" in rejected.columns else pl.lit(None).alias("messages"))  # fmt: skip
    for leak, why in LEAKS.items():
        hit = found.filter(pl.any_horizontal(pl.col(name).cast(pl.String).str.contains(leak, literal=True)
            for name in ("prompt", "response", "messages")))  # fmt: skip
        by = hit.filter(~pl.col("why").str.starts_with("reply: "))
        assert why in set(by["why"]) <= set(LEAKS.values()), leak
    sifted = rejected.filter(pl.col("dropped_by") != "reply")  # whose detail is the answer that was no row
    beside = sifted.drop("prompt", "response", "messages", strict=False)
    assert not any(leak in cell for leak in LEAKS for cell in cells(beside))
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["kept"] == 3 * 30


def cells(frame: pl.DataFrame) -> list[str]:
    """Every text in a frame, of any column."""
    return [str(cell) for row in frame.iter_rows() for cell in row if cell is not None]
