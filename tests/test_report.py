"""A report from the outside: what it is about, what gets into it, what never does, and every wrong input."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from html import unescape
from pathlib import Path

import orjson
import polars as pl
import pytest

from augment.sources import open_source
from tests.report_pages import QUESTIONS, everything, make_run, rows_in, workplace, write_seeds


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`runs/a` of hostile rows, unfiltered, and `runs/b`, of the same source with other generators."""
    folder = tmp_path_factory.mktemp("made")
    with workplace(folder):
        source = write_seeds(folder / "seeds.jsonl").name
        make_run(folder / "runs/a", source=source, generators="paraphrase", filters="none")
        make_run(folder / "runs/b", source=source, generators="persona", n="2x", filters="none")
    return folder


@pytest.fixture
def runs(made, place):
    """The two runs, copied to where the test works."""
    shutil.copytree(made, place, dirs_exist_ok=True)
    return place / "runs"


def digest(run: Path) -> str:
    return hashlib.sha256((run / "manifest.json").read_bytes()).hexdigest()


def write_record(folder: Path, kind: str, **record: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}.json").write_bytes(orjson.dumps(record))
    return folder


HISTORY = [
    {"step": 0, "eval_loss": 2.5},
    {"step": 1, "loss": 2.4, "ce": 2.4, "learning_rate": 1e-4},
    {"step": 2, "loss": 2.1, "ce": 2.1, "learning_rate": 5e-5},
    {"step": 2, "eval_loss": 2.2},
]


def training(folder: Path, manifest: str | None) -> Path:
    data = {"manifest": manifest, "train": 12, "validation": 3}
    return write_record(folder, "training", data=data, history=HISTORY, base={"name": f"base-of-{folder.name}"})


def evaluation(folder: Path, adapter: str | None) -> Path:
    line = {"model": "mine", "label": None, "metric": "cosine", "mean": 0.61, "low": 0.55, "high": 0.67, "rows": 32}
    models = [{"name": "base", "adapter": None}, {"name": "mine", "adapter": adapter}]
    return write_record(folder, "evaluation", models=models, table=[line], verdict=f"said by {folder.name}")


def lift(folder: Path, manifest: str) -> Path:
    arm = {"name": "augmented", "rows": 18, "scores": [0.7, 0.8], "mean": 0.75, "low": 0.65, "high": 0.85}
    run = {"name": "a", "path": "runs/a", "manifest": manifest}
    return write_record(folder, "lift", run=run, metric="accuracy", arms=[arm], verdict=f"said by {folder.name}")


def test_one_run_has_its_page_in_its_folder_and_several_have_one_here(augment, runs, place):
    ran = augment("report", "a")
    assert ran.code == 0, ran.err
    page = runs / "a/report.html"
    assert re.fullmatch(r"runs/a/report\.html \(\d.* [kM]B\)", ran.out.strip())
    told = json.loads(augment("report", "a", "runs/b", "--json").out)
    assert told["path"] == "report.html"
    assert told["bytes"] == (place / "report.html").stat().st_size != page.stat().st_size


def test_the_same_run_gives_the_same_bytes_and_a_report_is_written_over(augment, runs):
    augment("report", "a")
    first = (runs / "a/report.html").read_bytes()
    assert augment("report", "a").code == 0
    assert (runs / "a/report.html").read_bytes() == first


def test_a_run_stays_what_it_was_with_a_report_inside(augment, runs, made):
    before = {path: path.read_bytes() for path in (runs / "a").rglob("*.*") if path.is_file()}
    augment("report", "a")
    assert all(path.read_bytes() == content for path, content in before.items())
    assert "finished" in augment("runs", "--json").out
    assert json.loads(augment("diff", "a", "b", "--json").out)["rows"]["before"] == len(rows_of(runs / "a"))
    words = ("--source", "seeds.jsonl", "--llm", "echo", "--n", "3x", "--generators", "paraphrase", "--filters", "none")
    again = augment("text", *words, "--max-tokens", "400000", "--out", "runs/a")
    assert again.code == 0, again.err
    assert (runs / "a/report.html").is_file()


def rows_of(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "curated/train.parquet")


def test_every_row_is_in_the_page_and_a_long_cell_is_cut_and_told(augment, runs):
    augment("report", "a")
    html = (runs / "a/report.html").read_text("utf-8")
    shown = {row["id"]: row for row in rows_in(html)}
    rows = rows_of(runs / "a")
    assert set(shown) == set(rows["id"])
    for row in rows.iter_rows(named=True):
        cut = shown[row["id"]]
        assert row["prompt"][:4000] == cut["prompt"]
        assert cut["long"].get("prompt") == (len(row["prompt"]) if len(row["prompt"]) > 4000 else None)
    assert sum("prompt" in row["long"] for row in shown.values()) == 4, "the long seed and its three variants"


def test_a_variant_points_at_its_seed_and_repeats_no_answer(augment, runs):
    augment("report", "a")
    shown = rows_in((runs / "a/report.html").read_text("utf-8"))
    variants = [row for row in shown if row["parent"] >= 0]
    assert len(variants) == 3 * len(QUESTIONS)
    parents = dict(rows_of(runs / "a").select("id", pl.col("parents").list.first()).iter_rows())
    assert all(shown[row["parent"]]["id"] == parents[row["id"]] for row in variants)
    assert {row["response"] for row in variants} == {0}, "paraphrase keeps the answer"


def test_rows_that_do_not_fit_are_left_out_by_whole_families(made):
    from augment.report.gather import gather
    from augment.report.rows import pack

    gathered = gather([str(made / "runs/a"), str(made / "runs/b")])
    whole = pack(gathered.runs)
    assert [each.shown for each in whole] == [each.rows for each in whole]
    for packed in (pack(gathered.runs, most=20), pack(gathered.runs, room=sum(each.bytes for each in whole) // 2)):
        assert all(0 < each.shown < each.rows for each in packed)
        assert [each.rows for each in packed] == [each.rows for each in whole]
        assert [each.shown % size for each, size in zip(packed, (4, 3), strict=True)] == [0, 0], (
            "a seed with all its variants"
        )
    assert sum(each.bytes for each in packed) <= sum(each.bytes for each in whole) // 2


def test_the_exam_never_gets_into_a_page(augment, place):
    """Neither from the source, which is opened to compare with, nor in a row that repeats it."""
    ran = augment("text", "--source", "sample", "--llm", "echo", "--n", "1x", "--limit", "20", "--out", "run")
    assert ran.code == 0, ran.err
    exam = open_source("sample").exam
    asked, answered = exam["prompt"][0], exam["response"][0]
    rejected = pl.read_parquet("run/rejected.parquet")
    leaked = rows_of(Path("run")).tail(1).with_columns(
        pl.lit("leaked").alias("id"), pl.lit(f"请问{asked}").alias("prompt"), pl.lit(answered).alias("response"),
        pl.lit("contamination").alias("dropped_by"), pl.lit("contains an exam question").alias("reason"),
        pl.lit(asked).alias("contamination_text"),
    )  # fmt: skip
    pl.concat([rejected, leaked], how="diagonal_relaxed").select(rejected.columns).write_parquet("run/rejected.parquet")
    assert augment("report", "run").code == 0
    read = everything(Path("run/report.html").read_text("utf-8"))
    assert "exam questions nearer to a variant than to any seed" in read
    assert "leaked" in read
    assert "not shown: too like the exam" in read
    for text in (*exam["prompt"], *exam["response"]):
        assert text not in read


def test_a_changed_or_absent_source_is_told_and_its_exam_not_compared(augment, place):
    write_seeds(place / "seeds.jsonl")
    words = ("--source", "seeds.jsonl", "--holdout", "30%", "--llm", "echo", "--n", "2x", "--filters", "none")
    assert augment("text", *words, "--out", "run").code == 0
    assert "exam" not in augment("report", "run").err
    assert "exam questions nearer" in Path("run/report.html").read_text("utf-8")
    write_seeds(place / "seeds.jsonl", [f"{each}?" for each in QUESTIONS])
    assert "the exam of run is not compared: its source 'seeds.jsonl' has changed since" in augment("report", "run").err
    assert "exam questions nearer" not in Path("run/report.html").read_text("utf-8")
    (place / "seeds.jsonl").unlink()
    assert "its source 'seeds.jsonl' is not here" in augment("report", "run").err


def test_what_belongs_to_a_run_is_found_and_nothing_else(augment, runs, place):
    training(place / "adapters/mine", digest(runs / "a"))
    training(place / "adapters/theirs", digest(runs / "b"))
    evaluation(place / "evaluations/asked-mine", "adapters/mine/plain")
    evaluation(place / "evaluations/asked-theirs", "adapters/theirs")
    lift(place / "lifts/of-a", digest(runs / "a"))
    lift(place / "lifts/of-b", digest(runs / "b"))
    assert augment("report", "a").code == 0
    html = (runs / "a/report.html").read_text("utf-8")
    for there, absent in (("base-of-mine", "base-of-theirs"), ("asked-mine", "asked-theirs"), ("of-a", "of-b")):
        assert there in html
        assert absent not in html
    assert "0.610 [0.550, 0.670]" in html
    assert "0.750 [0.650, 0.850]" in html


def test_records_can_be_named_and_need_no_run(augment, place):
    folder = training(place / "adapters/mine", None)
    ran = augment("report", folder)
    assert ran.code == 0, ran.err
    html = (folder / "report.html").read_text("utf-8")
    assert "base-of-mine" in html
    assert 'id="rows"' not in html
    evaluation(place / "e", None)
    assert augment("report", folder, "e", "--out", "both.html").code == 0
    assert "said by e" in (place / "both.html").read_text("utf-8")


def test_a_run_without_seeds_and_one_that_kept_nothing_have_a_page(augment, place):
    write_seeds(place / "seeds.jsonl")
    words = ("text", "--source", "seeds.jsonl", "--llm", "echo", "--n", "2x", "--out")
    assert augment(*words, "bare", "--without-seeds", "--filters", "none").code == 0
    ran = augment("report", "bare")
    assert ran.code == 0, ran.err
    assert all(row["parent"] == -1 for row in rows_in(Path("bare/report.html").read_text("utf-8")))
    assert augment(*words, "none", "--filters", "length", "--set", "length.min_prompt=300000").code == 1
    ran = augment("report", "none")
    assert ran.code == 0, ran.err
    html = Path("none/report.html").read_text("utf-8")
    assert any(row["verdict"] for row in rows_in(html))


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"table": None, "models": 3, "histograms": [{"counts": "x"}], "differences": [{}], "exam": [], "judge": 1},
        {"table": [{"model": "m", "metric": "c", "mean": None}], "floor": [7], "verdict": None, "models": [{}]},
        {
            "table": [{"model": "m", "metric": "c", "mean": 0.5, "low": None, "high": None}],
            "exam": {"labels": {"a": 1}},
        },
        {"histograms": [{"model": "m", "label": "a", "metric": "c", "counts": [0, 1, None], "failed": 0}]},
    ],
)
def test_a_record_that_lacks_something_is_shown_without_it(augment, place, record):
    write_record(place / "e", "evaluation", **record)
    write_record(place / "l", "lift", **{key: record.get(key) for key in ("arms", "seeds", "verdict")})
    write_record(place / "t", "training", history=record.get("table"))
    ran = augment("report", "e", "l", "t")
    assert ran.code == 0, ran.err
    assert "Evaluation" in Path("report.html").read_text("utf-8")


def test_a_record_beside_the_run_that_cannot_be_read_is_told(augment, runs, place):
    (place / "evaluations/torn").mkdir(parents=True)
    (place / "evaluations/torn/evaluation.json").write_text('{"kind":')
    ran = augment("report", "a")
    assert ran.code == 0
    assert "left out: evaluations/torn/evaluation.json is no JSON" in ran.err
    assert "left out: evaluations/torn/evaluation.json is no JSON" in (runs / "a/report.html").read_text("utf-8")


def test_rows_that_are_not_those_of_the_manifest_are_told(augment, runs):
    assert "not the file that its manifest names" not in augment("report", "a").err
    path = runs / "a/curated/train.parquet"
    pl.read_parquet(path).head(9).write_parquet(path)
    ran = augment("report", "a")
    assert ran.code == 0
    assert "train.parquet is not the file that its manifest names" in ran.err


def test_several_runs_stand_side_by_side(augment, runs, place):
    augment("report", "a", "b", "--out", "both.html")
    html = Path("both.html").read_text("utf-8")
    kept = re.search(r"<bdi>= kept</bdi></th>(.*?)</tr>", html, re.DOTALL)
    assert kept is not None
    assert re.findall(r"<bdi>([\d,]+)</bdi>", kept[1]) == [str(3 * len(QUESTIONS)), str(2 * len(QUESTIONS))]
    assert re.search(r"What differs in the recipes.*?<bdi>n</bdi>.*?3x.*?2x", html, re.DOTALL)


def test_the_provenance_has_the_commands_and_every_hash(augment, runs, place):
    folder = training(place / "adapters/mine", digest(runs / "a"))
    record = json.loads((folder / "training.json").read_text())
    recipe = {"base": "tiny model", "data": "runs/a", "rank": 4, "adapter": "pissa", "set": {}, "map": {}}
    write_record(folder, "training", **record, recipe=recipe)
    augment("report", "a")
    told = unescape((runs / "a/report.html").read_text("utf-8").partition('id="provenance"')[2])
    command = (
        "augment text --source seeds.jsonl --n 3x --generators paraphrase --filters none --llm echo --max-tokens 400000"
    )
    assert command in told
    assert "augment finetune --base 'tiny model' --data runs/a --rank 4 --adapter pissa" in told
    manifest = json.loads((runs / "a/manifest.json").read_text())
    for value in (
        digest(runs / "a"),
        manifest["fingerprint"],
        *(each["sha256"] for each in manifest["files"].values()),
    ):
        assert value in told


def test_a_page_names_no_address_and_lets_nothing_in(augment, runs):
    augment("report", "a")
    html = (runs / "a/report.html").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    assert "http" not in policy[1]
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)=.?(?:https?:)?//", outside)
    assert not re.search(r"@import|url\(", outside)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nosuch"], "no run 'nosuch', here or under runs/; "),
        (
            ["empty"],
            "empty holds no finished run and no record (no manifest.json, training.json, evaluation.json, lift.json)",
        ),
        (["a", "--out", "empty"], "--out empty is a folder; give a file, for example empty/report.html"),
        (["a", "--out", "seeds.jsonl"], "--out seeds.jsonl is there and is no report of ours; choose another --out"),
        (["a", "--out", "seeds.jsonl/x.html"], "cannot write seeds.jsonl/x.html: "),
        (["a", "torn"], "torn/lift.json is no JSON ("),
        (["list"], "list/evaluation.json was not written by augment; give another folder"),
        (["lost"], "lost/rejected.parquet is missing, and the manifest beside it says it is there; make the run again"),
        (["broken"], "cannot read the rows of broken: "),
        (["a", "--runs", "nowhere"], "no run 'a', here or under nowhere/; there is none yet"),
    ],
)
def test_wrong_input_is_one_line(augment, runs, place, words, line):
    (place / "empty").mkdir()
    (place / "torn").mkdir()
    (place / "torn/lift.json").write_text("{")
    (place / "list").mkdir()
    (place / "list/evaluation.json").write_text("[]")
    for name in ("lost", "broken"):
        shutil.copytree(runs / "a", place / name)
    (place / "lost/rejected.parquet").unlink()
    (place / "broken/curated/train.parquet").write_bytes(b"PAR1")
    ran = augment("report", *words)
    assert ran.code == 2
    last = ran.err.strip().splitlines()[-1]
    assert last.startswith(f"augment: {line}")
    assert "Traceback" not in ran.err


def test_no_folder_is_a_usage_error(augment):
    assert augment("report").code == 2


def test_the_page_s_files_are_in_the_package():
    from importlib.resources import files

    names = {each.name for each in files("augment.report").iterdir()}
    assert {"page.html.jinja", "browser.html.jinja", "style.css", "marks.js", "rows.js", "plots.js"} <= names
