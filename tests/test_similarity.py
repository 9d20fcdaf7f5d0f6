from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from filters import cost_of
from filters.fold import fold
from filters.similarity import Similarity, similarity
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored
from tests.server import embedding, serve

CLOSE, FAR = "too like its parent", "unrelated to its parent"


@pytest.mark.parametrize(
    ("parent", "child", "reason"),
    [
        ("饭后总反酸烧心怎么办", "饭后总反酸烧心，怎麼辦？", CLOSE),
        ("饭后总反酸烧心怎么办", "饭后老反酸烧心怎么办", None),
        ("饭后总反酸烧心怎么办", "每次吃完饭胃里就往上返酸水，胸口火辣辣的，该咋处理", None),
        ("失眠怎么办", "晚上总是睡不着，有什么好办法？", None),
        ("带状疱疹会传染给家里人吗", "我爸得了缠腰龙，跟他住一起会不会被传上", None),
        ("带状疱疹会传染给家里人吗", "今天股市大涨，明天买什么基金", FAR),
        ("Can I drink alcohol with high blood pressure?", "I have hypertension; is a beer OK?", None),
    ],
)
def test_a_new_question_is_neither_its_parent_nor_unrelated(parent, child, reason):
    context = context_of([(parent, None)])
    assert reasons(Similarity(), rows(context, ("s0", child, None)), context) == [reason]


def test_a_new_answer_may_draw_on_the_question():
    context = context_of([("高血压患者能不能喝酒", "建议戒掉。")])
    frame = rows(
        context,
        ("s0", "高血压患者能不能喝酒", "高血压患者最好滴酒不沾，以免血压波动。"),
        ("s0", "高血压患者能不能喝酒", "今天股市大涨，科技板块领先，成交量放大，明天关注半导体。"),
    )
    assert reasons(Similarity(), frame, context) == [None, FAR]


def test_rows_without_a_parent_or_a_change_have_no_score():
    context = context_of([("失眠怎么办", None)])
    out = scored(Similarity(), rows(context, (None, "头疼", None), ("s0", "失眠怎么办", None)), context)
    assert out["similarity_score"].to_list() == [None, None] and out["reason"].to_list() == [None, None]


def test_scores_are_those_of_each_row_alone():
    """Of rows with the same parents, texts in several places, texts without a letter, and some missing."""
    rng, seeds = random.Random(6), [*sample()[:6], ("？！", None), ("怎么办", "怎么办")]
    pool = ["".join(rng.choices("怎么办头疼a1ＡＢ。？ ", k=rng.randint(0, 30))) for _ in range(30)]
    pool += [text for row in seeds for text in row if text]
    made = [(rng.choice((None, *range(len(seeds)))), rng.choice(pool), rng.choice((*pool, None))) for _ in range(400)]
    texts = [(None if at is None else f"s{at}", *each) for at, *each in made]
    texts += [(f"s{at}", prompt, rng.choice(pool)) for at, (prompt, _) in enumerate(seeds)]
    out = scored(Similarity(), rows(context := context_of(seeds), *texts), context)

    def alone(row: dict[str, str | None], left: str | None, right: str | None, **more: Any) -> float | None:
        both = row[left] if left else None, row[right] if right else None
        return None if None in both else similarity(*(fold(pl.Series([each])) for each in both), **more)[0]

    known = pl.concat_str("parent_response", "parent_prompt", separator="\n").alias("known")
    for row in out.with_columns(known).to_dicts():
        new = row["changed_fields"]
        changed = "changed" if new and row["parent_changed"] is not None else None
        assert row["similarity_score"] == alone(row, changed, "parent_changed")
        question = "prompt" if changed and "prompt" in new else None
        assert row["similarity_prompt"] == alone(row, question, "parent_prompt", n=1, of_shorter=True)
        answer = "response" if "response" in new and row["parent_response"] is not None else None
        assert row["similarity_response"] == alone(row, answer, "known", of_shorter=True)
    assert all(0 < out[name].null_count() < len(out) for name in Similarity.scores)


def test_similarity_is_dice_over_counted_bigrams():
    chance = random.Random(0)
    pairs = [["".join(chance.choices("好的吗a𠮷", k=chance.randrange(1, 30))) for _ in "ab"] for _ in range(200)]
    expected = []
    for left, right in pairs:
        ours, theirs = (Counter(zip(text, text[1:] + "\0", strict=True)) for text in (left, right))
        expected.append(2 * (ours & theirs).total() / (ours.total() + theirs.total()))
    left, right = zip(*pairs, strict=True)
    assert similarity(pl.Series(left), pl.Series(right)).tolist() == pytest.approx(expected)


def test_a_hundred_thousand_equal_characters_are_compared():
    assert similarity(pl.Series(["好" * 100_000]), pl.Series(["好" * 100_000 + "坏"]))[0] > 0.99
    assert similarity(pl.Series(["好" * 100_000]), pl.Series(["坏" * 100_000]))[0] == 0


@pytest.mark.parametrize("texts", [sample, chbench])
def test_one_replaced_character_in_a_real_question_is_not_a_copy(texts):
    shorter = [each for each in texts() if len(each[0]) <= 60 and each[0][len(each[0]) // 2] >= "一"]
    context = context_of(shorter)
    swapped = [(f"s{at}", q[: len(q) // 2] + "某" + q[len(q) // 2 + 1 :], a) for at, (q, a) in enumerate(shorter)]
    assert set(reasons(Similarity(), rows(context, *swapped), context)) == {None}


def test_with_a_server_it_is_the_cosine_of_its_vectors(monkeypatch, tmp_path):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))
    context = context_of([("失眠怎么办", "规律作息。"), ("高血压能喝酒吗", None)])
    frame = rows(
        context,
        ("s0", "怎么办，失眠", "规律作息。"),
        ("s0", "失眠怎么办", "失眠规律作息。"),
        ("s1", "今天股市大涨", None),
        (None, "头疼", None),
        ("s0", "失眠怎么办", "规律作息。"),
    )
    with serve() as server:
        each = Similarity(embedder="openai:test-model", base_url=server.url, lowest=0.3, highest=0.9)
        out = scored(each, frame, context)

    def cosine(left, right):
        ours, theirs = np.array(embedding(left)), np.array(embedding(right))
        return pytest.approx(ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs)), abs=1e-3)

    assert out["similarity_score"].to_list() == [
        cosine("怎么办，失眠", "失眠怎么办"),
        cosine("失眠规律作息。", "规律作息。"),
        cosine("今天股市大涨", "高血压能喝酒吗"),
        None,
        None,
    ]
    assert out["similarity_prompt"].to_list() == [
        out["similarity_score"][0],
        None,
        out["similarity_score"][2],
        None,
        None,
    ]
    assert out["similarity_response"][1] == cosine("失眠规律作息。", "规律作息。\n失眠怎么办")
    assert out["reason"].to_list()[:3] == ["too like its parent", None, FAR]


def test_it_costs_what_its_embedder_costs():
    assert [cost_of(each) for each in (Similarity(), Similarity(embedder="ngrams"), Similarity(embedder="a/b"))] == [
        "row",
        "row",
        "model",
    ]
