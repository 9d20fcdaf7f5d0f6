from __future__ import annotations

import pytest

from augment.errors import FinetuneError
from finetune.chat import CHATML, PLAIN, give_template, tokenise_chats, tokenise_texts
from finetune.rows import Item
from tests.finetune.bases import tokenizer

THINKING = (
    "{% for m in messages %}{% if m['role'] == 'assistant' and not loop.last %}"
    "{{ '<|im_start|>assistant\n' + m['content'].split('</think>')[-1] + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As reasoning models have it: the thoughts of earlier answers are not shown."""
BARE = "{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"
"""A template that does not end a turn."""


@pytest.fixture(scope="module")
def chatml():
    return tokenizer()


def item(*contents, system=None):
    turns = [("system", system)] if system else []
    turns += [(("user", "assistant")[n % 2], each) for n, each in enumerate(contents)]
    return Item("id", "family", tuple(turns))


def learned(example, words):
    return words.decode(example.ids[example.learned])


def encode(words, *items, length=1000):
    return tokenise_chats(items, words, length)


def test_only_the_answer_and_its_end_are_learned(chatml):
    (example,), lost = encode(chatml, item("头疼怎么办", "多休息，多喝水。", system="Be brief."))
    assert learned(example, chatml) == "多休息，多喝水。<|im_end|>\n"
    assert not lost
    hidden = chatml.decode(example.ids[~example.learned])
    assert (
        hidden
        == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n头疼怎么办<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_prompt_has_the_tokens_that_asking_will_have(chatml):
    (example,), _ = encode(chatml, item("头疼怎么办", " 空格 first"))
    asked = chatml.apply_chat_template([{"role": "user", "content": "头疼怎么办"}], add_generation_prompt=True)
    asked = asked["input_ids"] if not isinstance(asked, list) else asked
    assert example.ids[: len(asked)].tolist() == list(asked)
    assert not example.learned[: len(asked)].any()
    assert example.learned[len(asked) :].all()


def test_every_answer_of_a_conversation_is_learned(chatml):
    (example,), _ = encode(chatml, item("a b", "one", "c d", "two"))
    assert learned(example, chatml) == "one<|im_end|>\ntwo<|im_end|>\n"


def test_of_a_template_that_hides_thoughts_the_last_answer_is_learned():
    words = tokenizer(template=THINKING)
    (example,), _ = encode(words, item("a", "<think>x</think>one", "b", "<think>y</think>two"))
    assert learned(example, words) == "<think>y</think>two<|im_end|>\n"
    assert "x" not in words.decode(example.ids)


def test_an_answer_that_the_template_does_not_end_gets_an_end(chatml):
    words = tokenizer(template=BARE)
    (example,), _ = encode(words, item("a", "one"))
    assert example.ids[-1] == words.eos_token_id
    assert example.learned[-1]
    (closed,), _ = encode(chatml, item("a", "one"))
    assert chatml.eos_token_id not in closed.ids


def test_a_row_over_the_length_is_left_out_whole(chatml):
    found, lost = encode(chatml, item("a", "one"), item("a", "long " * 100), length=50)
    assert found[0] is not None
    assert found[1] is None
    assert lost == {"over 50 tokens": 1}


def test_a_base_without_a_template_gets_one_and_it_is_said():
    marked = tokenizer()
    marked.chat_template = None
    assert "ChatML" in give_template(marked)
    assert marked.chat_template == CHATML
    plain = tokenizer(template=None)
    assert "plain" in give_template(plain)
    assert plain.chat_template == PLAIN
    assert give_template(plain) is None
    (example,), _ = encode(plain, item("问题", "回答", system="system text"))
    assert learned(example, plain) == "回答<|endoftext|>\n"
    assert plain.decode(example.ids[~example.learned]) == "System: system text\nUser: 问题\nAssistant: "
    plain.chat_template, plain.eos_token = None, None
    with pytest.raises(FinetuneError, match="neither a chat template nor an eos_token"):
        give_template(plain)


def test_a_template_that_refuses_a_row_costs_the_row_and_one_that_refuses_all_is_told():
    words = tokenizer(
        template="{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + CHATML
    )
    found, lost = encode(words, item("a", "one"), item("a", "one", system="s"))
    assert found[0] is not None
    assert lost == {"refused by the chat template": 1}
    with pytest.raises(FinetuneError, match="refuses every conversation .no system here"):
        encode(words, item("a", "one", system="s"))


def test_texts_to_classify_carry_the_place_of_their_label(chatml):
    rows = [Item("1", "f", (("user", "头疼"),), "b"), Item("2", "f", (("user", "long " * 50),), "a")]
    found, lost = tokenise_texts(rows, chatml, 20, ("a", "b"))
    assert found[0].label == 1
    assert found[0].ids.tolist() == chatml("头疼")["input_ids"]
    assert found[1] is None
    assert lost == {"over 20 tokens": 1}
