"""`reward` by tiny models that were taught a rule: rewards of conversations, probabilities of a class."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from augment.errors import RecipeError
from augment.language import language_of
from filters.chain import chain_of
from filters.models import Classifier
from filters.reward import Reward
from tests.filter_rows import context_of, reasons, rows, sample, scored
from tests.finetune.bases import save_base
from tests.text_models import save_text_classifier

CURT = "不知道，随便，别问我。"
ROWS = [(question, answer) for question, answer in sample() if answer and len(answer) > 60]
ROWS = [(question, answer[:50]) for question, answer in ROWS if language_of(question) == "zh"]


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Likes answers, and does not like a curt one."""
    torch.set_num_threads(1)
    taught = [
        ((question, text), value) for question, answer in ROWS[:40] for text, value in ((answer, 2.0), (CURT, -2.0))
    ]
    return str(save_text_classifier(tmp_path_factory.mktemp("reward") / "m", taught, ["reward"], length=128))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tells questions from answers."""
    torch.set_num_threads(1)
    taught = [((text, None), at) for row in ROWS[:40] for at, text in enumerate(row)]
    return str(
        save_text_classifier(tmp_path_factory.mktemp("classes") / "m", taught, ["question", "answer"], length=128)
    )


def test_the_value_is_what_the_model_says_of_question_and_answer(reward):
    context = context_of(ROWS[:3])
    frame = rows(context, (None, *ROWS[50]), (None, ROWS[51][0], None))
    found = scored(Reward(model=reward), frame, context)["reward_value"].to_list()
    words, net = AutoTokenizer.from_pretrained(reward), AutoModelForSequenceClassification.from_pretrained(reward)
    with torch.no_grad():
        said = net.eval()(**words(*ROWS[50], return_tensors="pt", truncation=True, max_length=128)).logits
    assert found[0] == pytest.approx(float(said), abs=1e-3)
    assert found[1] is None, "there is no answer"


def test_a_model_with_a_chat_template_reads_a_conversation(tmp_path):
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    save_base(tmp_path)
    config = Qwen3Config.from_pretrained(tmp_path, num_labels=1)
    torch.manual_seed(0)
    Qwen3ForSequenceClassification(config).save_pretrained(tmp_path)
    model = Classifier.load(str(tmp_path), "reward.model")
    text, other = model.conversation("失眠怎么办？", "规律作息。")
    assert (text, other) == (
        "<|im_start|>user\n失眠怎么办？<|im_end|>\n<|im_start|>assistant\n规律作息。<|im_end|>\n",
        None,
    )
    context = context_of()
    frame = rows(context, (None, "失眠怎么办？", "规律作息。"), (None, "失眠怎么办？", "规律作息。睡前少看手机。"))
    found = scored(Reward(model=str(tmp_path)), frame, context)["reward_value"].to_list()
    with torch.no_grad():
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        assert found[0] == pytest.approx(float(model.model(ids).logits), abs=1e-3)
    alone = model.logits([model.conversation("a", "b"), model.conversation("失眠怎么办？", "规律作息。")])
    model.rows = 4
    model.model.config.pad_token_id = model.tokenizer.pad_token_id
    assert model.logits([("a", None), (text, None)])[1] == pytest.approx(alone[1], abs=1e-4), "padding is not read"


def test_answers_below_nearly_all_seeds_are_dropped(reward):
    context = context_of(ROWS[:60])
    good = [(f"s{at}", question, f"{answer}多休息。") for at, (question, answer) in enumerate(ROWS[:40])]
    curt = [(f"s{at}", question, CURT) for at, (question, _) in enumerate(ROWS[:40])]
    assert reasons(Reward(model=reward), rows(context, *curt), context).count("scored too low") >= 36
    found = scored(Reward(model=reward), rows(context, *good), context)
    assert found["reason"].count() <= 4
    assert found["reward_rank"].min() >= 0 and found["reward_rank"].max() <= 1
    few = context_of(ROWS[:10])
    assert reasons(Reward(model=reward), rows(few, *curt[:10]), few) == [None] * 10, "ten seeds are no scale"


def test_bounds_of_ones_own_take_the_seeds_place(reward):
    context = context_of(ROWS[:60])
    frame = rows(context, ("s0", ROWS[0][0], CURT), ("s1", ROWS[1][0], "先观察几天。"))
    low = scored(Reward(model=reward), frame, context)["reward_value"][0]
    assert reasons(Reward(model=reward, lowest=low - 1), frame, context)[0] is None
    assert reasons(Reward(model=reward, lowest=low + 0.001), frame, context)[0] == "scored too low"
    assert reasons(Reward(model=reward, highest=low - 0.001), frame, context)[0] == "scored too high"


def test_a_class_is_scored_by_what_changed(classes):
    context = context_of(ROWS[:60])
    frame = rows(context, ("s50", ROWS[50][0], ROWS[51][1]), ("s50", ROWS[51][0], ROWS[50][1]), ("s50", *ROWS[50]))
    found = scored(Reward(model=classes, label="answer"), frame, context)["reward_value"].to_list()
    assert found[0] > 0.9 and found[1] < 0.1 and found[2] is None
    why = reasons(Reward(model=classes, label="question", highest=0.5), frame, context)
    assert why == [None, "scored too high", None]
    one = scored(Reward(model=classes, label="question"), frame, context)["reward_value"].to_list()
    assert one[0] == pytest.approx(1 - found[0], abs=2e-4)


def test_values_do_not_depend_on_the_batch(reward):
    context = context_of(ROWS)
    frame = rows(context, *((None, *row) for row in ROWS[:21]))
    whole = scored(Reward(model=reward), frame, context)
    parts = [scored(Reward(model=reward), part, context) for part in frame.iter_slices(4)]
    assert [each for part in parts for each in part["reward_value"]] == whole["reward_value"].to_list()


def test_padded_batches_say_what_single_texts_say(classes):
    """What a GPU does, on this processor, with a model that reads in both directions."""
    model = Classifier.load(classes, "reward.model")
    texts = [(text, None) for row in ROWS[:7] for text in row]
    alone = model.logits(texts)
    model.rows = 4
    assert model.logits(texts) == pytest.approx(alone, abs=1e-4)


def test_models_that_do_not_fit_are_one_line(reward, classes, tmp_path):
    with pytest.raises(
        RecipeError, match="^filter 'reward' needs a model; add --set reward.model=FOLDER or owner/name$"
    ):
        chain_of(["reward"])
    context = context_of()
    frame = rows(context, (None, *ROWS[0]))
    for check, said in (
        (
            Reward(model=classes),
            "has 2 classes, a reward model has one; say which class counts with label: question, answer",
        ),
        (Reward(model=classes, label="good"), "has no class 'good'; its classes are question, answer"),
        (
            Reward(model=str(save_base(tmp_path))),
            "is not a classifier of texts that can be loaded: it has no score.weight",
        ),
        (Reward(model=str(Path(reward) / "config.json")), "no model folder"),
    ):
        with pytest.raises(RecipeError) as error:
            check.score(frame, context)
        assert said in str(error.value) and "\n" not in str(error.value)
