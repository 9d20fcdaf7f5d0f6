"""`perplexity` by a tiny model that has read the sample: what is scored, in which windows, and beside what."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from augment.errors import RecipeError
from filters.chain import chain_of
from filters.models import LanguageModel, windows_of
from filters.perplexity import Perplexity
from tests.filter_rows import context_of, reasons, rows, sample, scored
from tests.finetune.bases import save_base
from tests.text_models import save_language_model

PHRASE = "作为一个人工智能助手，我无法提供医疗建议，请咨询专业医生。"
QUESTION = "夜里总是睡不着，白天又没有精神，应该怎么办？"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "lm"
    texts = [each for row in sample() for text in row for each in (text, PHRASE) if text]
    return str(save_language_model(folder, texts))


def broken(text: str) -> str:
    """UTF-8 that was taken for Latin-1."""
    return text.encode().decode("latin-1")


def by_hand(folder: str, before: str, text: str) -> float:
    """Perplexity as the definition says, in one go."""
    words, net = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    prefix, told = (words(each, add_special_tokens=False)["input_ids"] for each in (before, text))
    ids = torch.tensor([prefix + told])
    with torch.no_grad():
        shares = torch.log_softmax(net(ids).logits[0, :-1].double(), -1).gather(1, ids[0, 1:, None])
    return math.exp(-float(shares[-len(told) :].mean()))


def test_the_value_is_the_models_perplexity_of_what_changed(model):
    context = context_of([("失眠怎么办？", "规律作息。")])
    frame = rows(
        context,
        ("s0", QUESTION, "规律作息。"),
        ("s0", "失眠怎么办？", "睡前少看手机。"),
        ("s0", "失眠怎么办？", "规律作息。"),
    )
    found = scored(Perplexity(model=model), frame, context)["perplexity_value"].to_list()
    assert found[0] == pytest.approx(by_hand(model, "<|endoftext|>", QUESTION), rel=1e-3)
    assert found[1] == pytest.approx(by_hand(model, "<|endoftext|>", "睡前少看手机。"), rel=1e-3)
    assert found[2] is None, "nothing changed"
    answered = scored(Perplexity(model=model, reads="response"), frame, context)["perplexity_value"].to_list()
    asked = "<|im_start|>user\n失眠怎么办？<|im_end|>\n<|im_start|>assistant\n"
    assert answered[1] == pytest.approx(by_hand(model, f"<|endoftext|>{asked}", "睡前少看手机。"), rel=1e-3)
    assert answered[0] is None, "the answer is its parent's"


def test_broken_text_and_boilerplate_are_beyond_the_seeds_and_real_text_is_not(model):
    context = context_of(sample()[:80])
    questions = [question for question, _ in sample()[80:]]
    for make, said in (
        (str, None),
        (broken, "less likely than real text"),
        (lambda _: PHRASE, "likelier than real text"),
    ):
        found = reasons(
            Perplexity(model=model), rows(context, *((None, make(each), None) for each in questions)), context
        )
        assert found.count(said) >= len(found) * 0.95, make


def test_bounds_of_ones_own_take_the_seeds_place(model):
    context = context_of(sample())
    frame = rows(context, (None, QUESTION, None), (None, broken(QUESTION), None))
    low, high = scored(Perplexity(model=model), frame, context)["perplexity_value"].to_list()
    assert reasons(Perplexity(model=model, highest=high + 1), frame, context) == [None, None]
    assert reasons(Perplexity(model=model, highest=low - 1), frame, context) == ["less likely than real text"] * 2
    assert (
        reasons(Perplexity(model=model, lowest=low + 1, highest=high + 1), frame, context)[0]
        == "likelier than real text"
    )
    few = context_of(sample()[:10])
    assert scored(Perplexity(model=model), frame, few)["perplexity_over"].to_list() == [None, None]
    assert reasons(Perplexity(model=model, highest=low + 1), frame, few) == [None, "less likely than real text"]


def test_each_token_of_a_long_text_counts_once_after_half_a_window():
    assert list(windows_of(5, 1, 8)) == [(0, 5, 1)]
    assert list(windows_of(20, 3, 8)) == [(0, 8, 3), (4, 12, 8), (8, 16, 12), (12, 20, 16)]
    assert list(windows_of(20, 18, 8)) == [(12, 20, 18)]
    for length, first in ((100, 1), (101, 40), (99, 99), (7, 8)):
        counted = [at for _, end, done in windows_of(length, first, 16) for at in range(done, end)]
        assert counted == list(range(first, length))
        assert all(done - begin >= 8 or begin == 0 for begin, _, done in windows_of(length, first, 16))


def test_long_texts_are_read_in_windows(tmp_path):
    folder = save_base(tmp_path / "short", max_position_embeddings=32, initializer_range=0.3)
    net = LanguageModel.load(str(folder), "perplexity.model")
    ((loss, tokens),) = net.losses([(None, QUESTION * 12)])
    assert net.width == 32 < tokens
    ids = [net.tokenizer.eos_token_id, *net.tokenizer(QUESTION * 12)["input_ids"]]
    assert tokens == len(ids) - 1
    by_window = 0.0
    with torch.no_grad():
        for begin, end, done in windows_of(len(ids), 1, 32):
            part = torch.tensor([ids[begin:end]])
            shares = torch.log_softmax(net.model(part).logits[0, :-1], -1).gather(1, part[0, 1:, None])
            by_window -= float(shares[done - begin - 1 :].sum())
    assert loss == pytest.approx(by_window, rel=1e-5)


def test_a_text_is_scored_alike_whatever_is_beside_it(model):
    context = context_of(sample())
    frame = rows(context, *((None, question, None) for question, _ in sample()[::5]))
    whole = scored(Perplexity(model=model), frame, context)
    for size in (1, 7):
        parts = [scored(Perplexity(model=model), part, context) for part in frame.iter_slices(size)]
        assert [each for part in parts for each in part["perplexity_value"]] == whole["perplexity_value"].to_list()


def test_padded_batches_say_what_single_texts_say(model):
    """What a GPU does, on this processor."""
    net = LanguageModel.load(model, "perplexity.model")
    texts = [(None, text) for row in sample()[::9] for text in row if text]
    alone = net.losses(texts)
    net.rows = 4
    for (loss, tokens), (other, count) in zip(alone, net.losses(texts), strict=True):
        assert (count, loss) == (tokens, pytest.approx(other, rel=1e-5))
    assert net.losses(texts) == [each for text in texts for each in net.losses([text])]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "filter 'perplexity' needs a model; add --set perplexity.model=FOLDER or owner/name"),
        ({"model": "m", "lowest": 9.0, "highest": 3.0}, "perplexity.lowest=9 is above perplexity.highest=3"),
        ({"model": "m", "factor": 0.5}, "perplexity.factor: "),
    ],
)
def test_settings_that_make_no_sense_are_one_line(settings, said):
    with pytest.raises(RecipeError) as error:
        chain_of(["perplexity"], {"perplexity": settings})
    assert str(error.value).startswith(said)


def test_a_model_that_is_none_is_one_line(tmp_path):
    context = context_of()
    frame = rows(context, (None, QUESTION, None))
    with pytest.raises(RecipeError, match=r"^perplexity.model: no model folder \./nowhere; give a folder"):
        Perplexity(model="./nowhere").score(frame, context)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"^perplexity.model: .* is not a causal language model that can be loaded: "):
        Perplexity(model=str(tmp_path)).score(frame, context)


def test_nothing_is_loaded_where_there_is_nothing_to_read(model, tmp_path):
    context = context_of([("a", "b")])
    assert reasons(Perplexity(model=str(Path(tmp_path) / "none")), rows(context, ("s0", "a", "b")), context) == [None]
