from __future__ import annotations

import polars as pl
import pytest

from augment.errors import RecipeError
from augment.records import SCHEMA, VERDICT
from filters import COSTS, DEFAULT, DEFAULTS, TABLE, cost_of, modalities_of
from filters.chain import PICTURED, Chain, chain_of, chain_of_record
from tests.filter_rows import context_of, rows, sample
from tests.filtering.selection import First
from tests.images import picture_rows

SEEDS = [
    ("感冒后干咳两周还没好，正常吗", "多半是气道还敏感，慢慢会好；咳血、胸痛要尽快就医。"),
    ("失眠怎么办", "规律作息。"),
]
WORKING = ("parent_prompt", "parent_response", "changed_fields", "changed", "parent_changed")


def variants(context, *texts):
    return rows(context, *texts).drop(WORKING)


def test_every_row_comes_back_in_order_with_all_scores_and_a_verdict():
    context = context_of(SEEDS)
    chain = chain_of(["default"])
    texts = [("s0", "疼", SEEDS[0][1]), ("s0", "着凉以后一直干咳，14天了还不见好，要紧吗", SEEDS[0][1])]
    out = chain.sift(variants(context, *texts), context)
    assert out["id"].to_list() == ["v0", "v1"] and out["dropped_by"].to_list() == ["length", None]
    assert out.columns == [*SCHEMA, *chain.scores, *VERDICT]
    assert {name: out.schema[name] for name in chain.scores} == chain.scores


def test_a_dropped_row_has_the_scores_of_every_row_filter_and_of_no_other():
    context = context_of(SEEDS)
    chain = chain_of(["default"])
    out = chain.sift(variants(context, ("s0", "疼", SEEDS[0][1])), context)
    assert out["length_prompt"][0] == 1 and out["near_dup_jaccard"][0] is None
    assert out["similarity_score"][0] is not None


def test_every_reason_of_a_row_is_told_the_first_one_decides():
    context = context_of(SEEDS)
    chain = chain_of(["default"])
    frame = variants(context, ("s0", "吃" * 40, SEEDS[0][1]), ("s0", "着凉后干咳，14天了还不见好，要紧吗", SEEDS[0][1]))
    out = chain.sift(frame, context)
    told = chain.reasons(out).to_list()
    assert told[1] == [] and out["dropped_by"][1] is None
    assert told[0][0] == f"{out['dropped_by'][0]}: {out['reason'][0]}" == "repetition: repeats a phrase over and over"
    assert "similarity: unrelated to its parent" in told[0][1:]


def test_a_chain_is_in_the_order_of_cost():
    chain = chain_of(["near_dup", "exact_dup", "length", "contamination"])
    assert [each.name for each in chain.filters] == ["contamination", "length", "near_dup", "exact_dup"]
    with_selection = sorted([First(2), *chain.filters], key=lambda each: COSTS.index(cost_of(each)))
    assert with_selection[-1] == First(2)


def test_a_row_that_holds_some_of_the_exam_is_named_for_that_whatever_else_is_wrong():
    question = "孩子发烧到三十九度还一直说冷，要不要马上去医院挂急诊？"
    context = context_of(SEEDS, exam=[(question, "先量体温。")])
    chain = chain_of(["default"])
    out = chain.sift(variants(context, ("s0", question + "吃" * 2100, None)), context)
    assert out["dropped_by"].to_list() == ["contamination"]
    assert any(each.startswith("length: ") for each in chain.reasons(out)[0])


def test_scores_that_hold_are_kept_and_stale_ones_are_made_anew():
    context = context_of(SEEDS)
    chain = chain_of(["length", "near_dup"])
    first = chain.sift(variants(context, ("s0", "疼", None), ("s0", "干咳两周了还没好，是正常的吗", None)), context)
    marked = first.with_columns(pl.lit(7, dtype=pl.Int64).alias("length_prompt"))
    assert chain.sift(marked, context, {"length"})["length_prompt"].to_list() == [7, 7]
    assert chain.sift(marked, context)["length_prompt"].to_list() == first["length_prompt"].to_list()
    gaps = marked.with_columns(
        pl.when(pl.col("id") == "v0").then(pl.lit(None)).otherwise(pl.col(name)).alias(name)
        for name in chain.filters[0].scores
    )
    assert chain.sift(gaps, context, {"length"})["length_prompt"].to_list() == [1, 7]


def test_a_record_gives_the_chain_again_with_what_is_changed():
    chain = chain_of(["default"], {"near_dup": {"threshold": 0.8}})
    assert chain_of_record(chain.record, {}) == chain
    changed = chain_of_record(chain.record, {"length": {"min_prompt": 9}})
    assert changed.filters[3].min_prompt == 9 and changed.filters[-1].threshold == 0.8
    with pytest.raises(RecipeError, match="filter 'pii2' has settings but is not in the chain"):
        chain_of_record(chain.record, {"pii2": {"x": 1}})


def test_bounds_say_what_scores_are_held_against():
    bounds = chain_of(["length", "near_dup"], {"near_dup": {"threshold": 0.8}}).bounds()
    assert bounds["length_prompt"] == ">= min_prompt 4, <= max_prompt 2000"
    assert bounds["near_dup_jaccard"] == "< threshold 0.8"


def test_selections_choose_among_all_that_is_left_at_once():
    context = context_of(SEEDS)
    chain = Chain((*chain_of(["length"]).filters, First(1)))
    texts = [("s0", f"干咳第{number}周了还没好，是正常的吗", None) for number in range(3)]
    out = chain.sift(variants(context, *texts, ("s1", "疼", None)), context)
    assert out["dropped_by"].to_list() == [None, None, None, "length"] and out["first_place"].is_null().all()
    chosen = chain.select(out.filter(pl.col("dropped_by").is_null()), context)
    assert chosen["dropped_by"].to_list() == [None, "first", "first"]
    assert chosen["length_prompt"].is_not_null().all() and chosen["first_place"].to_list() == [0, 1, 2]
    assert chosen.columns == out.columns


def test_a_dropped_row_does_not_stand_in_the_way_of_a_later_one():
    context = context_of(SEEDS, adds_facts=frozenset())
    twin = "感冒以后一直干咳，拖了半个月，夜里睡不着，要紧吗"
    good = "感冒以后一直干咳，拖了两周，夜里睡不着，要紧吗"
    out = chain_of(["default"]).sift(variants(context, ("s0", twin, SEEDS[0][1]), ("s0", good, SEEDS[0][1])), context)
    assert out["dropped_by"].to_list() == ["facts", None]


def test_verdicts_do_not_depend_on_batch_sizes():
    texts = [(f"s{at}", f"您好，想咨询：{question}", answer) for at, (question, answer) in enumerate(sample())]
    whole, parts = context_of(sample()), context_of(sample())
    chain = chain_of(["default"])
    frame = variants(whole, *texts, *texts)
    cut = [chain.sift(frame[at : at + 11], parts) for at in range(0, frame.height, 11)]
    assert pl.concat(cut).equals(chain.sift(frame, whole))


def test_every_filter_takes_an_empty_frame():
    context = context_of(SEEDS, exam=[("头疼怎么缓解比较好呢", "休息。")])
    out = chain_of(["default"]).sift(variants(context), context)
    assert out.height == 0 and {name: out.schema[name] for name in VERDICT} == VERDICT


@pytest.mark.parametrize("name", DEFAULT)
@pytest.mark.parametrize("text", ["\u0301\u0302", "𠮷" * 50, "\0\u200b", "x" * 100_000, "好" * 100_000, "１２℃…" * 9])
def test_every_filter_takes_any_text(name, text):
    context = context_of([*SEEDS, (text, text)], exam=[(text, text), ("头疼怎么缓解比较好呢", None)])
    frame = variants(context, ("s0", text, None), ("s2", text, text), (None, "头疼", text), ("s1", "睡不着", None))
    assert chain_of([name]).sift(frame, context).height == 4


def test_a_threshold_can_be_set_and_an_unknown_one_is_named():
    assert chain_of(["near_dup"], {"near_dup": {"threshold": 0.8}}).filters[0].threshold == 0.8
    with pytest.raises(RecipeError, match="filter 'near_dup' has no setting 'treshold'"):
        chain_of(["near_dup"], {"near_dup": {"treshold": 0.8}})


def test_the_default_chain_is_in_its_order():
    assert DEFAULT == (
        "pii",
        "secrets",
        "length",
        "encoding_damage",
        "special_chars",
        "language",
        "repetition",
        "refusal",
        "unsafe",
        "facts",
        "similarity",
        "contamination",
        "exact_dup",
        "near_dup",
    )


@pytest.mark.parametrize("modality", sorted(DEFAULTS))
def test_a_default_chain_has_filters_of_its_modality_and_no_model(modality):
    chain = chain_of(["default"], modality=modality)
    assert all(modality in modalities_of(each) for each in chain.filters)
    usual = [name for name in DEFAULTS[modality] if name not in ("unsafe_image", "image_band")]
    first = ["contamination"] if modality == "text" else []  # whatever else is wrong with a row
    assert [each.name for each in chain.filters] == [*first, *(name for name in usual if name not in first)]
    given = chain_of(["default"], {"blank": {"spread": 4}}, modality) if modality != "text" else chain
    assert len(given.filters) == len(chain.filters)


def test_a_filter_that_needs_a_model_joins_the_default_chain_with_it():
    names = [each.name for each in chain_of(["default"], {"unsafe_image": {"model": "some/model"}}, "image").filters]
    assert names[:5] == ["pii", "secrets", "blank", "unsafe_image", "exam_image"]


def test_a_filter_of_another_modality_is_refused():
    with pytest.raises(RecipeError, match="filter 'length' is for text, not for image; known: blank, class_balance, "):
        chain_of(["length"], modality="image")
    with pytest.raises(
        RecipeError,
        match="filter 'blank' is for image and paired, not for text; known: cluster, consistency, contamination",
    ):
        chain_of(["default", "blank"])
    assert all("text" in modalities_of(TABLE.load(name)) for name in DEFAULT)


@pytest.mark.usefixtures("place")
def test_pictures_are_sifted_beside_their_parents_and_come_back_without_them():
    context = picture_rows.context_of(picture_rows.shapes(4))
    blank = picture_rows.Image.new("RGB", (80, 64))
    frame = picture_rows.variants(context, ("s4", picture_rows.shape("disc", 20)), ("s0", blank), (None, blank))
    bare = frame.drop(WORKING).drop(PICTURED)
    out = chain_of(["default"], modality="image").sift(bare, context)
    assert out["dropped_by"].to_list() == [None, "blank", "blank"]
    assert out.select(bare.columns).equals(bare) and not set(PICTURED) & set(out.columns)
    assert frame["parent_label"].to_list() == ["disc", "bars", None]
    assert frame["parent_image"].to_list() == [context.seeds["image"][4], context.seeds["image"][0], None]
