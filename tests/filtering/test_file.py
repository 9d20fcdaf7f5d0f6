"""Anybody's file sifted: its own columns come through, and every row that does not is told why."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from datasets import load_dataset

from augment.errors import SourceError
from augment.filtering import of_file as reading
from augment.filtering.edition import filtered
from augment.filtering.of_file import of_file
from augment.sources import open_source
from augment.summary import Tally
from tests.filter_rows import sample
from tests.review.runs import curated, out

LINES = [
    {"question": "头疼怎么办", "answer": "多休息，喝水。三天不好请就医。", "difficulty": 3, "tags": ["a", "b"]},
    {"question": "头疼怎么办", "answer": "多休息，喝水。三天不好请就医。", "difficulty": 4, "tags": ["a"]},
    {"question": "  ", "answer": "没有问题。"},
    {"question": "失眠一周了，怎么办", "answer": "作为一个AI语言模型，我不能回答。", "difficulty": 2.5, "id": "my-7"},
]


def written(place: Path, lines=LINES, name="q.jsonl", tail="not json\n") -> Path:
    path = place / name
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines) + tail)
    return path


def sifted(name, names=None, settings=None, **more):
    dataset = of_file(str(name), **more)
    return filtered(dataset, dataset.chain(names, settings or {}), Tally())


def test_every_row_of_a_file_is_kept_or_rejected_with_its_reason(augment, place):
    ran = augment("filter", written(place), "--json")
    assert ran.code == 0
    done = json.loads(ran.out)
    assert (done["rows_in"], done["kept"], done["source_rejected"]) == (5, 1, 2)
    assert done["rows_in"] == done["candidates"] + done["source_rejected"]
    lost = {row["reason"]: row["detail"] for row in out(place / done["path"]).iter_rows(named=True)}
    assert lost["blank prompt"] == "q.jsonl:3"
    assert lost["not valid JSON"] == "q.jsonl:5"
    assert {"refused"} < set(lost)


def test_columns_that_are_not_ours_come_through(place):
    rows = curated(sifted(written(place), ["length"]).path)
    assert rows["difficulty"].to_list() == [3.0, 4.0, 2.5]
    assert rows["tags"].to_list() == ['["a","b"]', '["a"]', None]
    assert rows["source_id"].to_list() == [None, None, "my-7"]
    assert rows["length_response"].to_list() == [15, 15, 17]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_columns_that_are_called_like_ours_come_through_under_another_name(place, kind):
    names = ["id", "source_id", "parents", "dropped_by", "near_dup_of", "length_prompt", "reviewed", "pixels", "mask"]
    names += ["parent_prompt", "parent_label", "changed", "_row", "_before", "_at", "_position"]
    row = {"prompt": "头疼怎么办", "response": "多休息，喝点水。", **{name: f"my {name}" for name in names}}
    path = place / f"mine.{kind}"
    if kind == "parquet":
        pl.DataFrame([row]).write_parquet(path)
    else:
        path.write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    done = sifted(path)
    rows = curated(done.path)
    told = {name: rows[0, f"source_{name}"] for name in names if name not in ("id", "source_id")}
    assert told == {name: f"my {name}" for name in told}
    assert (rows[0, "source_id"], rows[0, "source_source_id"]) == ("my source_id", "my id")
    assert rows[0, "length_prompt"] == 5


def test_what_is_published_loads_as_a_dataset(place):
    done = sifted(written(place))
    loaded = load_dataset(str(done.path), cache_dir=str(place / "cache"))["train"]
    assert loaded["prompt"] == ["头疼怎么办"] and "difficulty" in loaded.column_names


@pytest.mark.parametrize("block", [7, 50_000])
def test_parquet_is_read_in_blocks_and_gives_the_same_rows(place, monkeypatch, block):
    texts = sample()
    frame = pl.DataFrame(
        {
            "query": [question for question, _ in texts] + [None, " ", "头疼"],
            "answer": [answer for _, answer in texts] + ["甲", "乙", None],
            "score": list(range(len(texts) + 3)),
            "tags": [["x"]] * (len(texts) + 3),
        }
    )
    frame.write_parquet(place / "all.parquet")
    frame.drop("tags").write_csv(place / "all.csv")
    whole = sifted(place / "all.csv")
    monkeypatch.setattr(reading, "BLOCK", block)
    parts = sifted(place / "all.parquet")
    ids = ["id", "prompt", "response"]
    assert curated(parts.path).select(ids).equals(curated(whole.path).select(ids))
    assert curated(parts.path)["score"].to_list() == [int(each) for each in curated(whole.path)["score"]]
    assert curated(parts.path)["tags"].to_list()[0] == ["x"]
    assert sorted(out(parts.path)["reason"]) == sorted(out(whole.path)["reason"])
    assert out(parts.path).filter(pl.col("reason") == "blank prompt")["detail"].to_list() == [
        f"all.parquet#{len(texts) + 1}",
        f"all.parquet#{len(texts) + 2}",
    ]


def test_a_filtered_file_can_be_sifted_again(augment, place):
    first = json.loads(augment("filter", written(place), "--json").out)
    ran = augment("filter", first["path"], "--filters", "length,exact_dup", "--json")
    again = json.loads(ran.out)
    assert again["filtered"] == {"from": Path(first["path"]).name, "let_in": 1, "put_out": 0}
    assert curated(place / again["path"])["source_id"].to_list() == [None, "my-7"]


def test_rows_that_repeat_an_exam_are_dropped(place):
    texts = sample()[:6]
    exam = written(place, [{"question": texts[2][0], "answer": "请看医生。"}], "exam.jsonl", "")
    path = written(place, [{"question": question, "answer": answer} for question, answer in texts], tail="")
    done = sifted(path, exam=str(exam))
    assert out(done.path)["dropped_by"].to_list() == ["contamination"]
    assert out(done.path)["prompt"].to_list() == [texts[2][0]]


def test_a_filtered_file_without_a_usable_row_is_refused_in_one_line(augment, place):
    path = written(place, [{"question": ["no", "text"], "answer": "甲"}], tail="")
    first = json.loads(augment("filter", path, "--json").out)
    assert (first["candidates"], first["source_rejected"]) == (0, 1)
    for words in (["filter", first["path"]], ["compare-thresholds", first["path"], "length.min_prompt", "3"]):
        ran = augment(*words)
        assert ran.code == 2 and "holds no row that a filter could judge" in ran.err and "Traceback" not in ran.err


def test_the_best_of_a_file_are_so_many_in_all(augment, place):
    lines = [{"question": question, "answer": answer} for question, answer in sample()[:9]]
    words = ["filter", written(place, lines, tail=""), "--top-k", "4", "--set", "top_k.by=-length_prompt", "--json"]
    first = json.loads(augment(*words).out)
    assert first["kept"] == 4
    assert json.loads(augment("filter", first["path"], "--top-k", "2", "--json").out)["kept"] == 2
    named = augment("filter", first["path"], "--filters", "length,top_k", "--json")
    assert json.loads(named.out)["kept"] == 4  # by the score that it was chosen by before
    assert json.loads(augment(*words, "--set", "top_k.per=seed").out)["kept"] == 9


def test_a_card_is_sifted_by_its_name(augment, place):
    ran = augment("filter", "sample", "--json")
    assert json.loads(ran.out)["candidates"] == len(open_source("sample", holdout=0.0).seeds)


def test_the_same_again_is_there_already(augment, place):
    path = written(place)
    first, second = augment("filter", path), augment("filter", path)
    assert first.out.splitlines()[-1] == second.out.splitlines()[-1]
    assert "it is there already" in second.out and "it is there already" not in first.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nope.jsonl"], "no file or folder nope.jsonl"),
        (["q.jsonl", "--set", "near_dup.treshold=1"], "filter 'near_dup' has no setting 'treshold'"),
        (["q.jsonl", "--set", "perplexitie.model=x"], "perplexitie"),
        (["q.jsonl", "--filters", "lenght"], "no filter called 'lenght'; did you mean length"),
        (["q.jsonl", "--map", "prompt=foo"], "no column 'foo' in the source"),
        (["q.jsonl", "--exam", "nope.csv"], "no file or folder nope.csv"),
        (["q.jsonl", "--out", "."], "is not empty and not a run folder"),
        (["empty.parquet"], "holds no rows"),
        (["broken.parquet"], "is not a whole Parquet file"),
    ],
)
def test_bad_input_is_one_line(augment, place, words, told):
    written(place)
    (place / "broken.parquet").write_bytes(b"PAR1 nonsense")
    pl.DataFrame(schema={"prompt": pl.String}).write_parquet(place / "empty.parquet")
    before = {each.name for each in place.iterdir()}
    ran = augment("filter", *words)
    assert ran.code == 2 and told in ran.err, ran.err
    assert ran.err.strip().splitlines()[-1].startswith("augment: ")
    assert {each.name for each in place.iterdir()} - before <= {"home"}


def test_a_file_that_is_no_parquet_is_refused(place):
    (place / "x.parquet").write_text("hello")
    with pytest.raises(SourceError, match=r"x\.parquet is not a whole Parquet file"):
        of_file("x.parquet")


def test_an_empty_list_of_filters_is_refused_in_one_line(augment, place):
    path = written(place)
    for empty in ("", " , "):
        ran = augment("filter", path, "--filters", empty)
        assert ran.code == 2 and ran.err.count("\n") == 1 and "names no filter; write none" in ran.err
        ran = augment("text", "--source", path, "--filters", empty)
        assert ran.code == 2 and ran.err.count("\n") == 1 and "no filter is named; write none" in ran.err
    assert not (place / "runs").exists()


def test_an_llm_that_cannot_be_asked_names_the_setting_that_helps(augment, place, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    path = written(place)
    words = ("filter", path, "--filters", "judge", "--set", "judge.llm=openai:m")
    for url, told in (
        ("", "give --set judge.base_url=http://HOST:PORT/v1"),
        ("http://127.0.0.1:1/v1", "give another --set judge.base_url"),
        ("http://:0", "--set judge.base_url='http://:0' is no address"),
    ):
        ran = augment(*words, *(("--set", f"judge.base_url={url}") if url else ()))
        assert ran.code == 2 and told in ran.err and "--base-url" not in ran.err, ran.err


def test_columns_under_another_name_are_told(augment, place):
    path = written(place)
    ran = augment("filter", path)
    assert ran.out.splitlines()[0] == "columns: question is prompt here, answer is response here, id is source_id here"
    run = place / ran.out.splitlines()[-1]
    told = json.loads((run / "summary.json").read_bytes())["columns"]
    assert told == {"prompt": "question", "response": "answer", "source_id": "id"}
    pl.DataFrame({"prompt": ["头疼怎么办"], "response": ["多休息，喝水。"]}).write_parquet(place / "ours.parquet")
    assert not augment("filter", "ours.parquet").out.startswith("columns")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_column_of_numbers_is_no_prompt_in_any_format(augment, place, kind):
    frame = pl.DataFrame(
        {"prompt": [1.5, None, 3.0], "text": ["头疼怎么办", "失眠怎么办", "12"], "response": ["好"] * 3}
    )
    path = place / f"n.{kind}"
    {"parquet": frame.write_parquet, "csv": frame.write_csv, "jsonl": frame.write_ndjson}[kind](path)
    for words in (("filter", path), ("text", "--source", path)):
        ran = augment(*words)
        assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
        assert "the column 'prompt' of" in ran.err and "holds numbers only, for example 1.5" in ran.err
    assert augment("filter", path, "--map", "prompt=text").code == 0
