"""What is wrong with a loop's recipe is one line, told before anything is made; a forecast tells what it would cost."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import polars as pl
import pytest

from augment.errors import RunError
from augment.manifest import put
from augment.sources import open_source
from finetune.loop.compared import label_scores
from finetune.loop.planned import Amount
from finetune.loop.recipe import read_loop_recipe
from finetune.loop.steer import Label, shrunk, steered
from tests.finetune.bases import ROOT, save_base
from tests.finetune.loops import write_recipe

SEVEN_B = {  # Qwen2.5-7B's own numbers
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["text.sauce=sample"], "[text] no recipe key 'sauce'"),
        (["text.n=many"], "[text] n: 'many' is no amount"),
        (["text.out=here"], "[text] out: the loop decides that itself"),
        (["evaluate.adapter=mine"], "[evaluate] adapter: the loop decides that itself"),
        (["finetune.rang=4"], "'rang'"),
        (["finetune.patience=2"], "[finetune] patience: the loop decides that itself"),
        (["adapters.0.adapter=nlaura"], "nlaura"),
        (["adapters.7.rank=4"], "there are 2 of these; write 0 to 1"),
        (["adapters.0.name=ba-lora"], "two [[adapters]] are called 'ba-lora'"),
        (["adapters.0.name=../x"], "is no name for a folder"),
        (["finetune.base={base}"], "add a table [pretrain]"),
        (["finetune.base=/nowhere/at/all"], "/nowhere/at/all"),
        (["evaluate.card=chbanch"], "no exam called 'chbanch'; did you mean"),
        (["text.n=40"], "write [text] n as 3x"),
        (["validation=0"], "steered by validation rows"),
        (["rounds=0"], "rounds: input should be greater than or equal to 1"),
        (["rounds.x=1"], "rounds is no table"),
        (["nonsense"], "is not TABLE.KEY=VALUE"),
        (["pretrain.steps=0"], "[pretrain] steps"),
        (["image.source=nowhere-at-all"], "nowhere-at-all"),
        (["image.source=sample-images", "image.export=imagefoldr"], "[image] export: no format 'imagefoldr'; did you"),
        (["adapters.0.name=tiny"], "the exam has another one of that name"),
        (["adapters.0.name=gold answers"], "the exam has another one of that name"),
        (["adapters.0.name=a  b"], "is no name for a folder"),
        (["finetune.revision=abc"], "[finetune] revision: the exam would ask another one"),
        (["text.balance=label"], "[text] balance makes labels equally many"),
        (["evaluate.everything=true"], "questions of sample although [text] does not hold them out"),
        (["text.holdout=5%"], "questions of sample although [text] does not hold them out"),
    ],
)
def test_a_wrong_recipe_is_one_line_and_nothing_is_made(augment, place, base, changes, told):
    recipe = write_recipe(place, base)
    ran = augment("loop", "--recipe", recipe, *(word for each in changes for word in ("--set", each)))
    assert ran.code == 2, ran.err
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert not (place / "loops").exists()


def rows_of(source: str) -> list[dict[str, str]]:
    seeds = open_source(source, holdout=0.0).seeds
    return [{"question": prompt, "answer": answer} for prompt, answer in seeds.select("prompt", "response").iter_rows()]


def write_rows(file: Path, rows: list[dict[str, str]]) -> Path:
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "evaluate"),
    [
        ("holdout = 0.2", 'exam = "mine.jsonl"'),  # all rows of the source itself
        ("", 'exam = "mine.jsonl"\nholdout = 0.3'),  # a share that the source does not hold out
        ('exam = "other.jsonl"', 'exam = "third.jsonl"'),  # what is held out is another exam
        ("", 'exam = "run"'),  # of a run the rows that it published are held out, not its exam
    ],
)
def test_an_exam_that_the_texts_do_not_hold_out_is_refused(augment, place, base, text, evaluate):
    chinese = rows_of("sample-zh")
    english = [each for each in rows_of("sample") if each not in chinese]
    write_rows(place / "mine.jsonl", chinese)
    write_rows(place / "other.jsonl", english[:20])
    write_rows(place / "third.jsonl", english[20:])
    if "run" in evaluate:
        run = augment("text", "--source", "mine.jsonl", "--holdout", "20%", "--n", "1x", "--limit", 5, "--out", "run")
        assert run.code == 0, run.err
    recipe = write_recipe(place, base, rounds=1, text=text, evaluate=evaluate)
    recipe.write_text(
        recipe.read_text("utf-8").replace('"sample"\nn', '"mine.jsonl"\nn').replace('card = "sample"', "")
    )
    ran = augment("loop", "--recipe", recipe)
    assert ran.code == 2
    assert "although [text] does not hold them out" in ran.err
    assert not (place / "loops").exists()


def test_an_exam_without_gold_answers_needs_a_judge(augment, place, base):
    chinese = rows_of("sample-zh")
    english = [{"question": each["question"]} for each in rows_of("sample") if each not in chinese]
    write_rows(place / "asked.jsonl", english)
    recipe = write_recipe(place, base, evaluate='exam = "asked.jsonl"', text="path = 'unset'")
    told = recipe.read_text("utf-8").replace('"sample"\nn', '"sample-zh"\nn').replace("path = 'unset'\n", "")
    recipe.write_text(told.replace('card = "sample"', ""))
    ran = augment("loop", "--recipe", recipe)
    assert ran.code == 2
    assert "asked.jsonl has no gold answers" in ran.err


def test_what_other_verbs_or_people_wrote_is_left_alone(augment, place, base):
    recipe = write_recipe(place, base)
    assert augment("text", "--source", "sample", "--n", "1x", "--limit", 3, "--out", "run").code == 0
    (place / "mine").mkdir()
    (place / "mine/validation.jsonl").write_text("mine")
    before = {path: path.read_bytes() for name in ("run", "mine") for path in (place / name).rglob("*.*")}
    for name in ("run", "mine"):
        ran = augment("loop", "--recipe", recipe, "--out", name)
        assert ran.code == 2
        assert f"{name} is not empty and no loop's folder" in ran.err
    assert before == {path: path.read_bytes() for name in ("run", "mine") for path in (place / name).rglob("*.*")}


def test_the_steering_asks_every_validation_row_and_the_exam_so_many(place, base):
    recipe = read_loop_recipe({}, write_recipe(place, base))
    assert recipe.evaluation(Path("validation.jsonl"), [], Path("out")).limit is None
    assert recipe.evaluation(None, [], Path("out")).limit == 12


def test_a_label_keeps_what_earlier_rounds_gave_it():
    amount = Amount(2, {}).and_more({"weak": 4, "strong": 0})
    assert amount.by_label() == {"weak": "6x"}
    later = amount.and_more({"strong": 3})  # of `weak` no answer was scored
    assert (later.n, later.by_label()) == (2, {"weak": "6x", "strong": "5x"})
    alike = later.and_more({None: 2})
    assert (alike.n, alike.by_label()) == (4, {"weak": "8x", "strong": "7x"})


def test_labels_are_scored_by_the_adapters_rows_that_have_a_score(tmp_path):
    lines = [
        {"model": model, "id": id, "label": label, "query": id, "cosine": score}
        for model, scores in {"base": (0, 0, 0), "mine": (0.2, 0.4, None), "somebody's": (1, 1, 1)}.items()
        for id, label, score in zip("123", ("a", "a", "b"), scores, strict=True)
    ]
    pl.DataFrame(lines, strict=False).write_parquet(tmp_path / "scores.parquet")
    found = label_scores(tmp_path, "cosine", ["mine"], pl.DataFrame({"label": ["a", "b", "b", None]}))
    assert [(each.name, each.rows, each.seeds) for each in found] == [("a", 2, 1)]
    assert found[0].score == pytest.approx(0.3)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(RunError, match="cannot write .*; make room"):
        put(tmp_path / "nowhere/control.jsonl", b"")


def test_one_seed_is_that_of_every_table_without_one(place, base):
    recipe = read_loop_recipe({}, write_recipe(place, base), ["seed=7", "pretrain.steps=3", "text.seed=5"])
    assert recipe.evaluation(None, [], Path("out")).seed == recipe.training(0, Path("data"), Path("out")).seed == 7
    assert recipe.pretraining().seed == 7
    assert recipe.augmentation(Path("out"), {}).seed == 5


def test_a_recipe_of_another_verb_is_told(augment, place):
    (place / "other.toml").write_text('verb = "finetune"\nbase = "x"\ndata = "y"\n')
    ran = augment("loop", "--recipe", "other.toml")
    assert ran.code == 2
    assert "is for augment finetune, not augment loop" in ran.err


def test_a_folder_that_is_no_loops_is_left_alone(augment, place, base):
    (place / "mine").mkdir()
    (place / "mine/notes.txt").write_text("mine")
    ran = augment("loop", "--recipe", write_recipe(place, base), "--out", "mine")
    assert ran.code == 2
    assert "no loop's folder" in ran.err
    assert [each.name for each in (place / "mine").iterdir()] == ["notes.txt"]


def test_a_dry_run_tells_each_stage_and_makes_nothing(augment, place, base):
    ran = augment("loop", "--recipe", write_recipe(place, base), "--dry-run", "--gpu", "H100")
    assert ran.code == 0, ran.err
    assert re.search(r"round 2: augment: 40 variants, 20 of them new", ran.out)
    assert "round 1: train nlora: 2 steps of 4 rows" in ran.out
    assert "round 2: exam: 60 answers" in ran.out
    assert "on one H100 (80 GB)" in ran.out
    assert not (place / "loops").exists()
    ran = augment("loop", "--recipe", "small.toml", "--dry-run", "--gpu", "H101")
    assert ran.code == 2
    assert "no GPU called 'H101'; did you mean" in ran.err


def test_the_gpu_recipe_tells_memory_and_time_of_its_seven_billion(augment, place, base):
    seven = save_base(place / "seven")
    for weights in seven.glob("*.safetensors"):
        weights.unlink()
    (seven / "config.json").write_text(json.dumps(SEVEN_B))
    changes = {"text.source": "sample", "finetune.base": seven, "text.llm": f"vllm:{seven}"}
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    recipe = ROOT / "flows/recipes/gpu-loop.toml"
    text = recipe.read_text("utf-8").replace('card = "chbench"\n', "")
    (place / "gpu.toml").write_text(text, "utf-8")
    ran = augment("loop", "--recipe", "gpu.toml", "--dry-run", "--gpu", "H100", "--json", *words)
    assert ran.code == 0, ran.err
    stages = {each["name"]: each for each in json.loads(ran.out)}
    assert "47,460 variants" in stages["round 1: augment"]["what"]
    assert stages["round 1: augment"]["seconds"] > 500
    training = stages["round 1: train ba-lora"]
    assert "322,961,408 trainable parameters" in training["what"]
    assert 7_615_616_512 * 2 + 322_961_408 * 16 < training["memory"] < 80e9
    assert training["seconds"] > stages["round 1: train nlora"]["seconds"] > 600  # its teacher is asked too


@pytest.mark.parametrize("file", sorted((ROOT / "flows/recipes").glob("*-loop.toml")), ids=lambda file: file.stem)
def test_every_key_of_a_bundled_loop_is_known(file, monkeypatch):
    recipe = read_loop_recipe({}, file)
    assert recipe.augmentation(Path("out"), {}).n
    assert recipe.evaluation(None, [], Path("out")).max_tokens
    for number, _ in enumerate(recipe.names()):
        assert recipe.training(number, Path("data"), Path("out")).rank
    assert tomllib.loads(file.read_text("utf-8"))["verb"] == "loop"


def test_the_budget_goes_to_what_is_below_the_mean():
    labels = [Label("weak", 10, 0.2, 10), Label("middling", 10, 0.5, 10), Label("strong", 10, 0.8, 10)]
    assert steered(labels, 2) == {"weak": 6, "middling": 0, "strong": 0}
    weaker = [
        Label("weakest", 10, 0.1, 10),
        Label("weak", 10, 0.3, 10),
        *(Label(f"{n}", 10, 0.8, 10) for n in range(3)),
    ]
    more = steered(weaker, 1)
    assert more["weakest"] > more["weak"] > 0
    assert not any(more[f"{n}"] for n in range(3))
    assert 10 * sum(more.values()) <= 50


def test_few_rows_say_less_than_many():
    few, many = Label("few", 1, 0.0, 5), Label("many", 40, 0.0, 5)
    scores = shrunk([few, many, Label("rest", 41, 1.0, 5)])
    assert scores["many"] < scores["few"] < 0.5


def test_where_no_label_is_weaker_all_get_as_many():
    assert steered([Label("a", 3, 0.5, 4), Label("b", 2, 0.5, 6)], 3) == {"a": 3, "b": 3}
    assert steered([], 3) == {}


def test_what_a_label_may_not_take_goes_to_the_others():
    labels = [Label("tiny", 50, 0.0, 1), Label("weak", 50, 0.4, 10), Label("strong", 50, 1.0, 10)]
    more = steered(labels, 2)
    assert more["tiny"] == 6
    assert more["weak"] == 4  # 42 in all, less 6
