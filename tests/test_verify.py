"""A run of texts is made again row by row; whatever is changed in it is found, though its hashes are mended."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from augment.manifest import digest_of
from augment.review.decisions import Decision, append, now
from tests.server import serve
from tests.test_pipeline import seeds

ROWS = "curated/train.parquet"


def make(augment: Any, place: Path, *words: object, rows: int = 6) -> Path:
    """A run called r of a few questions."""
    done = augment("text", "--source", seeds(place, rows), "--n", "2x", "--filters", "none", "--out", "r", *words)
    assert done.code == 0, done.err
    return place / "r"


def told(augment: Any, *words: object) -> dict[str, dict[str, Any]]:
    """Each check, its faults as lines; the exit code says whether there are any, and nothing is a traceback."""
    ran = augment("verify", *words, "--json")
    assert ran.err == ""
    checks = {each["check"]: each for each in json.loads(ran.out)["checks"]}
    for each in checks.values():
        each["faults"] = [f"{fault['at']}: {fault['what']}" for fault in each["faults"]]
    assert ran.code == (1 if any(each["faults"] for each in checks.values()) else 0)
    return checks


def rehash(run: Path) -> None:
    """A manifest that names the files as they are: what somebody does who wants a change to go unseen."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"] = {name: digest_of(run / name) for name in manifest["files"]}
    (run / "manifest.json").write_text(json.dumps(manifest))


def tamper(run: Path, column: str, value: Any, name: str = ROWS, of: str = "variant") -> str:
    """Another value in a column of the first generated row, or seed, with hashes that fit; the row's id before."""
    rows = pl.read_parquet(run / name, glob=False)
    first = rows.with_row_index("_at").filter((pl.col("generator") == "seed") == (of == "seed")).row(0, named=True)
    new = value(first[column]) if callable(value) else value
    at = pl.int_range(pl.len()) == first["_at"]
    rows.with_columns(pl.when(at).then(pl.lit(new, rows.schema[column])).otherwise(column).alias(column)).write_parquet(
        run / name
    )
    rehash(run)
    return str(first["id"])


CHAINED = ("--llm", "echo", "--generators", "paraphrase+rules,rules,self_instruct,paraphrase+answer,label,dialogue")
KINDS = {"rules": ("--generators", "rules"), "echo": ("--llm", "echo"), "chained": (*CHAINED, "--n", "6x")}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_that_needs_no_llm_is_made_again(augment, place, kind):
    run = make(augment, place, *KINDS[kind])
    shutil.rmtree(place / "home")  # it is made again, not remembered
    found = told(augment, run)
    made = pl.read_parquet(run / ROWS, glob=False).filter(pl.col("generator") != "seed")
    assert found["rows"]["identical"] == found["rows"]["checked"] == len(made) > 5
    assert found["rows"]["not_checkable"] == 0
    assert found["seeds"]["identical"] == 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("prompt", lambda text: text + "！", "another prompt"),
        ("response", "别的回答。", "another response"),
        ("id", "0123456789abcdef", "another id"),
        ("variant", 77, ""),
        ("params", "[", ""),
        ("generator", "persona", ""),
    ],
)
def test_a_row_that_was_changed_under_mended_hashes_is_found(augment, place, kind, column, value, said):
    run = make(augment, place, *KINDS[kind])
    id = tamper(run, column, value)
    found = told(augment, run)
    assert found["files"]["faults"] == []
    if column == "generator":  # nobody knows such a row
        assert "1 (the recipe has no generator 'persona')" in found["rows"]["said"]
    elif column != "params" or kind != "rules":
        assert len(found["rows"]["faults"]) == 1
        assert found["rows"]["faults"][0].startswith(value if column == "id" else id)
        assert said in found["rows"]["faults"][0]


def test_a_row_twice_and_a_file_that_is_no_longer_named_are_found(augment, place):
    run = make(augment, place)
    rows = pl.read_parquet(run / ROWS, glob=False)
    pl.concat([rows, rows.tail(1)]).write_parquet(run / ROWS)
    rehash(run)
    doubled, counted = told(augment, run)["rows"]["faults"]
    assert doubled == f"{rows['id'][-1]}: is there more than once"
    assert "and summary.json counts" in counted
    rows.head(len(rows) - 1).write_parquet(run / ROWS)
    rehash(run)
    (lost,) = told(augment, run)["rows"]["faults"]
    assert "and summary.json counts" in lost
    (run / "rejected.parquet").unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["files"]["rejected.parquet"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert told(augment, run)["files"]["faults"] == [
        "rejected.parquet: is not named in the manifest, and every run has one"
    ]


def test_rows_of_an_llm_are_read_again_out_of_the_stored_replies(augment, place):
    with serve() as server:
        llm = ("--llm", "openai:test-model", "--base-url", server.url, "--generators", "paraphrase,paraphrase+answer")
        run = make(augment, place, *llm)
    assert told(augment, run)["rows"]["identical"] == 12  # the server is gone: nothing is asked
    id = tamper(run, "prompt", "一个谁也没有写过的问题")
    assert told(augment, run)["rows"]["faults"] == [f"{id}: is made again with another prompt"]


def test_a_row_under_another_rows_reply_is_found(augment, place):
    with serve() as server:
        run = make(augment, place, "--llm", "openai:test-model", "--base-url", server.url)
    rows = pl.read_parquet(run / ROWS, glob=False).filter(pl.col("generator") != "seed")
    id = tamper(run, "reply_key", rows["reply_key"][1])
    assert told(augment, run)["rows"]["faults"] == [f"{id}: its reply key is not that of what it is asked for with"]


def test_what_the_reply_store_lacks_is_told_and_no_fault(augment, place):
    with serve() as server:
        run = make(augment, place, "--llm", "openai:test-model", "--base-url", server.url)
    with sqlite3.connect(place / "home/replies.sqlite") as store:
        store.execute("delete from replies where key in (select key from replies limit 5)")
    ran = augment("verify", run)
    assert ran.code == 0
    assert "7 of 12 generated rows made again: 7 identical; not checkable here: 5 (its reply is not in" in ran.out
    (place / "home/replies.sqlite").write_bytes(b"no store at all" * 99)
    for more in ("-wal", "-shm"):
        (place / f"home/replies.sqlite{more}").unlink(missing_ok=True)
    assert told(augment, run)["rows"]["not_checkable"] == 12


def test_a_reply_that_was_changed_in_the_store_is_found(augment, place):
    with serve() as server:
        run = make(augment, place, "--llm", "openai:test-model", "--base-url", server.url)
    with sqlite3.connect(place / "home/replies.sqlite") as store:
        store.execute("update replies set finish = 'length' where key = (select key from replies limit 1)")
    assert "its reply is not whole" in told(augment, run)["rows"]["faults"][0]


def test_a_seed_that_was_changed_is_found_without_its_source(augment, place):
    run = make(augment, place, "--generators", "rules")
    id = tamper(run, "response", "别的回答。", of="seed")
    (place / "seeds.jsonl").unlink()
    found = told(augment, run)
    assert found["seeds"]["faults"] == [f"{id}: a seed whose texts are not those that its id names"]
    assert "not held against the source" in found["seeds"]["said"]
    assert len(found["rows"]["faults"]) == 2  # its variants kept the answer that it had


def test_a_seed_that_the_source_lacks_is_found(augment, place):
    run = make(augment, place, "--generators", "rules")
    from augment.records import row_id

    rows = pl.read_parquet(run / ROWS, glob=False)
    stranger = rows.head(1).with_columns(pl.lit("别处来的").alias("prompt"))
    id = row_id("别处来的", stranger["response"][0], stranger["label"][0])
    pl.concat([rows, stranger.with_columns(pl.lit(id).alias("id"))]).write_parquet(run / ROWS)
    rehash(run)
    assert told(augment, run)["seeds"]["faults"] == [f"{id}: a seed that seeds does not hold"]


def test_a_source_that_changed_is_told(augment, place):
    run = make(augment, place, "--llm", "echo", "--generators", "paraphrase,self_instruct")
    seeds(place, 7)
    found = told(augment, run)
    assert "is not what it was when the run was made" in found["seeds"]["said"]
    assert found["rows"]["identical"] == 12  # the run's own seeds say what each was shown


def test_missing_changed_and_further_files_are_named(augment, place):
    run = make(augment, place, "--generators", "rules")
    (run / "README.md").unlink()
    (run / "summary.json").write_text("{}")
    (run / "curated/more.parquet").write_bytes(b"x")
    (run / "notes.txt").write_text("x")
    faults = told(augment, run)["files"]["faults"]
    assert faults[0].startswith("summary.json: has 2 bytes, not ")
    assert faults[1:] == [
        "README.md: is missing",
        "curated/more.parquet: was not published with this run",
        "notes.txt: was not published with this run",
    ]


def test_what_augment_itself_puts_into_a_run_folder_is_no_fault(augment, place):
    run = make(augment, place, "--generators", "rules")
    row = pl.read_parquet(run / ROWS, glob=False).filter(pl.col("generator") != "seed").row(0, named=True)
    seen = {name: row[name] for name in ("id", "parents", "generator", "variant", "prompt", "response")}
    append(run, Decision(row["id"], "accept", "w", now(), "f", seen))
    assert augment("report", run).code == 0
    assert (run / "report.html").is_file()
    assert told(augment, run)["files"]["extra"] == 0


@pytest.mark.parametrize("name", [ROWS, "rejected.parquet", "summary.json", "manifest.json"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"[1]", b"\xff\xfe"])
def test_broken_files_are_told_in_lines(augment, place, name, content):
    run = make(augment, place, "--generators", "rules")
    (run / name).write_bytes(content)
    ran = augment("verify", run, "--rescore", "all")
    assert ran.code == (2 if name == "manifest.json" else 1)
    assert "Traceback" not in ran.out + ran.err
    if name != "manifest.json":
        rehash(run)
        assert augment("verify", run, "--rescore", "all").code == (1 if name == ROWS else 0)


@pytest.mark.parametrize("rescore", ["all", "9"])
def test_scores_and_verdicts_are_scored_again(augment, place, rescore):
    words = ("--source", seeds(place, 20), "--n", "2x", "--llm", "echo", "--generators", "paraphrase,dialogue")
    limits = ("--filters", "length,repetition,facts", "--set", "length.max_prompt=60")
    augment("text", *words, *limits, "--out", "r")
    found = told(augment, place / "r", "--rescore", rescore)["rescored"]
    assert found["filters"] == 3
    assert found["identical"] == found["candidates"] == (9 if rescore == "9" else found["candidates"]) > 8
    assert "not checkable" not in found["said"]
    assert "rescored" not in told(augment, place / "r")


def test_a_score_and_a_verdict_that_were_changed_are_found(augment, place):
    words = ("--source", seeds(place, 20), "--n", "2x", "--llm", "echo", "--filters", "length,facts")
    augment("text", *words, "--set", "length.max_prompt=40", "--out", "r")
    run = place / "r"
    kept = tamper(run, "length_prompt", 3)
    dropped = tamper(run, "reason", "too short", "rejected.parquet")
    faults = told(augment, run, "--rescore", "all")["rescored"]["faults"]
    assert len(faults) == 2
    assert any(each.startswith(f"{kept}: length_prompt is ") and each.endswith(", not 3") for each in faults)
    assert any(each.startswith(f"{dropped}: ") and each.endswith("not dropped by length: too short") for each in faults)


@pytest.mark.parametrize("value", ["some", "-3"])
def test_rescore_takes_a_number(augment, place, value):
    ran = augment("verify", make(augment, place, "--generators", "rules"), "--rescore", value)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f"--rescore '{value}' is no number of candidates" in ran.err


def test_a_filtered_run_keeps_what_generators_added_and_is_made_again(augment, place):
    run = make(augment, place, "--llm", "echo", "--generators", "dialogue,self_instruct")
    assert augment("filter", run, "--filters", "length", "--out", "f").code == 0
    before, after = (pl.read_parquet(place / name / ROWS, glob=False) for name in ("r", "f"))
    assert after["messages"].to_list() == before["messages"].to_list()
    found = told(augment, "f")
    assert found["rows"]["identical"] + found["rows"]["not_checkable"] == 12
    assert found["rows"]["identical"] >= 6
