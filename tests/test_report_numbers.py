"""What a report computes: diversity against its definition, topics, lengths, drops."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augment.report import counts, space
from augment.report.data import _histogram, _labels
from augment.report.diversity import distinct, diversity, self_bleu, tokens_of, vendi
from augment.report.dropped import dropped
from augment.report.gather import Run, gather
from augment.report.variety import variety
from tests.report_pages import make_run, workplace, write_seeds


def bleu_by_definition(texts):
    """Mean BLEU-4 with method 1 of Chen and Cherry, each text against all others, pair by pair."""
    scores = []
    for place, text in enumerate(texts):
        others = texts[:place] + texts[place + 1 :]
        logs = 0.0
        for n in range(1, 5):
            grams = Counter(zip(*(text[start:] for start in range(n)), strict=False))
            counts_ = [Counter(zip(*(other[start:] for start in range(n)), strict=False)) for other in others]
            matched = sum(min(count, max(each[gram] for each in counts_)) for gram, count in grams.items())
            logs += math.log((matched or 0.1) / max(1, sum(grams.values()))) / 4
        near = min((len(other) for other in others), key=lambda each: (abs(each - len(text)), each))
        scores.append(math.exp(logs + min(0.0, 1 - near / len(text))))
    return sum(scores) / len(scores)


def test_self_bleu_is_bleu_against_all_others():
    texts = [
        list("感冒后咳嗽两周"),
        list("感冒后咳嗽三周了"),
        list("血压高吃什么药"),
        list("感冒感冒感冒"),
        list("血压"),
    ]
    assert self_bleu(texts) == pytest.approx(bleu_by_definition(texts), rel=1e-12)
    assert self_bleu([list("一样的句子吧")] * 3) == pytest.approx(1.0)
    assert math.isnan(self_bleu([list("独")]))


def test_distinct_counts_characters_of_chinese_and_words_of_english():
    assert tokens_of("Take 2 pills, 血压高!") == ["take", "2", "pills", "血", "压", "高"]
    assert distinct([["a", "b", "a"], ["a", "b"]], 1) == 2 / 5
    assert distinct([["a", "b", "a"], ["a", "b"]], 2) == 2 / 3
    assert math.isnan(distinct([["a"]], 2))


def test_vendi_counts_unlike_texts():
    assert vendi(["血压高吃什么药"] * 5) == pytest.approx(1.0)
    assert vendi(["感冒", "头疼", "knee", "😀😁"]) == pytest.approx(4.0)
    assert vendi(["感冒", "感冒", "knee", "knee"]) == pytest.approx(2.0)


def test_copies_are_less_diverse_by_every_measure():
    unlike = ["感冒后咳嗽两周", "血压高吃什么药", "How long to rest?", "失眠怎么办呢"]
    less, more = diversity(unlike[:2] * 2), diversity(unlike)
    assert less.distinct_1 < more.distinct_1
    assert less.distinct_2 < more.distinct_2
    assert less.self_bleu > more.self_bleu
    assert less.vendi < more.vendi


def test_topics_part_what_has_nothing_in_common():
    texts = [f"血压{each}血压偏高" for each in "一二三四五六七八"] + [
        f"宝宝{each}宝宝发烧" for each in "一二三四五六七八"
    ]
    fitted = space.fit(texts)
    assert fitted is not None
    vectors = fitted.dense(fitted.sparse(texts))
    found = space.topics(vectors, texts)
    assert len(found.names) == 2
    topics = found.of(vectors)
    assert len(set(topics[:8])) == len(set(topics[8:])) == 1
    assert topics[0] != topics[8]
    assert "血压" in found.names[topics[0]]
    assert "宝宝" in found.names[topics[8]]


def test_texts_without_anything_in_common_have_no_space():
    assert space.fit(["甲", "乙"]) is None


def test_a_histogram_counts_every_value_and_pulls_the_tail_into_the_last_bin():
    values = np.array([*range(1, 101)] * 10 + [90_000], dtype=float)
    rows, whole = _histogram([("seeds", values)])
    assert not whole
    assert sum(row["share"] for row in rows[:-1]) == pytest.approx(1, abs=1e-3)
    assert rows[-1]["to"] < 200
    rows, whole = _histogram([("seeds", np.array([3.0, 3.0]))])
    assert whole
    assert next(row["share"] for row in rows if row["from"] == 3) == 1


def test_labels_as_frequent_as_each_other_stand_in_the_order_of_the_alphabet():
    labels = [f"label {place:02}" for place in range(30)]
    frame = pl.DataFrame({"label": labels[::-1] * 2})
    for _ in range(3):
        chart = _labels([("seeds", frame)])
        assert chart is not None
        assert chart.spec["encoding"]["y"]["sort"] == [*labels[:20], "other labels"]
        (rows,) = chart.spec["datasets"].values()
        assert rows[-1]["rows"] == 20


def a_run(**summary: object) -> Run:
    whole = {"rows_in": 10, "seeds": 8, "exam": 2, "candidates": 40, "kept": 30, "target": 32, **summary}
    return Run("a", Path("a"), {}, "", whole)


def test_the_funnel_ends_with_what_was_kept_and_the_most_frequent_reason_is_first():
    run = a_run(
        rejected={"length": {"too short": 2}, "near_dup": {"copy": 5, "like an earlier one": 1}},
        failures={"HTTP 400": 2},
    )
    funnel = {title: cells[0].text for title, cells in counts.funnel([run]).rows}
    assert funnel == {
        "rows of the source": "10", "− held out as exam": "2", "= seeds": "8", "candidates": "40",
        "− near_dup": "6", "− length": "2", "− engine": "2", "= kept": "30",
    }  # fmt: skip
    assert [title for title, _ in counts.reasons([run]).rows] == [
        "near_dup: copy", "engine: HTTP 400", "length: too short", "near_dup: like an earlier one",
    ]  # fmt: skip
    assert ("candidates dropped", "10 (25.0%)") in counts.tiles(run)
    assert ("variants kept", "30 of 32") in counts.tiles(run)


def test_examples_show_what_was_dropped_beside_its_seed(tmp_path):
    with workplace(tmp_path):
        source = write_seeds(tmp_path / "seeds.jsonl", [f"血压{i}高怎么办，要不要吃药？" for i in range(30)]).name
        make_run(
            tmp_path / "run",
            source=source,
            generators="paraphrase",
            set={"near_dup": {"threshold": 0.2}},
            filters="near_dup",
        )
        run = gather(["run"]).runs[0]
        found = dropped([run])
        rejected = pl.read_parquet("run/rejected.parquet")
        assert len(rejected), "the threshold is low"
        assert found is not None
        counted = {each.title: each.counts for each in found.items}
        expected = {
            f"{by}: {why}": [f"{n:,}"] for by, why, n in rejected.group_by("dropped_by", "reason").len().iter_rows()
        }
        assert counted == expected
        pair = found.items[0].pairs[0]
        row = rejected.filter(pl.col("prompt") == pair["text"]).row(0, named=True)
        seeds = dict(pl.read_parquet("run/curated/train.parquet").select("id", "prompt").iter_rows())
        assert pair["seed"] == seeds[row["parents"][0]]
        assert {name for name, _ in pair["facts"]} >= {"near_dup_jaccard", "made by"}


def test_variety_is_the_same_each_time(tmp_path):
    with workplace(tmp_path):
        source = write_seeds(
            tmp_path / "seeds.jsonl", [f"第{i}个问题：血压{i}高怎么办，要不要吃药？" for i in range(30)]
        ).name
        make_run(tmp_path / "run", source=source, generators="paraphrase", filters="none")
        runs = gather(["run"]).runs
        first, again = variety(runs), variety(runs)
        assert first == again
        titles = [block.title for block in first[0]]
        assert titles == ["Diversity", "Topics", "Coverage", "Map of the prompts"]
        (shown,) = first[0][3].spec["datasets"].values()
        assert {each["set"] for each in shown} == {"seeds", "variants"}
        assert len(shown) == 30 + 90


def test_the_sieve_tells_what_reached_each_filter_and_how_filters_overlap(place):
    source = write_seeds(
        place / "seeds.jsonl", [f"血压{i}高怎么办，要不要吃药？" + "很急。" * i for i in range(30)]
    ).name
    made = make_run(
        place / "run", source=source, n="1x", filters="length,repetition", set={"length": {"max_prompt": 30}}
    )
    run = gather([str(made)]).runs[0]
    told = {each["filter"]: each for each in run.summary["sieve"]}
    table = counts.sieve(run, named=False)
    assert [title for title, _ in table.rows] == ["length", "repetition"]
    cells = table.rows[0][1]
    dropped = sum(count for name, _, count in counts.drops(run) if name == "length")
    assert told["length"]["dropped"] == dropped > 0
    assert cells[1].text.startswith(f"{dropped:,} (") and cells[1].bar == dropped / told["length"]["saw"]
    assert table.rows[1][1][0].text == f"{told['length']['saw'] - dropped:,}"
    assert table.note.startswith("length dropped") == (dropped > told["length"]["saw"] / 2)
