"""The command as a user meets it: words, exit codes, files."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import polars as pl
import pytest

from augment import __version__
from augment.engines import open_engine
from augment.sources import open_source
from tests.test_pipeline import seeds


def test_help_lists_every_verb_and_each_verb_has_help(augment):
    listed = augment("--help").out
    for verb in ("text", "sources", "list", "explain", "runs", "diff", "export", "verify"):
        assert verb in listed
        assert augment(verb, "--help").code == 0


def test_every_flag_of_text_is_a_recipe_key_and_back(augment):
    from augment.recipe import Recipe

    help_text = augment("text", "--help").out
    for name, each in Recipe.model_fields.items():
        if name != "name":
            assert f"--{(each.alias or name).replace('_', '-')}" in help_text


def test_list_names_every_plugin_with_a_line(augment):
    out = augment("list").out
    for name in ("rules", "paraphrase", "near_dup", "facts", "openai", "echo"):
        line = next(line for line in out.splitlines() if line.strip().startswith(name + " "))
        assert len(line.split(maxsplit=1)[1]) > 15


def test_sources_lists_cards_and_shows_one(augment):
    assert "chbench" in augment("sources").out
    shown = augment("sources", "sample").out
    assert re.search(r"160 = 1\d\d train \+ \d\d exam", shown)
    assert "Apache-2.0" in shown


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_sources_writes_a_split_that_is_a_source_again(augment, place, suffix):
    ran = augment("sources", "sample", "--split", "exam", "--out", place / f"exam.{suffix}")
    assert ran.code == 0
    count = int(ran.out.split()[0])
    assert 20 < count < 50
    assert f"{count} = {count} train + 0 exam" in augment("sources", f"exam.{suffix}").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text"], "no source given"),
        (["text", "--source", "smaple"], "did you mean sample"),
        (["text", "--source", "sample", "--n", "x"], "'x' is no amount"),
        (["text", "--source", "sample", "--generators", "nope"], "no generator called 'nope'"),
        (["text", "--source", "sample", "--set", "near_dup"], "is not FILTER.SETTING=VALUE"),
        (["text", "--source", "sample", "--map", "prompt"], "--map 'prompt' is not NAME=VALUE"),
        (["text", "--source", "sample", "--map", "prompt=nope"], "no column 'nope'"),
        (["text", "--source", "sample", "--llm", "gpt:x"], "no engine called 'gpt'"),
        (["text", "--source", "sample", "--llm", "openai:m", "--base-url", "http://127.0.0.1:9/v1"], "127.0.0.1:9"),
        (["text", "--source", "sample", "--recipe", "gone.toml"], "no recipe file gone.toml"),
        (["sources", "sample", "--split", "test"], "no split 'test'"),
        (["sources", "sample", "--split", "exam", "--out", "x.doc"], "cannot write x.doc"),
        (["explain", "abc"], "no finished run under runs/"),
        (["explain", "abc", "--run", "nowhere"], "nowhere holds no finished run"),
        (["export", "nowhere", "--format", "alpaca", "--out", "x"], "nowhere holds no finished run"),
    ],
)
def test_what_a_user_can_fix_is_one_line_and_exit_code_2(augment, words, said):
    ran = augment(*words)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.startswith("augment: ")
    assert ran.err.count("\n") == 1
    assert ran.out == ""


def test_text_prints_both_accounts_and_the_path_last(augment, place):
    ran = augment("text", "--source", seeds(place), "--llm", "echo", "--n", "2x", "--filters", "length", "--out", "r")
    assert ran.code == 0
    assert "40 rows in = 40 seeds + 0 exam + 0 rejected + 0 unused" in ran.out
    assert "80 candidates = 80 kept + 0 rejected + 0 failed" in ran.out
    assert ran.out.strip().splitlines()[-1] == "r"
    assert "no exam is held out" in ran.err


def test_json_prints_the_summary_and_nothing_else(augment, place):
    ran = augment("text", "--source", seeds(place), "--llm", "echo", "--n", "1x", "--filters", "none", "--json")
    found = json.loads(ran.out)
    assert found["kept"] == 40
    assert json.loads((Path(found["path"]) / "summary.json").read_text())["kept"] == 40


def test_a_dry_run_shows_the_plan_and_sends_and_writes_nothing(augment, place):
    words = ("text", "--source", seeds(place), "--llm", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--n", "3x")
    ran = augment(*words, "--generators", "paraphrase,persona:2", "--dry-run")
    assert ran.code == 0
    assert "120 variants" in ran.out
    assert "example   paraphrase" in ran.out
    assert "example   persona" in ran.out
    assert "第0号" in ran.out
    assert sorted(path.name for path in place.iterdir()) == ["seeds.jsonl"]
    found = json.loads(augment(*words, "--dry-run", "--json").out)
    assert found["requests"] == 120
    assert found["requests_at_most"] == 360


def test_a_recipe_file_does_what_its_flags_do(augment, place):
    (place / "r.toml").write_text(
        f'source = "{seeds(place)}"\nn = "2x"\nllm = "echo"\nfilters = ["length"]\nout = "a"\n[set.length]\nmax_prompt = 90\n'
    )
    augment("text", "--recipe", "r.toml")
    flags = (
        "--source",
        "seeds.jsonl",
        "--n",
        "2x",
        "--llm",
        "echo",
        "--filters",
        "length",
        "--set",
        "length.max_prompt=90",
    )
    augment("text", *flags, "--out", "b")
    assert (place / "a/curated/train.parquet").read_bytes() == (place / "b/curated/train.parquet").read_bytes()


def test_the_command_on_the_card_makes_the_same_run_again(augment, place):
    words = (
        "--source",
        seeds(place),
        "--n",
        "2x",
        "--llm",
        "echo",
        "--limit",
        "10",
        "--seed",
        "4",
        "--filters",
        "length",
    )
    augment("text", *words, "--set", "length.max_prompt=200", "--without-seeds", "--out", "a")
    command = (place / "a/README.md").read_text().split("Made by: `augment ")[1].split("`")[0]
    augment(*command.split(), "--out", "b")
    assert (place / "a/curated/train.parquet").read_bytes() == (place / "b/curated/train.parquet").read_bytes()


def test_explain_tells_the_story_of_kept_rejected_and_seed_rows(augment, place):
    words = ("text", "--source", seeds(place), "--llm", "echo", "--n", "2x", "--filters", "length", "--out", "runs/r")
    augment(*words, "--set", "length.max_prompt=45")
    rows = pl.read_parquet(place / "runs/r/curated/train.parquet")
    kept = rows.filter(pl.col("generator") == "paraphrase").row(0, named=True)
    told = augment("explain", kept["id"]).out
    for part in (
        "verdict: kept",
        kept["prompt"],
        "号：",
        "template: paraphrase.zh@",
        "<question>",
        "length_",
        f"seed: {kept['seed']}",
    ):
        assert part in told
    dropped = pl.read_parquet(place / "runs/r/rejected.parquet").row(0, named=True)
    assert f"dropped by length: {dropped['reason']}" in augment("explain", dropped["id"][:10], "--run", "runs/r").out
    assert json.loads(augment("explain", rows["id"][0], "--json").out)["from"]["generator"] == "seed"
    assert "no row 'zzz'" in augment("explain", "zzz").err


def test_exports_are_read_back_by_their_shapes(augment, place):
    augment("text", "--source", seeds(place), "--llm", "echo", "--n", "1x", "--filters", "none", "--out", "r")
    rows = pl.read_parquet(place / "r/curated/train.parquet")
    first = rows.row(0, named=True)
    for name in ("alpaca", "sharegpt", "chatml", "llamafactory"):
        assert f"{len(rows)} rows" in augment("export", "r", "--format", name, "--out", name).out
    alpaca = json.loads((place / "alpaca/seeds.json").read_text())
    assert alpaca[0] == {"instruction": first["prompt"], "input": "", "output": first["response"]}
    turns = json.loads((place / "sharegpt/seeds.json").read_text())[0]["conversations"]
    assert [(each["from"], each["value"]) for each in turns] == [("human", first["prompt"]), ("gpt", first["response"])]
    chat = json.loads((place / "chatml/seeds.jsonl").read_text().splitlines()[0])["messages"]
    assert [each["role"] for each in chat] == ["user", "assistant"]
    info = json.loads((place / "llamafactory/dataset_info.json").read_text())
    assert (place / "llamafactory" / info["seeds"]["file_name"]).is_file()
    assert "no export format 'csv'" in augment("export", "r", "--format", "csv", "--out", "x").err


def test_rows_without_a_response_are_left_out_of_an_export_and_counted(augment, place):
    (place / "s.jsonl").write_text(
        '{"question": "甲应该怎么办才好", "answer": "这样办。"}\n{"question": "乙应该怎么办才好"}\n'
    )
    augment("text", "--source", "s.jsonl", "--llm", "echo", "--n", "1x", "--filters", "none", "--out", "r")
    assert "2 rows to" in (out := augment("export", "r", "--format", "alpaca", "--out", "x").out)
    assert "2 without a response left out" in out


def test_a_run_that_keeps_nothing_says_why_and_fails(augment, place):
    ran = augment(
        "text", "--source", seeds(place), "--llm", "echo", "--filters", "length", "--set", "length.max_prompt=5"
    )
    assert ran.code == 1
    assert "no variant was kept" in ran.err
    assert "length: prompt too long" in ran.err


def test_the_helps_show_their_defaults(augment):
    assert "[default: 64]" in " ".join(augment("text", "--help").out.split())


def test_an_exam_that_is_not_held_out_is_not_written(augment, place):
    ran = augment("sources", seeds(place), "--split", "exam", "--out", "x.jsonl")
    assert ran.code == 2
    assert "--holdout 20%" in ran.err


def test_a_broken_registry_is_left_as_it_is(augment, place):
    augment("text", "--source", seeds(place), "--llm", "echo", "--n", "1x", "--filters", "none", "--out", "r")
    (place / "x").mkdir()
    (place / "x/dataset_info.json").write_text("{bad")
    ran = augment("export", "r", "--format", "llamafactory", "--out", "x")
    assert ran.code == 2
    assert "not a registry" in ran.err
    assert [path.name for path in (place / "x").iterdir()] == ["dataset_info.json"]


def test_the_version_is_printed_alone(augment):
    assert augment("--version").out == f"{__version__}\n"


def test_a_split_is_written_with_its_responses(augment, place):
    augment("sources", "sample", "--split", "exam", "--out", "e.jsonl")
    written = [json.loads(line)["response"] for line in (place / "e.jsonl").read_text().splitlines()]
    assert written == open_source("sample").exam["response"].to_list()


def test_concurrency_and_timeout_reach_the_engine(augment, place, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "augment.plan.open_engine", lambda name, options: seen.append(options) or open_engine(name, options)
    )
    words = ("--source", seeds(place), "--llm", "echo", "--n", "1x")
    augment("text", *words, "--concurrency", 7, "--timeout", 9)
    assert (seen[0].concurrency, seen[0].timeout) == (7, 9)


def test_a_finished_run_gives_the_signals_back(augment, place):
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(each) for each in signals]
    augment("text", "--source", seeds(place), "--llm", "echo", "--n", "1x")
    assert [signal.getsignal(each) for each in signals] == before
