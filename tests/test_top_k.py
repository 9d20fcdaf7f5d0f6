from __future__ import annotations

import polars as pl
import pytest

from augment.errors import RecipeError
from filters.chain import chain_of
from filters.top_k import TopK, terms
from tests.filter_rows import context_of, rows, scored

WORST = "not among the best"


def judged(*lines):
    """Rows of (id, seed, label, judge_score, perplexity_value)."""
    context = context_of([("失眠怎么办", None), ("头疼怎么办", None)])
    frame = rows(context, *((seed, f"问题{at}", None) for at, (_, seed, *_) in enumerate(lines)))
    ids, _, labels, judge, perplexity = zip(*lines, strict=True)
    return frame.with_columns(
        pl.Series("id", ids),
        pl.Series("label", labels, dtype=pl.String),
        pl.Series("judge_score", judge, dtype=pl.Float64),
        pl.Series("perplexity_value", perplexity, dtype=pl.Int64),
    )


FRAME = judged(
    ("a", "s0", "x", 3.0, 10),
    ("b", "s0", "x", 5.0, 20),
    ("c", "s0", "y", None, 30),
    ("d", "s1", "y", 5.0, 1000),
    ("e", "s1", "y", 1.0, 5),
    ("f", "s1", None, 5.0, 40),
)


def kept(each, frame=FRAME):
    return "".join(sorted(scored(each, frame, context_of()).filter(pl.col("reason").is_null())["id"]))


@pytest.mark.parametrize(
    ("by", "per", "k", "expected"),
    [
        ("judge_score", "all", 2, "bd"),
        ("judge_score", "all", 4, "abdf"),
        ("judge_score", "seed", 1, "bd"),
        ("judge_score", "seed", 2, "abdf"),
        ("judge_score", "label", 1, "bdf"),
        ("-perplexity_value", "all", 2, "ae"),
        ("perplexity_value*-1", "all", 2, None),
        ("judge_score - perplexity_value", "all", 1, "b"),
        ("judge_score*0.1-perplexity_value", "all", 2, "ae"),
        ("judge_score", "all", 6, "abcdef"),
    ],
)
def test_the_best_are_kept(by, per, k, expected):
    if expected is None:
        with pytest.raises(RecipeError, match="cannot read"):
            terms(by)
    else:
        assert kept(TopK(by=by, per=per, k=k)) == expected


def test_ties_go_to_the_smaller_id_whatever_the_order():
    for seed in range(5):
        assert kept(TopK(by="judge_score", per="all", k=2), FRAME.sample(fraction=1, shuffle=True, seed=seed)) == "bd"


def test_a_mix_adds_ranks_so_that_an_outlier_does_not_rule_it():
    out = scored(TopK(by="judge_score-perplexity_value*2", per="all"), FRAME, context_of())
    # judge: e 0, a .25, b d f share .75 of the five that have one; perplexity e 5 < a < b < c < f < d
    assert dict(out.select("id", "top_k_score").iter_rows()) == pytest.approx(
        {"a": 0.25 + 1.6, "b": 0.75 + 1.2, "c": 0 + 0.8, "d": 0.75 + 0, "e": 0 + 2, "f": 0.75 + 0.4}
    )


def test_scores_and_ranks_do_not_depend_on_k():
    few, many = (scored(TopK(by="judge_score", k=k), FRAME, context_of()) for k in (1, 3))
    assert few.drop("reason").equals(many.drop("reason"))


def test_an_unknown_score_is_told_with_those_that_there_are():
    with pytest.raises(RecipeError, match=r"^top_k.by: no score 'juge_score'; known: judge_score, perplexity_value$"):
        TopK(by="juge_score").score(FRAME, context_of())
    with pytest.raises(RecipeError, match="no score 'prompt'"):
        TopK(by="prompt").score(FRAME, context_of())


@pytest.mark.parametrize("by", ["a b", "a*", "+", "2*a*3", "a+", "*a", "a**2", "a;b", "__import__('os')"])
def test_what_cannot_be_read_is_told(by):
    with pytest.raises(RecipeError, match="top_k.by: cannot read"):
        chain_of(["top_k"], {"top_k": {"by": by}})


def test_without_a_score_to_go_by_it_is_refused_before_anything_runs():
    with pytest.raises(RecipeError, match="filter 'top_k' needs a score; add --set top_k.by=COLUMN"):
        chain_of(["top_k"])


def test_it_is_left_out_of_sifting_and_chooses_in_the_end():
    chain = chain_of(["similarity", "top_k"], {"top_k": {"by": "-similarity_score", "k": 1}})
    context = context_of([("饭后总反酸烧心怎么办", None)])
    frame = rows(context, ("s0", "饭后老反酸烧心怎么办", None), ("s0", "吃完饭就返酸水，胸口烧，怎么办", None))
    sifted = chain.sift(frame, context)
    assert sifted["dropped_by"].null_count() == 2 and sifted["top_k_rank"].null_count() == 2
    chosen = chain.select(sifted, context)
    assert chosen["dropped_by"].to_list() == ["top_k", None] and chosen["reason"].to_list() == [WORST, None]


def test_an_empty_frame_keeps_the_declared_types():
    assert scored(TopK(by="judge_score"), FRAME.clear(), context_of()).height == 0
