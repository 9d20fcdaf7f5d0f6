"""Past runs as a user lists them: what is there, what is unfinished, what is broken, at any width."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from augment.publish import Workshop
from augment.runs import past_runs, print_runs, run_folder
from tests.test_pipeline import plan_of, seeds


def made(augment, place: Path, name: str, age: int = 0, **flags: object) -> Path:
    """A finished run `runs/<name>`, made `age` seconds ago."""
    words = [word for key, value in {"n": "2x", "filters": "none", **flags}.items() for word in (f"--{key}", value)]
    ran = augment("text", "--source", seeds(place, 10), "--llm", "echo", *words, "--out", f"runs/{name}")
    assert ran.code in (0, 1)
    manifest = place / "runs" / name / "manifest.json"
    os.utime(manifest, (manifest.stat().st_mtime - age,) * 2)
    return manifest.parent


def listed(augment) -> list[dict]:
    return json.loads(augment("runs", "--json").out)


def shown(width: int) -> str:
    """The list on a terminal of that width."""
    seen = io.StringIO()
    print_runs(past_runs(), Path("runs"), Console(file=seen, force_terminal=True, color_system=None, width=width))
    return seen.getvalue()


def test_the_newest_run_comes_first_with_its_counts(augment, place):
    made(augment, place, "z", filters="length", set="length.max_prompt=20")
    made(augment, place, "a", age=3600)
    new, old = listed(augment)
    assert (old["run"], old["path"], old["state"], old["source"]) == ("a", "runs/a", "finished", "seeds")
    assert (old["version"], old["parent"]) == (1, None)
    summary = json.loads((place / "runs/z/summary.json").read_text())
    assert new["rejected"] == sum(summary["rejected"]["length"].values()) > 0
    assert [new[key] for key in ("seeds", "kept", "target", "failed")] == [
        summary[key] for key in ("seeds", "kept", "target", "failed")
    ]
    line = next(line for line in augment("runs").out.splitlines() if line.startswith("a "))
    assert line.split()[:4] == ["a", "1", "-", "seeds"]
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d +10 +20/20 +0 +0 +\d+ kB$", line)


def test_the_size_is_that_of_every_file(augment, place):
    folder = made(augment, place, "a")
    assert listed(augment)[0]["bytes"] == sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def test_a_version_names_its_parent(augment, place):
    words = ("text", "--llm", "echo", "--n", "1x", "--filters", "none", "--incremental")
    augment(*words, "--source", seeds(place, 5))
    augment(*words, "--source", seeds(place, 6))
    second, first = listed(augment)
    assert (second["version"], second["parent"], second["carried"]) == (2, first["run"], 5)
    assert f"{second['run']}  2        {first['run']}" in augment("runs").out
    assert f"{second['run']} · version 2 of {first['run']}" in shown(80)


def test_a_manifest_of_before_there_were_versions_is_a_first_version(augment, place):
    folder = made(augment, place, "a")
    manifest = json.loads((folder / "manifest.json").read_text())
    for key in ("version", "parent", "name", "line", "content"):
        manifest.pop(key, None)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert (listed(augment)[0]["state"], listed(augment)[0]["version"]) == ("finished", 1)


def test_a_run_that_is_being_written_says_by_whom_and_a_killed_one_what_to_do(place, augment):
    with Workshop.open(plan_of(source=seeds(place, 3), out=Path("runs/busy"))):
        (busy,) = past_runs()
        assert busy.state.startswith(f"being written by pid {os.getpid()} on ")
        assert f"being written by pid {os.getpid()}" in augment("runs").out
        assert f"busy · being written by pid {os.getpid()}" in shown(70)
        holder = (place / "runs/busy/.holder").read_text()
    (place / "runs/busy/.holder").write_text(holder)  # as `kill -9` leaves it
    (killed,) = past_runs()
    assert killed.state == "unfinished: give its command again"
    assert killed.kept is None


def test_a_finished_run_that_is_made_anew_keeps_its_counts(augment, place):
    folder = made(augment, place, "a")
    with Workshop.open(plan_of(source="seeds.jsonl", out=folder, overwrite=True)):
        (again,) = past_runs()
    assert again.state.startswith("being written by pid")
    assert again.kept == 20


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("manifest.json", "{", "broken: manifest.json: "),
        ("manifest.json", '{"fingerprint": "a", "source": 3}', "broken: manifest.json: source: "),
        ("manifest.json", '{"fingerprint": "a", "source": {"name": "s"}, "version": "x"}', "manifest.json: version: "),
        ("summary.json", "[]", "broken: summary.json: "),
        ("summary.json", None, "broken: summary.json: No such file"),
    ],
)
def test_a_broken_run_costs_one_line(augment, place, name, text, said):
    made(augment, place, "whole")
    folder = made(augment, place, "broken")
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    states = {each["run"]: each["state"] for each in listed(augment)}
    assert states["whole"] == "finished"
    assert said in states["broken"]
    assert len(augment("runs").out.splitlines()) == 3


def test_foreign_folders_and_files_are_passed_by(augment, place):
    made(augment, place, "a")
    (place / "runs/notes").mkdir()
    (place / "runs/app").mkdir()
    (place / "runs/app/manifest.json").write_text('{"name": "a web app"}')
    (place / "runs/list.txt").write_text("x")
    assert [each["run"] for each in listed(augment)] == ["a"]


def test_no_runs_is_one_line_and_no_error(augment, place):
    ran = augment("runs")
    assert (ran.code, ran.out) == (0, "no runs under runs/; augment text --source sample makes one\n")
    assert listed(augment) == []
    wrong = augment("runs", "--runs", "nowhere")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "nowhere is not a folder" in wrong.err


def test_nothing_is_cut_at_any_width_nor_when_piped(augment, place, monkeypatch):
    name = "a-recipe-with-a-rather-long-name-0123456789abcdef-and-more-of-it"
    made(augment, place, name)
    monkeypatch.setenv("COLUMNS", "80")
    out = augment("runs").out
    assert name in out
    assert len(out.splitlines()) == 2
    for width in (40, 80, 300):
        assert name in shown(width).replace("\n", "")
        assert "…" not in shown(width)


def test_eighty_columns_hold_a_large_run(augment, place):
    folder = made(augment, place, "chbench-0a1b2c3d")
    counts = json.loads((folder / "summary.json").read_text())
    counts |= {"seeds": 100_000, "kept": 500_000, "target": 500_000, "rejected": {"length": {"x": 123_456}}}
    (folder / "summary.json").write_text(json.dumps(counts))
    assert max(map(len, shown(80).splitlines())) <= 80
    assert "500,000/500,000" in shown(80)
    assert "chbench-0a1b2c3d  1        -       seeds" in shown(120)


def test_a_name_cannot_drive_the_terminal(augment, place):
    made(augment, place, "a\x1b[2Jb")
    for out in (augment("runs").out, shown(40), augment("runs", "--json").out):
        assert "\x1b" not in out
    assert "a\\x1b[2Jb" in augment("runs").out


def test_a_run_is_found_by_path_and_by_name(augment, place):
    made(augment, place, "a")
    assert run_folder("a") == run_folder("runs/a") == Path("runs/a")
    (place / "a").mkdir()
    assert run_folder("a") == Path("runs/a"), "a folder here that is no run does not hide one"
