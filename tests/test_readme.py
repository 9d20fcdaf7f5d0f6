"""The READMEs are true: their commands run, their output is what comes out, their flags and links exist."""

from __future__ import annotations

import re
import shlex
import subprocess

import polars as pl
import pytest

from tests.commands import (
    MAIN,
    NOT_RUN,
    ROOMS,
    ROOT,
    RUN,
    STAND_INS,
    Command,
    extras,
    fences,
    not_run,
    readme,
    readme_commands,
)
from tests.test_help import SHOWN

COMMANDS = readme_commands()
TIME = re.compile(r"[\d.]+ s:")
SIZE = re.compile(r" \([\d.]+ kB\)")


@pytest.mark.parametrize("command", [each for each in COMMANDS if not not_run(each.line)], ids=str)
def test_a_command_runs(stage, command):
    done = stage.run(command)
    assert done.code == 0, done.err[-3000:]


@pytest.mark.parametrize("command", [each for each in COMMANDS if not_run(each.line)], ids=str)
def test_what_is_not_run_is_read(stage, command):
    named = re.findall(r"'\.\[(.*)\]'", command.line)
    assert {*named} <= extras()
    _, found, words = command.line.rpartition("augment ")
    if not found or "pip" in command.line:
        return
    verb, *rest = shlex.split(words.partition(")")[0])
    if "…" in rest or "big.toml" in rest or verb == "evaluate":
        flags = [each for each in rest if each.startswith("--")]
        help_text = stage.here([verb, "--help"], {}).out
        assert [each for each in flags if each not in help_text] == []
    else:
        words = shlex.split(stage.written(shlex.join([verb, *rest])))
        assert stage.here([*words, "--dry-run"], {}).code == 0


def test_the_lists_of_what_is_not_run_and_of_what_stands_in_have_nothing_that_is_not_there():
    lines = [each.line for each in COMMANDS] + [example for _, example in SHOWN]
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, line) for line in lines), pattern
    exported = [value for each in COMMANDS for _, value in each.exported]
    told = " ".join([*lines, *exported])
    assert [each for each in STAND_INS if each not in told] == []


def test_a_line_without_a_stand_in_fails(stage):
    assert stage.run(Command("here", "augment text --source nowhere.csv --n 5x")).code == 2
    assert stage.run(Command("here", "augment evaluate sample --base Qwen/Qwen3-0.6B --adapter gone")).code == 2
    with pytest.raises(AssertionError, match="no stand-in for `curl`"):
        stage.run(Command("here", "curl http://example.org"))


def shown(room: str, begins: str) -> list[str]:
    """The lines of the block of output that begins so."""
    (found,) = {block for block in fences(readme(room), "") if block.startswith(begins)}
    return found.splitlines()


def test_the_main_job_prints_what_the_readme_shows(stage):
    ran = stage.run(Command("", MAIN))
    printed = [line for line in (ran.err + ran.out).splitlines() if " kept · " not in line]  # how far it is, if slow
    expected = shown("", "no --llm")
    assert [TIME.sub("… s:", line) for line in expected] == [TIME.sub("… s:", line) for line in printed]


def test_the_rows_that_the_readme_shows_come_out(stage):
    stage.run(Command("", MAIN))
    prompts = set(pl.read_parquet(stage.place / RUN / "curated/train.parquet")["prompt"])
    for line in shown("", "血压"):
        assert line.replace("→", "").strip() in prompts


@pytest.mark.parametrize(
    ("room", "line", "begins"),
    [
        ("filters", f"augment compare-thresholds {RUN} near_dup.threshold 0.5 0.6", "640 rows"),
        ("", f"augment verify {RUN}", "files"),
        ("augment", f"augment verify {RUN} --rescore all", "files"),
        ("", f"augment lift {RUN}", "difference"),
    ],
)
def test_what_a_command_prints_is_what_the_readme_shows(stage, room, line, begins):
    printed = [SIZE.sub("", each.rstrip()) for each in stage.run(Command("", line)).out.splitlines()]
    expected = [SIZE.sub("", each) for each in shown(room, begins)]
    assert [each for each in expected if each not in printed] == []


def test_the_doctor_says_what_the_readme_shows(stage):
    printed = stage.run(Command("", "augment doctor")).out
    for line in shown("augment", "ok "):
        assert line in printed


def test_an_export_warns_as_the_readme_shows(stage):
    from tests.server import serve

    with serve(models="gpt-4o-mini") as server:
        made = stage.here(
            ["text", "--source", "questions.csv", "--n", "1x", "--llm", "openai:gpt-4o-mini", "--out", "gpt"],
            {"OPENAI_BASE_URL": server.url},
        )
    assert made.code == 0
    assert stage.here(["export", "gpt", "--format", "alpaca", "--out", "gpt-alpaca"], {}).err.splitlines() == shown(
        "augment", "note:"
    )


@pytest.mark.parametrize("room", ["", "augment"])
def test_the_python_that_is_shown_runs(stage, room):
    (code,) = (block for block in fences(readme(room), "python") if not block.startswith("# ours/"))
    found: dict[str, object] = {}
    with stage.inside({}):
        exec(code, found)
    assert len(found["run"].curated) == 128 + 640


def test_ci_takes_the_two_commands_from_the_readme():
    script = (ROOT / ".ci/run").read_text()
    function = next(line for line in script.splitlines() if line.startswith("command_of()"))
    for name, said in (("main", "augment text --source sample"), ("test", "&& pytest")):
        command = f"{function}\ncommand_of {name}"
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
        assert said in done.stdout
        assert done.stdout.count("\n") == 1


FOREIGN = {
    *("--nproc-per-node", "--enable-lora", "--no-enable-chunked-prefill", "--include", "--tasks", "--model"),
    *("--with-peers", "--all", "--prefect-file", "--head", "--port", "--address", "--nodes", "--ntasks-per-node"),
    *("--gpus-per-node", "--overlap", "--block"),
}
"""Flags of torchrun, vLLM, lm_eval (`--include_path`), our benchmarks, Prefect, Ray and Slurm."""


def test_every_flag_that_a_readme_names_exists(stage):
    verbs = re.findall(r"^  ([a-z-]+)  ", stage.here(["--help"], {}).out, re.MULTILINE)
    helps = [stage.here([verb, "--help"], {}).out for verb in verbs]
    helps += [stage.here(["adapter", verb, "--help"], {}).out for verb in ("export", "merge")]
    told = {flag for room in ROOMS for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", readme(room))}
    known = {flag for text in helps for flag in re.findall(r"--[a-z][a-z-]+", text)}
    assert told - known - FOREIGN == set()


@pytest.mark.parametrize("room", ROOMS)
def test_every_link_of_a_readme_leads_somewhere(room):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", readme(room)):
        assert (ROOT / room / target).exists(), target
