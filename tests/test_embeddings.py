from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from augment.errors import EngineError, RecipeError, RunError
from filters.embeddings import SCALE, cosines, embed, lengths, paired, whole
from filters.embeddings.encoder import Encoder, Encoding
from filters.embeddings.kept import VectorStore
from filters.embeddings.nearest import Nearest
from filters.fold import fold
from tests.encoders import save_encoder
from tests.filter_rows import chbench, context_of, sample
from tests.server import ROOT, embedding, serve

QUESTIONS = pl.Series([question for question, _ in sample()])
MEAN = {"pooling_mode_mean_tokens": True}


def made(texts, embedder="", base_url="", context=None):
    return embed(pl.Series(texts), embedder, base_url, context or context_of(), "cluster.embedder")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder") / "mean", MEAN)


def test_products_of_vectors_are_whole_numbers_that_float32_adds_up_exactly():
    vectors = whole(np.random.default_rng(0).normal(size=(200, 3000)))
    exact = vectors.astype(np.int64) @ vectors.astype(np.int64).T
    order = np.random.default_rng(1).permutation(3000)
    assert (vectors.astype(np.float32) @ vectors.astype(np.float32).T == exact).all()
    assert (vectors[:, order].astype(np.float32) @ vectors[:, order].astype(np.float32).T == exact).all()
    assert np.abs(lengths(vectors) - SCALE).max() < 16 and exact.max() <= 2**24


def test_rounding_moves_a_cosine_by_little():
    real = np.random.default_rng(0).normal(size=(100, 384)) + 0.5
    unit = real / np.linalg.norm(real, axis=1, keepdims=True)
    assert np.abs(cosines(whole(real), whole(real)) - unit @ unit.T).max() < 5e-4


def test_a_cosine_is_one_for_equals_and_never_more():
    vectors = whole(np.random.default_rng(0).normal(size=(300, 50)))
    assert (paired(vectors, vectors) == 1).all() and (np.diag(cosines(vectors, vectors)) == 1).all()
    near = np.concatenate([vectors, vectors + 1, vectors - 1])
    assert cosines(near, near).max() == 1


def test_what_is_not_finite_or_zero_has_no_vector():
    vectors = whole(np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [3e-30, 4e-30]]))
    assert vectors.tolist() == [[0, 0], [0, 0], [0, 0], [2400, 3200]]
    assert np.isnan(paired(vectors, vectors)).tolist() == [True, True, True, False]


def test_ngram_vectors_are_the_same_everywhere():
    """Literal numbers: another platform, version or thread count must find these."""
    vector = made(["失眠怎么办"])[0]
    assert np.flatnonzero(vector).tolist() == [10, 88, 217, 316, 354, 403, 434, 483, 520, 629, 840, 972]
    assert sorted(set(np.abs(vector).tolist())) == [0, 1155]


def test_ngram_cosines_are_those_of_the_counts():
    texts = [question for question, _ in sample()[:60]]
    counts = [
        Counter(key[at : at + n] for n in (1, 2, 3) for at in range(len(key) - n + 1)) for key in fold(pl.Series(texts))
    ]
    grams = sorted(set().union(*counts))
    exact = np.array([[1 + np.log(each[gram]) if each[gram] else 0.0 for gram in grams] for each in counts])
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    error = cosines(made(texts), made(texts)) - exact @ exact.T
    assert np.abs(error.mean()) < 0.005 and error.std() < 1.2 / np.sqrt(1024)


def test_a_text_s_ngrams_do_not_depend_on_other_texts():
    whole_frame = made(QUESTIONS)
    assert (np.concatenate([made(QUESTIONS[at : at + 1]) for at in range(len(QUESTIONS))]) == whole_frame).all()


def test_ngrams_set_aside_width_script_case_and_punctuation():
    one, other = made(["高血压患者，能不能喝啤酒？"]), made(["高血壓患者能不能喝啤酒"])
    assert (one == other).all()


@pytest.mark.parametrize("texts", [[], [None, ""], ["\u0301", "x" * 100_000, "𠮷", "好" * 5000, "\0"]])
def test_any_text_can_be_embedded(texts):
    vectors = embed(pl.Series(texts, dtype=pl.String), "", "", context_of(), "x")
    assert vectors.shape == (len(texts), 1024)
    assert vectors.any(axis=1).tolist() == [bool(text) for text in texts]


def test_a_reworded_real_question_is_nearer_than_any_other():
    asked = [question for question, _ in chbench()]
    changed = [question[: len(question) // 2] + "到底" + question[len(question) // 2 :] for question in asked]
    assert (cosines(made(changed), made(asked)).argmax(axis=1) == np.arange(len(asked))).mean() > 0.98


# An encoder by folder


def reference(folder, texts, pool, longest=48):
    """What sentence-transformers does, one text at a time and unpadded."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    with torch.inference_mode():
        for text in texts:
            read = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
            found.append(pool(model(**read).last_hidden_state[0]).numpy())
    return np.stack(found)


POOLS = {
    "cls": ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, lambda states: states[0]),
    "mean": (MEAN, lambda states: states.mean(0)),
    "max": ({"pooling_mode_max_tokens": True}, lambda states: states.max(0).values),
    "last": ({"pooling_mode_lasttoken": True}, lambda states: states[-1]),
    "named": ({"pooling_mode": "cls"}, lambda states: states[0]),
    "two": (
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        lambda states: torch.cat([states[0], states.mean(0)]),
    ),
    "weighted": (
        {"pooling_mode_weightedmean_tokens": True},
        lambda states: (states * torch.arange(1, len(states) + 1)[:, None]).sum(0) / sum(range(1, len(states) + 1)),
    ),
    "none": (None, lambda states: states.mean(0)),
}


@pytest.mark.parametrize("name", POOLS)
def test_an_encoder_pools_as_its_folder_says(name, tmp_path):
    pooling, pool = POOLS[name]
    place = save_encoder(tmp_path / name, pooling)
    texts = ["失眠怎么办", "高血压饭后头疼", "cold", "睡" * 80, "感冒咳嗽两天了还没好，怎么办", *(QUESTIONS[:30])]
    expected = whole(
        reference(place, [each.lower() if pooling else each for each in texts], pool, 48 if pooling else 64)
    )
    assert paired(made(texts, str(place)), expected).min() > 0.9999


def test_what_comes_after_pooling_and_before_reading_is_done_too(tmp_path):
    told = {"prompts": {"query": "怎么办", "other": "x"}, "default_prompt_name": "query"}
    place = save_encoder(tmp_path / "dense", MEAN, dense=8, told=told)
    from safetensors.torch import load_file

    weights = load_file(place / "2_Dense" / "model.safetensors")

    def pool(states):
        return torch.tanh(weights["linear.weight"] @ states.mean(0) + weights["linear.bias"])

    expected = whole(reference(place, ["怎么办失眠", "怎么办头疼a"], pool))
    found = made(["失眠", "头疼A"], str(place))
    assert found.shape == (2, 8) and paired(found, expected).min() > 0.9999


def test_an_encoder_s_vector_does_not_depend_on_what_comes_with_it(folder, home):
    together = made(QUESTIONS, str(folder))
    for texts in (QUESTIONS[:1], QUESTIONS[40:57], QUESTIONS.reverse()):
        shutil.rmtree(home)
        alone = made(texts, str(folder))
        places = [QUESTIONS.to_list().index(text) for text in texts.to_list()]
        assert (alone == together[places]).all()


def test_a_worker_answers_in_the_order_it_is_asked(folder):
    encode = Encoding(str(folder), "", "x").open()
    texts = ["睡" * 40, "失眠", "头疼" * 12, "感冒"]
    assert (encode(texts) == np.concatenate([encode([text]) for text in texts])).all()


def test_what_was_computed_once_is_not_computed_again(folder, monkeypatch):
    first = made(QUESTIONS, str(folder))
    monkeypatch.setattr(Encoding, "open", lambda self: pytest.fail("the model was loaded again"))
    assert (made(QUESTIONS, str(folder)) == first).all()


def test_a_model_that_was_moved_is_the_same_and_one_that_was_changed_is_not(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    other = save_encoder(tmp_path / "other", MEAN, seed=1)
    pooled = save_encoder(tmp_path / "cls", {"pooling_mode_cls_token": True})
    one = Encoder.open(str(folder), "x").identity
    assert Encoder.open(str(tmp_path / "moved"), "x").identity == one
    assert len({one, Encoder.open(str(other), "x").identity, Encoder.open(str(pooled), "x").identity}) == 3


def test_an_empty_text_has_no_vector(folder):
    assert made(["", "失眠", None, " \n"], str(folder)).any(axis=1).tolist() == [False, True, False, False]


def test_work_goes_where_the_context_sends_it(folder):
    asked = []

    def spread(work, batches):
        ready = work.open()
        for batch in batches:
            asked.append(len(batch))
            yield ready(batch)

    context = context_of()
    context.spread = spread
    assert (made(QUESTIONS, str(folder), context=context) == made(QUESTIONS, str(folder))).all() and asked == [160]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no/such/folder", "cluster.embedder: no model folder no/such/folder; give a folder with a config.json"),
        ("words", "cluster.embedder: no model folder words; "),
        ("{empty}", "holds no model: no config.json"),
        ("{pooled}", "is no sentence encoder that can be loaded: it pools by attention, which is not known here"),
        ("{module}", "its modules.json asks for LSTM, which is not known here"),
        ("{pickled}", "is no sentence encoder that can be loaded: "),
    ],
)
def test_a_model_that_cannot_be_had_is_told_in_a_line(name, says, tmp_path):
    (tmp_path / "empty").mkdir()
    save_encoder(tmp_path / "pooled", {"pooling_mode_attention": True})
    modules = save_encoder(tmp_path / "module", MEAN) / "modules.json"
    modules.write_text(modules.read_text().replace("models.Pooling", "models.LSTM"))
    pickled = save_encoder(tmp_path / "pickled", MEAN)
    torch.save(torch.nn.Linear(1, 1).state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(RecipeError) as error:
        made(["失眠"], name.format(**{each: str(tmp_path / each) for each in ("empty", "pooled", "module", "pickled")}))
    assert says in str(error.value) and "\n" not in str(error.value)


# A server


def test_a_server_s_vectors_are_kept_and_not_asked_for_again():
    with serve() as server:
        first = made(QUESTIONS, "openai:test-model", server.url)
        assert paired(first, whole(np.array([embedding(text) for text in QUESTIONS]))).min() > 0.9999
        again = made(
            pl.concat([QUESTIONS, QUESTIONS[:3], pl.Series(["新的问题"])]), "openai:", server.url + "/embeddings"
        )
        assert (again[:160] == first).all() and (again[160:163] == first[:3]).all()
        counts = server.stats()["embedded"]
    assert set(counts.values()) == {1} and len(counts) == 161


def test_transient_failures_and_half_answers_are_asked_for_again():
    with serve(transient_share=1.0, retry_after="0") as server:
        assert made(QUESTIONS, "openai:test-model", server.url).any(axis=1).all()
    with serve(garble_share=0.5) as server:
        texts = [f"第{number}个问题" for number in range(320)]
        assert made(texts, "openai:test-model", server.url).any(axis=1).mean() > 0.7


def test_one_text_that_is_refused_costs_itself_only(caplog):
    texts = [*QUESTIONS[:40], "长" * 900, *QUESTIONS[40:]]
    with serve(longest=600) as server:
        vectors = made(texts, "openai:test-model", server.url)
        assert vectors.any(axis=1).tolist() == [True] * 40 + [False] + [True] * 120
    assert "1 texts have no vector" in caplog.text


def test_a_server_that_answers_in_base64_is_understood():
    with serve(base64=True) as server:
        vectors = made(QUESTIONS, "openai:test-model", server.url)
    assert paired(vectors, whole(np.array([embedding(text) for text in QUESTIONS]))).min() > 0.9999


def test_a_server_s_key_and_model_are_checked(monkeypatch):
    with serve(key="secret") as server:
        with pytest.raises(EngineError, match="wants a key"):
            made(QUESTIONS, "openai:test-model", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        with pytest.raises(EngineError, match="does not serve 'other'; it serves: test-model"):
            made(QUESTIONS, "openai:other", server.url)
        assert made(QUESTIONS[:2], "openai:test-model", server.url).any()
    with pytest.raises(EngineError, match="start the server there or give another --set cluster.base_url"):
        made(QUESTIONS, "openai:test-model", server.url)


def test_what_had_arrived_before_the_end_is_kept(home):
    texts = [f"第{number}个问题" for number in range(2000)]
    with (
        serve(fatal_after=30, latency=0.05) as server,
        pytest.raises(EngineError, match="no more of test-model for you"),
    ):
        made(texts, "openai:test-model", server.url)
    with serve() as server:
        made(texts, "openai:test-model", server.url)
        assert len(server.stats()["embedded"]) < 2000 - 10 * 32


def test_no_vector_is_paid_for_again_after_a_kill(home):
    texts = [f"第{number}个问题" for number in range(3000)]
    code = (
        "import polars as pl\nfrom filters.embeddings import embed\nfrom tests.filter_rows import context_of\n"
        "embed(pl.Series([f'第{n}个问题' for n in range(3000)]), 'openai:test-model', URL, context_of(), 'x')"
    )
    with serve(latency=0.3) as server:
        command = [sys.executable, "-c", f"URL = {server.url!r}\n{code}"]
        process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ))
        until = time.monotonic() + 60
        while stored(home) == 0 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = stored(home)
        assert 0 < kept < 3000
        before = settled(server)
        assert made(texts, "openai:test-model", server.url).any(axis=1).all()
        after = server.stats()["embedded"]
    assert sum(after.values()) - sum(before.values()) == 3000 - kept
    assert sum(each - 1 for each in after.values()) <= 16 * 32, "more than was in flight was paid for twice"


def settled(server) -> dict[str, int]:
    """How often each text was embedded, once the server has taken up all that was on its way to it."""
    seen: dict[str, int] = {}
    while (now := server.stats()["embedded"]) != seen:
        seen = now
        time.sleep(1)
    return seen


def stored(home: Path) -> int:
    try:
        with sqlite3.connect(f"file:{home / 'vectors.sqlite'}?mode=ro", uri=True) as db:
            return int(db.execute("select count(*) from vectors").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_a_store_keeps_models_apart_and_the_first_vector(tmp_path):
    one, other = np.ones((1, 3), dtype=np.float32), np.zeros((1, 3), dtype=np.float32)
    with VectorStore(tmp_path / "v.sqlite", ("a", "1")) as store:
        store.put(["x"], one)
        store.put(["x"], other)
        assert store.known(["x", "y"])["x"].tolist() == [1, 1, 1] and set(store.known(["x", "y"])) == {"x"}
    with VectorStore(tmp_path / "v.sqlite", ("a", "2")) as store:
        assert store.known(["x"]) == {}
    (tmp_path / "no.sqlite").write_text("not a store " * 100)
    with pytest.raises(RunError, match="cannot open the vector store"):
        VectorStore(tmp_path / "no.sqlite", ("a",))


# The nearest earlier row


def brute(vectors, groups, threshold, scope):
    alike, kept, found = cosines(vectors, vectors), [], []
    for row, group in enumerate(groups):
        if not vectors[row].any():
            found.append((-1, -1))
            continue
        own = [(alike[row, each], -each) for each in kept if groups[each] == group and scope != "across"]
        other = [(alike[row, each], -each) for each in kept if groups[each] != group and scope != "within"]
        found.append((-max(own)[1] if own else -1, -max(other)[1] if other else -1))
        if max([*own, *other], default=(0, 0))[0] < threshold:
            kept.append(row)
    return found


@pytest.mark.parametrize("scope", ["both", "within", "across"])
@pytest.mark.parametrize("size", [1, 37, 1000])
@pytest.mark.parametrize("threshold", [0.7, 2.0])
def test_the_nearest_earlier_kept_row_is_found_whatever_the_batches(scope, size, threshold):
    vectors = whole(np.random.default_rng(0).normal(size=(600, 12)))
    vectors[5] = 0
    vectors[[80, 300, 302, 500]] = vectors[79]
    groups = [f"g{row % 40}" for row in range(600)]
    index = Nearest(lambda cosine: cosine >= threshold, scope)
    parts = [index.match(vectors[at : at + size], groups[at : at + size]) for at in range(0, 600, size)]
    own, other = (np.concatenate([part[kind][0] for part in parts]).tolist() for kind in (0, 1))
    assert list(zip(own, other, strict=True)) == brute(vectors, groups, threshold, scope)
