"""The page's server: who is let in, what is refused, and that a decision is on the disk when it is acknowledged."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from augment.review.decisions import DECISIONS, read
from tests.review.pages import review
from tests.review.runs import curated, kept, made, rejected, sit


@pytest.fixture
def run(place):
    return made(place).path


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A run and its page, for the tests that change little."""
    place = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("AUGMENT_HOME", str(place / "home"))
        run = place / made(place).path
    with review(place, run, "--reviewer", "ann", "--sample", "40") as opened:
        yield run, opened


@pytest.fixture
def page(shared):
    return shared[1]


@pytest.fixture
def stored(shared):
    """The decisions that a test stored."""
    before = len(read(shared[0] / DECISIONS)[0])
    return lambda: read(shared[0] / DECISIONS)[0][before:]


def test_it_listens_on_loopback_alone(page):
    with open("/proc/net/tcp") as file:  # noqa: PTH123
        listening = [line.split()[1] for line in file if line.split()[3] == "0A"]
    assert [each for each in listening if each.endswith(f":{page.port:04X}")] == [f"0100007F:{page.port:04X}"]


@pytest.mark.parametrize(
    "path", ["/", "/review.js", "/review.css", "/rows", "/rows/x", "/nothing", "/?token=wrong", "/?token="]
)
def test_nothing_is_told_without_the_token(page, path):
    status, headers, body = page.send("GET", path, cookie=False)
    assert status == 403
    assert "Set-Cookie" not in headers
    assert json.loads(body) == {"error": "open the address that `augment review` printed; it holds a token"}


def test_nothing_is_decided_without_the_token(page, stored):
    id = page.ask("/rows")["rows"][0]["id"]
    for path in (f"/rows/{id}", f"/rows/{id}?token={page.token}"):
        assert page.send("POST", path, {"verdict": "accept"}, cookie=False)[0] == 403
    wrong = {"Cookie": f"augment-review-{page.port}={page.token}"}
    assert page.send("POST", f"/rows/{id}", {"verdict": "accept"}, wrong, cookie=False)[0] == 403
    assert stored() == []


def test_the_token_leaves_the_address_for_a_cookie_that_scripts_and_other_sites_cannot_use(page):
    status, headers, _ = page.send("GET", f"/?token={page.token}", cookie=False)
    assert status == 200
    flags = {each.strip() for each in headers["Set-Cookie"].split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= flags
    assert page.token not in headers["Set-Cookie"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.evil.example:{port}", "[::1]:{port}"]
)
def test_a_foreign_name_for_this_machine_is_refused(page, host):
    status, _, body = page.send("GET", "/rows", headers={"Host": host.format(port=page.port)})
    assert status == 403
    assert "127.0.0.1 only" in json.loads(body)["error"]


def test_a_forwarded_port_is_reached_as_localhost(page):
    assert page.send("GET", "/rows", headers={"Host": f"localhost:{page.port}"})[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}"])
def test_a_page_of_another_origin_decides_nothing(page, stored, origin):
    id = page.ask("/rows")["rows"][0]["id"]
    given = {"Origin": origin.format(port=page.port)}
    assert page.send("POST", f"/rows/{id}", {"verdict": "accept"}, given)[0] == 403
    assert stored() == []
    own = {"Origin": f"http://127.0.0.1:{page.port}"}
    assert page.send("POST", f"/rows/{id}", {"verdict": "accept"}, own)[0] == 200


def test_a_plain_form_decides_nothing(page, stored):
    id = page.ask("/rows")["rows"][0]["id"]
    form = {"Content-Type": "text/plain"}
    assert page.send("POST", f"/rows/{id}", b'{"verdict": "accept"}', form)[0] == 415
    assert stored() == []


def test_every_answer_is_uncached_and_runs_nothing_foreign(page):
    for path in ("/", "/rows", "/nothing", "/review.js"):
        for cookie in (True, False):
            headers = page.send("GET", path, cookie=cookie)[1]
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "aiohttp" not in headers["Server"].lower()


def test_an_acknowledged_decision_survives_kill_9(place, run):
    with review(place, run, "--reviewer", "ann", "--sample", "40") as page:
        ids = [row["id"] for row in page.ask("/rows")["rows"]][:5]
        for id in ids:
            assert page.decide(id, "reject")[0] == 200
        os.kill(page.process.pid, signal.SIGKILL)
        page.process.wait()
    assert [one.row for one in read(run / DECISIONS)[0]] == ids


def test_a_review_goes_on_where_it_was(place, run):
    with review(place, run, "--reviewer", "ann", "--sample", "20") as page:
        id = page.ask("/rows")["rows"][3]["id"]
        page.decide(id, "accept", note="fine")
        os.kill(page.process.pid, signal.SIGKILL)
    with review(place, run, "--reviewer", "ann", "--sample", "20") as page:
        told = page.ask("/rows")
        assert [row["id"] for row in told["rows"] if row["verdict"]] == [id]
        assert told["trail"] == [id]
        assert page.ask(f"/rows/{id}")["note"] == "fine"
    with review(place, run, "--reviewer", "bob", "--sample", "20") as page:
        told = page.ask("/rows")
        assert not any(row["verdict"] for row in told["rows"])
        assert told["rates"]["kept"]["reviewed"] + told["rates"]["rejected"]["reviewed"] == 1


def test_two_reviewers_at_once_lose_nothing_and_are_not_led(place, run):
    with review(place, run, "--reviewer", "ann") as ann, review(place, run, "--reviewer", "bob") as bob:
        ids = [row["id"] for row in ann.ask("/rows")["rows"]][:12]
        assert ids == [row["id"] for row in bob.ask("/rows")["rows"]][:12]
        for number, id in enumerate(ids):
            ann.decide(id, "accept")
            assert bob.ask(f"/rows/{id}")["others"] == [], "before bob decides he is told nothing"
            _, told = bob.decide(id, "accept" if number % 3 else "reject")
            assert told["row"]["others"] == [{"reviewer": "ann", "verdict": "accept", "note": None}]
        (pair,) = told["agreement"]
        assert (pair["rows"], pair["agreed"]) == (12, pytest.approx(8 / 12, abs=1e-6))
    assert len(read(run / DECISIONS)[0]) == 24


def test_a_rejected_row_says_who_dropped_it_and_what_it_is_like(page):
    shown = [page.ask(f"/rows/{row['id']}") for row in page.ask("/rows")["rows"] if not row["kept"]]
    assert {each["dropped_by"] for each in shown} == {"length", "near_dup"}
    copy = next(each for each in shown if each["dropped_by"] == "near_dup")
    assert copy["reason"] == "nearly the text of an earlier row"
    assert copy["like"]["id"] == copy["scores"]["near_dup_of"]
    assert copy["like"]["prompt"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{broken", "no JSON"),
        (b"\xff", "no JSON"),
        ([], "a decision is"),
        ({"verdict": 1}, "a decision is"),
        ({"verdict": "accept", "time": "1970"}, "a decision is"),
        ({"verdict": "accept", "note": ["x"]}, "a decision is"),
        ({"verdict": "maybe"}, "no verdict 'maybe'; known: accept, reject, edit, undo"),
        ({"verdict": "edit", "prompt": " \n"}, "the prompt is blank"),
        ({"verdict": "edit", "response": ""}, "the response is blank"),
        ({"verdict": "edit", "prompt": "长" * 100_001}, "the prompt has 100,001 characters; 100,000 at most"),
        ({"verdict": "edit"}, "nothing was changed"),
        ({"verdict": "accept", "note": "x" * 2001}, "the note has 2,001 characters"),
    ],
)  # fmt: skip
def test_what_cannot_stand_is_one_clear_line_and_nothing_is_stored(page, stored, body, said):
    id = page.ask("/rows")["rows"][0]["id"]
    status, _, told = page.send("POST", f"/rows/{id}", body)
    assert status == 422
    assert said in json.loads(told)["error"]
    assert stored() == []


def test_a_row_that_is_not_in_the_sample_is_refused(page, shared):
    shown = {row["id"] for row in page.ask("/rows")["rows"]}
    other = next(id for id in curated(shared[0])["id"] if id not in shown)
    assert page.decide(other, "reject")[0] == 422
    assert page.send("GET", f"/rows/{other}")[0] == 422


def test_two_cells_of_the_largest_size_are_stored(page, stored):
    id = page.ask("/rows")["rows"][0]["id"]
    status, told = page.decide(id, "edit", prompt="长" * 100_000, response="\u0007" * 99_999 + "终")
    assert status == 200, told
    assert len(stored()[0].response) == 100_000
    assert page.decide(id, "undo")[1]["row"]["verdict"] is None


def test_a_request_too_large_to_be_a_decision_is_refused(page, stored):
    id = page.ask("/rows")["rows"][0]["id"]
    assert page.send("POST", f"/rows/{id}", b"x" * (5 << 20))[0] == 413
    assert stored() == []


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_tells_the_rates_and_the_command_that_publishes(place, run, with_signal):
    with review(place, run, "--reviewer", "ann", "--sample", "10") as page:
        rows = page.ask("/rows")["rows"]
        for row in rows:
            page.decide(row["id"], "accept" if row["kept"] else "reject")
        code, out, _ = page.end(with_signal)
    assert code == 0
    assert "kept rows accepted: 100.0% (" in out
    assert "rejected rows a person would keep: 0.0% (0.0% to " in out
    assert f"augment review {run} --publish" in out


def test_the_token_is_not_among_the_words_that_a_browser_is_started_with(place, run):
    log, program = place / "log", place / "browser"
    program.write_text(f'#!/bin/sh\necho "$@" > {log}.part && mv {log}.part {log}\n')
    program.chmod(0o755)
    with review(place, run, "--sample", "4", browser=program) as page:
        for _ in range(600):
            if log.exists():
                break
            time.sleep(0.05)
        address = log.read_text().strip()
        file = Path(address.removeprefix("file://"))
        assert page.token not in address
        assert page.url in file.read_text()
        assert file.stat().st_mode & 0o077 == 0
        page.end()
    assert not file.exists()


def test_a_port_that_is_taken_is_one_clear_line(place, run, augment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = augment("review", run, "--no-browser", "--port", port)
    assert ran.code == 2
    assert f"cannot listen on port {port} (Address already in use); choose another --port" in ran.err


def test_a_folder_that_cannot_be_written_stores_nothing_and_says_so(place, run):
    with review(place, run, "--reviewer", "ann", "--sample", "4") as page:
        (run / DECISIONS).mkdir()
        status, _, body = page.send("GET", "/rows")
        assert status == 507
        assert "cannot read" in json.loads(body)["error"]


def test_the_texts_are_those_of_the_run(page, shared):
    sitting = sit(shared[0], sizes=(20, 20))
    for id in (kept(sitting)[0], rejected(sitting)[0]):
        shown = page.ask(f"/rows/{id}")
        row = sitting.rows[id]
        assert {each["name"]: each["text"] for each in shown["fields"]} == {n: row[n] for n in ("prompt", "response")}
        seed = sitting.seeds[row["parents"][0]]
        assert shown["fields"][0]["seed"] == seed["prompt"]
        pieces = shown["fields"][0]["pieces"]
        if pieces:
            assert "".join(text for kind, text in pieces if kind != "+") == seed["prompt"]
            assert "".join(text for kind, text in pieces if kind != "-") == row["prompt"]
