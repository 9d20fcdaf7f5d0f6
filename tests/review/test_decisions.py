"""Decisions on disk: nothing that was acknowledged is lost, by a crash, by two writers or by a torn line."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from augment.errors import RunError
from augment.review.decisions import DECISIONS, Decision, append, in_order, now, read

LOOP = """
import sys
from pathlib import Path
from augment.review.decisions import Decision, append
name, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    append(Path("."), Decision(f"{name}{number}", "accept", name, "2026-01-01T00:00:00+00:00", "r", {"prompt": "问" * 4000}))
    print(number, flush=True)
"""


def decision(
    row: str = "a", verdict: str = "accept", reviewer: str = "ann", time: str = "", **more: object
) -> Decision:
    return Decision(row, verdict, reviewer, time or now(), "r", {"id": row}, **more)


ROOT = Path(__file__).parent.parent.parent


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def writer(place: Path, name: str, count: int) -> subprocess.Popen:
    words = [sys.executable, "-c", LOOP, name, str(count)]
    return subprocess.Popen(words, cwd=place, env=environment(), stdout=subprocess.PIPE, text=True)


def test_a_decision_comes_back_as_it_was(place):
    given = decision(verdict="edit", prompt="改过的\n「问题」", response=None, note="a \u202e note")
    append(place, given)
    assert read(place / DECISIONS) == ([given], 0)


def test_a_reader_of_the_file_finds_who_decided_what_and_when(place):
    append(place, decision(verdict="reject", note="off topic"))
    line = json.loads((place / DECISIONS).read_text())
    assert (line["row"], line["verdict"], line["reviewer"], line["note"]) == ("a", "reject", "ann", "off topic")
    assert line["time"].endswith("+00:00")


def test_a_torn_last_line_is_read_past_and_the_next_decision_is_whole(place):
    append(place, decision("a"))
    append(place, decision("b"))
    path = place / DECISIONS
    path.write_bytes(path.read_bytes()[:-20])
    assert [one.row for one in read(path)[0]] == ["a"]
    append(place, decision("c"))
    found, broken = read(path)
    assert [one.row for one in found] == ["a", "c"]
    assert broken == 1


@pytest.mark.parametrize("line", [b"\xff\xfe", b"{}", b"[1]", b'{"row": 1}', b"null"])
def test_a_line_that_holds_no_decision_is_counted_and_read_past(place, line):
    append(place, decision("a"))
    with (place / DECISIONS).open("ab") as file:
        file.write(line + b"\n")
    append(place, decision("b"))
    found, broken = read(place / DECISIONS)
    assert ([one.row for one in found], broken) == (["a", "b"], 1)


def test_two_processes_at_once_lose_nothing(place):
    both = [writer(place, name, 60) for name in ("x", "y")]
    assert [each.wait() for each in both] == [0, 0]
    found, broken = read(place / DECISIONS)
    assert broken == 0
    assert sorted(one.row for one in found) == sorted(f"{name}{number}" for name in "xy" for number in range(60))


def test_a_writer_waits_for_the_one_that_is_writing(place):
    append(place, decision())
    with (place / DECISIONS).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = writer(place, "x", 1)
        while not any(
            "->" in line and f" {process.pid} " in line for line in Path("/proc/locks").read_text().splitlines()
        ):
            assert process.poll() is None, "it wrote all the same"
        assert len(read(place / DECISIONS)[0]) == 1
    assert process.wait() == 0
    assert len(read(place / DECISIONS)[0]) == 2


def test_what_was_acknowledged_before_a_kill_is_there(place):
    process = writer(place, "x", 10_000)
    acknowledged = [process.stdout.readline() for _ in range(25)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    rows = {one.row for one in read(place / DECISIONS)[0]}
    assert {f"x{int(each)}" for each in acknowledged} <= rows


def test_each_decision_is_forced_to_the_disk_before_it_is_acknowledged(place, monkeypatch):
    forced = []
    real = os.fsync

    def watched(file: int) -> None:
        forced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        real(file)

    monkeypatch.setattr(os, "fsync", watched)
    append(place, decision())
    append(place, decision())
    assert forced == [DECISIONS, place.name, DECISIONS], "the file each time, and the folder once it has the file"


def test_decisions_about_another_run_are_passed_by(place):
    append(place, decision())
    assert read(place / DECISIONS, "other") == ([], 0)
    assert len(read(place / DECISIONS, "r")[0]) == 1


def test_a_clock_that_is_set_back_does_not_reorder_decisions():
    later = "2999-01-01T00:00:00.000000+00:00"
    assert now(after=later) > later
    one, other = decision("a", time=later), decision("a", "reject", time=now(after=later))
    assert in_order([other, one, other]) == [one, other]


def test_a_folder_that_cannot_be_written_is_one_clear_line(place):
    with pytest.raises(RunError, match=r"cannot write .*review\.jsonl: .*the decision was not stored"):
        append(place / "nowhere", decision())
