"""The README is true: its commands are the ones CI runs, its flags exist, its output is what comes out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

FOREIGN = {"--nproc-per-node", "--enable-lora", "--include", "--tasks"}
"""Flags of torchrun, vLLM and lm_eval (`--include_path`)."""
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    """The README's fenced blocks of one language."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for language, text in fences if language == kind]


def test_the_main_job_prints_what_the_readme_shows(augment):
    ran = augment("text", "--source", "sample", "--n", "5x")
    shown = blocks("")[0].splitlines()
    printed = (ran.err + ran.out).splitlines()
    timeless = [re.sub(r"[\d.]+ s:", "… s:", line) for line in shown]
    assert timeless == [re.sub(r"[\d.]+ s:", "… s:", line) for line in printed]


def test_the_rows_that_the_readme_shows_come_out(augment, place):
    import polars as pl

    augment("text", "--source", "sample", "--n", "5x", "--out", "r")
    prompts = set(pl.read_parquet(place / "r/curated/train.parquet")["prompt"])
    for line in blocks("")[1].splitlines():
        assert line.replace("→", "").strip() in prompts


def test_every_command_of_the_readme_is_accepted(augment, place, monkeypatch):
    (place / "questions.csv").write_text("question,answer\n头疼三天了应该怎么办,先休息\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    lines = [line for block in blocks("sh") for line in block.splitlines() if "augment text" in line]
    assert len(lines) >= 4
    for line in lines:
        words = line[line.index("augment text") :].split("  #")[0].split()
        if "chbench" not in words:
            dry = words[1:] if "--dry-run" in words else [*words[1:], "--dry-run"]
            assert augment(*dry).code == 0, line


def test_ci_takes_the_two_commands_from_the_readme():
    script = (ROOT / ".ci/run").read_text()
    function = next(line for line in script.splitlines() if line.startswith("command_of()"))
    for name, said in (("main", "augment text --source sample"), ("test", "&& pytest")):
        command = f"{function}\ncommand_of {name}"
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
        assert said in done.stdout
        assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "flag", sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - {"--with-peers", *FOREIGN})
)
def test_every_flag_that_the_readme_names_exists(augment, flag):
    verbs = ("text", "sources", "explain", "export", "serve", "finetune", "evaluate", "lift", "report", "review")
    helps = "".join(augment(verb, "--help").out for verb in verbs) + augment("adapter", "export", "--help").out
    assert flag in helps
