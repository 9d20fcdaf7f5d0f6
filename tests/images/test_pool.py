"""Pictures made in several processes: the same as in one, in order, few at a time, and failures that are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image
from skimage import data

from augment.errors import RunError
from augment.executors import pool
from augment.executors.pool import AHEAD, CHUNK, pooled, processes_for
from augment.generators.classical import Classical
from augment.images.store import pictures
from augment.records import Reply, Request, Row

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Odd:
    """Answers with its process's id; does something else at given numbers."""

    name: ClassVar[str] = "odd"
    raises: int = -1
    refuses: int = -1
    dies: int = -1
    sleeps: float = 0.0

    def answer(self, request: Request) -> Reply:
        if request.k == self.raises:
            raise ZeroDivisionError(f"at {request.k}")
        if request.k == self.refuses:
            raise RunError("the disk is full; make room")
        if request.k == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.sleeps)
        return Reply(request.key, str(os.getpid()))


def odd(count: int) -> Iterator[Request]:
    return (Request("r", "odd", k, (), "odd@1", k, settings={"k": k}) for k in range(count))


def seeds() -> list[Row]:
    found = []
    for name in ("astronaut", "coffee", "chelsea"):
        picture = Image.fromarray(getattr(data, name)()).resize((64, 48))
        stored = pictures().add(picture)
        found.append(Row(name, "", label="thing", image=stored, pixels=stored, width=64, height=48))
    return found


def test_replies_are_those_of_one_process_in_order_and_their_pictures_are_kept(place):
    generator, records = Classical(), seeds()
    requests = [generator.ask(records[k % 3], k, ()) for k in range(5 * CHUNK + 3)]
    alone = [generator.answer(each) for each in requests]
    together = list(pooled(iter(requests), {"classical": generator}, 2))
    assert together == [replace(each, picture=b"") for each in alone]
    assert [pictures().raw(each.key) for each in alone] == [each.picture for each in alone]


def test_the_store_is_that_of_the_moment_also_where_processes_were_started_before(place, monkeypatch):
    generator = Classical()
    for home in ("one", "two"):  # relative to the folder, as $AUGMENT_HOME may be
        monkeypatch.setenv("AUGMENT_HOME", home)
        request = generator.ask(seeds()[0], 0, ())
        (reply,) = pooled([request], {"classical": generator}, 1)
        assert (place / home / "images" / f"{reply.key}.png").is_file()
    assert len(list((place / "one" / "images").iterdir())) == 4


def test_all_processes_work(place):
    assert len({each.text for each in pooled(odd(12 * CHUNK), {"odd": Odd(sleeps=0.005)}, 2)} - {str(os.getpid())}) == 2


def test_nothing_is_asked_of_nobody(place):
    assert list(pooled(iter(()), {"odd": Odd()}, 2)) == []


def test_requests_are_drawn_a_few_chunks_ahead(place):
    drawn = 0

    def counted() -> Iterator[Request]:
        nonlocal drawn
        for each in odd(100 * CHUNK):
            drawn += 1
            yield each

    replies = pooled(counted(), {"odd": Odd()}, 2)
    for n in range(1, 4 * CHUNK):
        next(replies)
        assert drawn <= n + CHUNK * (2 * AHEAD + 1)
    replies.close()
    assert drawn < 20 * CHUNK


def test_an_exception_reaches_the_caller_with_its_traceback_after_the_replies_before(place):
    got = []
    with pytest.raises(ZeroDivisionError, match="at 20") as caught:
        for each in pooled(odd(10 * CHUNK), {"odd": Odd(raises=20)}, 2):
            got.append(each)
    assert len(got) == 20 // CHUNK * CHUNK
    assert "in answer" in "".join(traceback.format_exception(caught.value))


def test_what_a_user_can_put_right_stays_one_line(place):
    with pytest.raises(RunError, match="the disk is full; make room"):
        list(pooled(odd(40), {"odd": Odd(refuses=9)}, 2))
    with pytest.raises(RunError, match="is not in"):
        request = Request("r", "classical", 0, (), "t@1", 0, settings={"ops": [["flip"]]}, pictures=("missing",))
        list(pooled([request], {"classical": Classical()}, 1))


def test_a_killed_process_is_one_clear_error(place):
    with pytest.raises(RunError, match="a process that makes pictures was killed") as caught:
        list(pooled(odd(400), {"odd": Odd(dies=30)}, 2))
    assert "\n" not in str(caught.value)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_closing_ends_the_processes_and_leaves_the_rest_undone(place):
    replies = pooled(odd(100_000), {"odd": Odd(sleeps=0.002)}, 2)
    pids = {int(next(replies).text) for _ in range(6 * CHUNK)}
    assert all(alive(each) for each in pids)
    replies.close()
    assert not any(alive(each) for each in pids)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_processes_do_not_outlive_the_one_they_serve(place):
    code = (
        "from tests.images.test_pool import Odd, odd, pooled\n"
        "if __name__ == '__main__':\n"
        "    for each in pooled(odd(10**6), {'odd': Odd(sleeps=0.01)}, 2):\n"
        "        print(each.text, flush=True)\n"
    )
    (place / "script.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, text=True, env=env) as run:
        pids = {int(run.stdout.readline()) for _ in range(8 * CHUNK)}
        run.kill()
    end = time.monotonic() + 30
    while any(alive(each) for each in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(each) for each in pids)


def test_ctrl_c_is_the_callers_to_decide(place):
    code = (
        "import signal\n"
        "from tests.images.test_pool import Odd, odd, pooled\n"
        "if __name__ == '__main__':\n"
        "    asked = []\n"
        "    signal.signal(signal.SIGINT, lambda *_: asked.append(1))\n"
        "    done = 0\n"
        "    for each in pooled(odd(400), {'odd': Odd(sleeps=0.002)}, 2):\n"
        "        done += 1\n"
        "        if done == 1: print('begun', flush=True)\n"
        "    print(done, len(asked), flush=True)\n"
    )
    (place / "script.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        [sys.executable, "script.py"], stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    assert run.stdout.readline() == "begun\n"
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: every process of the group
    assert run.communicate()[0] == "400 1\n"
    assert run.returncode == 0


def test_a_few_requests_are_worth_no_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert processes_for(pool.WORTH - 1) == 1
    assert processes_for(pool.WORTH) == pool.MOST
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert processes_for(10**6) == 2


def test_a_run_by_processes_is_a_run_by_one_and_asks_none_where_nothing_can_be_done(augment, place, monkeypatch):
    few = ("image", "--source", "sample-images", "--limit", "8", "--n", "2x", "--generators", "classical")
    alone = augment(*few, "--out", "alone")
    monkeypatch.setattr(pool, "WORTH", 1)
    together = augment(*few, "--out", "together")
    assert (alone.code, together.code) == (0, 0), together.err
    written = [(place / out / "curated" / "train.parquet").read_bytes() for out in ("alone", "together")]
    assert written[0] == written[1]
    none = augment(*few, "--set", 'classical.ops=["grey"]', "--out", "none")  # every caption names a colour
    assert "would make untrue" in none.out + none.err
