from __future__ import annotations

import random

import polars as pl
import pytest

from filters.minhash import Groups
from filters.semantic_dup import SemanticDup
from tests.encoders import save_encoder
from tests.filter_rows import chbench, context_of, reasons, rows, sample, scored
from tests.server import serve

QUESTION = "感冒后干咳两周还没好，晚上躺下咳得更厉害，正常吗"
SAID = "says what an earlier row says"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path))


def test_a_question_with_a_particle_added_is_dropped_and_names_its_seed():
    context = context_of([(QUESTION, None)])
    out = scored(SemanticDup(), rows(context, ("s0", QUESTION + "呢", None)), context)
    assert out["semantic_dup_of"].to_list() == ["s0"] and out["reason"].to_list() == [SAID]
    assert 0.95 < out["semantic_dup_cosine"][0] < 1


@pytest.mark.parametrize(
    ("groups", "expected"), [("both", [SAID] * 2), ("within", [SAID, None]), ("across", [None, SAID])]
)
def test_groups_say_which_rows_count(groups: Groups, expected):
    context = context_of([(QUESTION, None), ("失眠怎么办", None)])
    frame = rows(context, ("s0", QUESTION + "呢", None), ("s1", QUESTION + "吗", None))
    assert reasons(SemanticDup(groups=groups), frame, context) == expected


def test_a_dropped_row_does_not_stand_in_the_way_of_a_later_one():
    near, further = QUESTION + "呢呀", QUESTION + "呢呀，请问医生"
    each = SemanticDup(threshold=0.9)
    context = context_of([(QUESTION, None)])
    assert reasons(each, rows(context, ("s0", near, None), ("s0", further, None)), context) == [SAID, None]
    context = context_of([("失眠", None)])
    assert reasons(each, rows(context, ("s0", near, None), ("s0", further, None)), context) == [None, SAID]


def test_changed_prompts_go_against_prompts_only():
    context = context_of([("失眠怎么办", QUESTION)])
    assert reasons(SemanticDup(), rows(context, ("s0", QUESTION, QUESTION)), context) == [None]


@pytest.mark.parametrize("size", [1, 13])
@pytest.mark.parametrize("groups", ["both", "within", "across"])
def test_scores_do_not_depend_on_batch_sizes(size, groups: Groups):
    chance = random.Random(0)
    texts = []
    for at, (question, _) in enumerate(sample()):
        for _ in range(3):
            letters = list(question)
            for _ in range(chance.randrange(4)):
                letters[chance.randrange(len(letters))] = chance.choice("的了吗呢abc")
            texts.append((f"s{at}" if at < 20 else None, "".join(letters), None))
    whole, parts = context_of(sample()[:20]), context_of(sample()[:20])
    frame = rows(whole, *texts)
    each = SemanticDup(groups=groups)
    cut = [scored(each, frame[at : at + size], parts) for at in range(0, len(texts), size)]
    assert pl.concat(cut).equals(scored(each, frame, whole))


def test_a_seed_scored_as_a_row_is_not_its_own_duplicate():
    context = context_of([(QUESTION, None)])
    frame = rows(context, (None, QUESTION, None)).with_columns(pl.lit("s0").alias("id"))
    assert reasons(SemanticDup(), frame, context) == [None]


def test_an_empty_frame_keeps_the_declared_types():
    context = context_of([(QUESTION, None)])
    assert scored(SemanticDup(), rows(context), context).height == 0


@pytest.mark.parametrize("texts", [sample, chbench])
def test_no_two_real_questions_or_answers_are_duplicates(texts):
    for kind in (0, 1):
        context = context_of()
        frame = rows(context, *((None, *(pair if kind else (pair[0], None))) for pair in texts()))
        assert set(reasons(SemanticDup(), frame, context)) == {None}


def test_a_model_s_vectors_decide(tmp_path):
    folder = save_encoder(tmp_path / "model", {"pooling_mode_cls_token": True})
    context = context_of([("失眠怎么办", None)])
    frame = rows(context, ("s0", "失眠 怎么办", None), ("s0", "高血压能不能看书", None))
    out = scored(SemanticDup(embedder=str(folder), threshold=0.99), frame, context)
    assert out["reason"].to_list() == [SAID, None] and out["semantic_dup_of"].to_list() == ["s0", "s0"]


def test_a_server_s_vectors_decide_and_a_text_it_refuses_is_kept():
    context = context_of([("失眠怎么办", None)])
    frame = rows(context, ("s0", "怎么办失眠", None), ("s0", "高血压能喝酒吗", None), ("s0", "长" * 500, None))
    with serve(longest=100) as server:
        each = SemanticDup(embedder="openai:test-model", base_url=server.url)
        out = scored(each, frame, context)
    assert out["reason"].to_list() == [SAID, None, None] and out["semantic_dup_cosine"][2] is None
    assert out["semantic_dup_cosine"][0] == pytest.approx(1)
