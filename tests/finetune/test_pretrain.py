"""A base made from rows alone: what it is taught and what not, and the same bytes whatever happens on the way."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import islice, pairwise
from pathlib import Path

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from augment.engines import EngineOptions, open_engine
from augment.errors import FinetuneError, Interrupted, RunError
from augment.generators.paraphrase import Paraphrase
from augment.lock import Lock
from augment.records import Row
from augment.sources import open_source
from finetune.prepare import prepare
from finetune.pretrain import PretrainRecipe, pretrain
from finetune.pretrain.course import Course, branched
from finetune.pretrain.folder import CHECKPOINT, finished
from finetune.pretrain.learner import Learner
from finetune.pretrain.lessons import lessons_of, wordings
from finetune.pretrain.words import tokenizer_of
from finetune.recipe import FinetuneRecipe
from finetune.train import train

ROOT = Path(__file__).parents[2]
TINY = {"vocabulary": 800, "hidden": 32, "layers": 1, "heads": 1, "length": 256, "batch": 1, "variants": 2}
SLOW = {**TINY, "steps": 30, "length": 400}
KILLS = """
import os, signal, sys, time
from pathlib import Path
import finetune.model
import finetune.pretrain.learner
import finetune.pretrain.measure
from finetune.pretrain import PretrainRecipe, pretrain
from tests.finetune.test_pretrain import SLOW, sample, step_in

for least in map(int, sys.argv[2:]):
    child = os.fork()  # what takes long, the imports, is done once; no thread has been started yet
    if not child:
        pretrain(PretrainRecipe(**SLOW), *sample(), Path(sys.argv[1]))
        os._exit(0)
    while step_in(Path(sys.argv[1])) < least and not os.waitpid(child, os.WNOHANG)[0]:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(step_in(Path(sys.argv[1])), flush=True)
"""


def sample(rows: int = 6, held: int = 3) -> tuple[pl.DataFrame, pl.DataFrame]:
    seeds = open_source("sample").seeds
    return seeds[:rows], seeds[rows : rows + held]


def small(out: Path, rows=None, held=None, *, stop=None, tell=lambda _: None, **changes):
    given = sample()
    recipe = PretrainRecipe(**{**TINY, "steps": 4, **changes})
    rows, held = given[0] if rows is None else rows, given[1] if held is None else held
    return pretrain(recipe, rows, held, out, tell=tell, stop=stop)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def whole(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.startswith(".")}


def step_in(folder: Path) -> int:
    try:
        with safe_open(folder / CHECKPOINT, framework="pt") as saved:
            return int(saved.metadata()["step"])
    except (OSError, SafetensorError):
        return 0


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("bases") / "base").path


def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path):
    rows, held = sample()
    last = SLOW["steps"]  # when only publishing is left
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLS, str(out), "1", str(last // 2), str(last)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    steps = [int(line) for line in killed.stdout.split()]
    assert len(steps) == 3 and 0 < steps[0] < steps[1] < last, killed.stderr
    assert steps[2] in (last, 0)  # 0: it was quicker than its killer
    told: list[str] = []
    pretrain(PretrainRecipe(**SLOW), rows, held, out, tell=told.append)
    assert told == ([f"pre-training goes on at step {last} of {last}"] if steps[2] else [])
    at_once = pretrain(PretrainRecipe(**SLOW), rows, held, tmp_path / "whole").path
    assert whole(out) == whole(at_once) and "model.safetensors" in whole(out) and CHECKPOINT not in whole(out)


def test_stopped_it_goes_on_where_it_was_and_ends_with_the_same_bytes(tmp_path, once):
    stop = threading.Event()
    stop.set()
    for step in (1, 2):
        with pytest.raises(Interrupted, match=f"at step {step} of 4"):
            small(tmp_path / "base", stop=stop)
    told: list[str] = []
    assert not small(tmp_path / "base", tell=told.append).already
    assert told == ["pre-training goes on at step 2 of 4"]
    assert whole(tmp_path / "base") == whole(once)


def test_what_is_finished_is_not_made_again(tmp_path, once):
    before = {name: (once / name).stat().st_mtime_ns for name in whole(once)}
    again = small(once)
    assert again.already and again.record["steps"] == 4
    assert {name: (once / name).stat().st_mtime_ns for name in whole(once)} == before


def test_a_checkpoint_that_outlived_the_manifest_goes(tmp_path, once):
    out = small(tmp_path / "base").path
    (out / CHECKPOINT).write_bytes(weights(out))
    assert small(out).already
    assert whole(out) == whole(once)


def test_other_rows_or_another_recipe_are_learnt_anew(tmp_path, once):
    out = tmp_path / "base"
    rows, _ = sample()
    edited = rows.with_columns(pl.col("response").str.slice(1))
    first = small(out, edited)
    assert weights(out) != weights(once)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        small(out, steps=5, stop=stop)
    assert finished(out, first.record["identity"]) is None
    small(out)
    assert whole(out) == whole(once)


def test_a_folder_with_a_damaged_file_is_made_again(tmp_path, once):
    out = small(tmp_path / "base").path
    (out / "model.safetensors").write_bytes(b"")
    assert not small(out).already
    assert whole(out) == whole(once)


def test_rows_held_back_are_only_measured(tmp_path, once):
    _, held = sample()
    other = small(tmp_path / "base", held=held[:1])
    mine = {name: data for name, data in whole(once).items() if name not in ("pretrain.json", "manifest.json")}
    theirs = whole(other.path)
    assert {name: theirs[name] for name in mine} == mine
    assert other.record["held"] != small(once).record["held"]


def test_it_leaves_the_global_chance_and_threads_as_they_are(tmp_path):
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    small(tmp_path / "base")
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == threads


def test_it_learns_and_rewords_when_paraphrase_asks(tmp_path):
    rows, held = sample(8, 3)
    settings = {**TINY, "hidden": 64, "heads": 2, "layers": 2, "batch": 2, "steps": 120}
    made = small(tmp_path / "base", rows, held, **settings)
    told = made.record["held"]["nats_per_token"]
    assert told["after"] < told["unigram"] < told["before"]
    engine = open_engine(f"transformers:{made.path}", EngineOptions(concurrency=8))
    asked = {}
    for lesson in lessons_of(rows, 2, 0):
        request = Paraphrase().ask(lesson.record, 0, ())
        asked[request.key] = lesson
    requests = [Paraphrase().ask(each.record, 0, ()) for each in asked.values()]
    replies = list(engine.generate(iter(requests)))
    read = [Paraphrase().read(asked[reply.key].record, reply) for reply in replies if reply.finish == "stop"]
    variants = [each.prompt for each in read if isinstance(each, Row)]
    taught = {wording for lesson in asked.values() for wording in lesson.rewordings}
    assert len(variants) >= 6 and len(taught & set(variants)) >= 3, [reply.text for reply in replies]


def test_vllm_transformers_and_the_trainer_take_it(tmp_path, once):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(once), AutoTokenizer.from_pretrained(once)
    assert model.config.model_type == "qwen3" and model.config.tie_word_embeddings and model.config.head_dim == 32
    assert model.dtype == torch.float32 and len(tokenizer) == model.config.vocab_size
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert set(model.generation_config.eos_token_id) == ends
    rows, _ = sample()
    data = tmp_path / "rows.jsonl"
    rows.select(pl.col("prompt").alias("question"), pl.col("response").alias("answer")).write_ndjson(data)
    recipe = FinetuneRecipe(
        base=str(once), data=str(data), adapter="nlora", rank=4, max_steps=1, out=tmp_path / "adapter"
    )
    assert train(prepare(recipe)).record["steps"]["done"] == 1


def test_a_question_is_never_answered_in_a_chat():
    rows, _ = sample()
    lessons = lessons_of(rows, 2, 0)
    tokenizer = tokenizer_of(wordings(lessons), 800)
    course = Course(PretrainRecipe(**TINY), lessons, tokenizer)
    texts, requests = (next(each.batches()) for each in course.taught.values())
    assert "<|im_start|>" not in tokenizer.decode(texts.ids[0])
    learned = tokenizer.decode(requests.targets[requests.targets >= 0])
    assert learned.startswith('{"question":"') and learned.endswith("<|im_end|>")
    assert not any(lesson.record.response[:12] in learned for lesson in lessons)


def test_texts_are_read_some_rounds_and_requests_at_every_step():
    rows, _ = sample()
    lessons = lessons_of(rows, 2, 0)
    tokenizer = tokenizer_of(wordings(lessons), 800)
    recipe = PretrainRecipe(**{**TINY, "steps": 100, "rounds": 3})
    course = Course(recipe, lessons, tokenizer)
    steps = list(islice(course.steps(), recipe.steps))
    texts = [place for place, batches in enumerate(steps) if len(batches) == 2]
    tokens = sum(steps[place][0].ids.size for place in texts)
    assert 0 <= tokens - 3 * course.told["tokens"] < recipe.batch * recipe.length
    assert all(batches[-1].branch is not None for batches in steps)
    gaps = {after - before for before, after in pairwise(texts)}
    assert max(gaps) - min(gaps) <= 1
    alone = Course(PretrainRecipe(**TINY, teach=("text",)), lessons, tokenizer)
    assert all(len(batches) == 1 for batches in islice(alone.steps(), 50))


def test_answers_behind_one_request_are_learnt_as_each_by_itself():
    tokenizer = tokenizer_of(["a few words"], 300)
    recipe = PretrainRecipe(vocabulary=300, hidden=64, heads=2, layers=2)
    learner = Learner(recipe, tokenizer)
    for parameter in learner.model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    given = [([5, 6, 7, 8], [[11, 12, 13], [21, 22], [31]]), ([9, 10], [[41, 42]])]
    together = learner.loss(branched(given, 0), "sum").item()
    alone = 0.0
    for asked, answers in given:
        for answer in answers:
            said = learner.model(torch.tensor([asked + answer])).logits[0].log_softmax(-1)
            alone -= sum(said[len(asked) - 1 + place, token].item() for place, token in enumerate(answer))
    assert together == pytest.approx(alone, rel=1e-5)


def test_rows_of_a_language_without_rules_teach_only_their_text(tmp_path):
    rows, _ = sample()
    rows = rows.with_columns(prompt=pl.lit("頭が痛いのですが、どうすればいいですか"), response=pl.lit(None, pl.String))
    assert small(tmp_path / "base", rows).record["paraphrase"] == {"rows": 0, "rewordings": 0}
    with pytest.raises(FinetuneError, match="no row can be taught"):
        small(tmp_path / "other", rows, teach=("paraphrase",))


def test_without_rows_it_says_so(tmp_path):
    rows, held = sample()
    with pytest.raises(FinetuneError, match="no rows to learn from"):
        small(tmp_path / "base", rows[:0], held)
    with pytest.raises(FinetuneError, match="no rows to measure on"):
        small(tmp_path / "base", rows, held[:0])


def test_a_loss_that_is_not_finite_ends_it():
    rows, _ = sample()
    lessons = lessons_of(rows, 2, 0)
    tokenizer = tokenizer_of(wordings(lessons), 800)
    recipe = PretrainRecipe(**TINY)
    learner = Learner(recipe, tokenizer)
    with torch.no_grad():
        learner.model.model.norm.weight.fill_(float("inf"))
    with pytest.raises(FinetuneError, match=r"the loss is nan at step 0; use a lower learning_rate than 0\.04"):
        learner.learn(next(Course(recipe, lessons, tokenizer).steps()))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match="not a pre-training's folder"):
        small(tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"


def test_a_folder_that_another_process_writes_is_left_alone(tmp_path):
    lock = Lock.take(tmp_path)
    lock.sign()
    try:
        with pytest.raises(RunError, match="is being written by pid"):
            small(tmp_path)
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden": 96, "heads": 4}, "give heads = 3"),
        ({"hidden": 100, "heads": 4}, "multiple of 32"),
        ({"teach": ()}, "teach names nothing"),
        ({"epochs": 3}, "epochs"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        PretrainRecipe(**changes)
