"""The README is true: its commands are the ones CI runs, its flags exist, its output is what comes out."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

FOREIGN = {"--nproc-per-node", "--enable-lora", "--no-enable-chunked-prefill", "--include", "--tasks", "--model"}
"""Flags of torchrun, vLLM and lm_eval (`--include_path`)."""
ROOT = Path(__file__).parent.parent
README = "".join((ROOT / room / "README.md").read_text("utf-8") for room in (".", "augment", "filters", "finetune"))


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
    passage = "头痛持续三天以上，应当去医院检查。" * 30
    (place / "passages.jsonl").write_text(json.dumps({"prompt": passage}, ensure_ascii=False))
    (place / "labelled.csv").write_text(
        "text,label\n胸口发闷,heart\n饭后反酸,digestion\n爬楼心慌,heart\n腹胀嗳气,digestion\n"
    )
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    _pictures(place)
    verbs = re.compile("augment (text|image|paired) ")
    lines = [line for block in blocks("sh") for line in block.splitlines() if verbs.search(line)]
    assert len(lines) >= 8
    for line in lines:
        words = line[verbs.search(line).start() :].split("  #")[0].split()
        if "chbench" not in words:
            dry = words[1:] if "--dry-run" in words else [*words[1:], "--dry-run"]
            assert augment(*dry).code == 0, line


def _pictures(place: Path) -> None:
    """What the README's commands name: a folder of pictures, and pairs as lines and in an archive."""
    shown = sorted((ROOT / "data/sample-images").glob("*/*.png"))[:8]
    for path in shown:
        target = place / "photos" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    lines = [json.dumps({"image": f"photos/{path.parent.name}/{path.name}", "caption": "a thing"}) for path in shown]
    (place / "pairs.jsonl").write_text("\n".join(lines))
    with tarfile.open(place / "pairs.tar", "w") as archive:
        for number, path in enumerate(shown):
            archive.add(path, f"{number}.png")
            (place / "caption.txt").write_text(f"a thing, number {number}")
            archive.add(place / "caption.txt", f"{number}.txt")


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
    verbs = (
        "text",
        "image",
        "paired",
        "subject",
        "filter",
        "compare-thresholds",
        "verify",
        "sources",
        "explain",
        "export",
        "serve",
        "finetune",
        "evaluate",
        "lift",
        "report",
        "review",
    )
    helps = "".join(augment(verb, "--help").out for verb in verbs) + augment("adapter", "export", "--help").out
    assert flag in helps
