from __future__ import annotations

import csv
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from augment.errors import SourceError
from augment.source_cards import Card, read_card
from augment.sources import CELL_LIMIT, CLIP, _splits, open_source

CHBENCH = os.environ.get("AUGMENT_CHBENCH_DIR")


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def reasons(source) -> dict[str, int]:
    return dict(source.rejected.group_by("reason").len().rows())


def test_sample_is_whole_and_spread_over_its_topics(place):
    source = open_source("sample")
    rows = pl.concat([source.seeds, source.exam])
    assert source.rows_in == 160
    assert source.rejected.is_empty()
    assert rows["label"].n_unique() >= 12
    assert rows["id"].n_unique() == 160
    assert rows["response"].null_count() == 0


def questions(count: int, answer: str = "答") -> str:
    return "question,answer,topic\n" + "".join(f"第{i}个问题怎么办,{answer}{i},甲\n" for i in range(count))


def test_the_exam_is_a_fixed_share(place):
    source = open_source(str(write(place / "a.csv", questions(3000))), holdout=0.2)
    assert 0.18 < len(source.exam) / 3000 < 0.22
    assert not set(source.exam["prompt"]) & set(source.seeds["prompt"])


def test_a_question_keeps_its_split_whatever_else_changes(place):
    exam = set(open_source(str(write(place / "a.csv", questions(50))), holdout=0.3).exam["prompt"])
    more = open_source(str(write(place / "b.csv", questions(100))), holdout=0.3)
    corrected = open_source(str(write(place / "c.csv", questions(50, "改过的答"))), holdout=0.3)
    relabelled = open_source(str(place / "a.csv"), holdout=0.3, columns={"label": "answer", "response": "topic"})
    assert exam <= set(more.exam["prompt"])
    assert set(corrected.exam["prompt"]) == set(relabelled.exam["prompt"]) == exam


def test_two_answers_to_one_question_stay_on_one_side(place):
    both = questions(50) + questions(50, "又答").split("\n", 1)[1]
    source = open_source(str(write(place / "a.csv", both)), holdout=0.4)
    assert source.rows_in == 100
    assert not set(source.exam["prompt"]) & set(source.seeds["prompt"])


def test_columns_are_mapped_as_told(place):
    file = write(place / "a.csv", "query,ErnieA,other\n头疼怎么办,多休息,x\n")
    source = open_source(str(file), columns={"prompt": "query", "response": "other"})
    assert source.seeds.select("prompt", "response").rows() == [("头疼怎么办", "x")]


def test_guessed_columns_are_said(place):
    file = write(place / "a.csv", "ID,Query,Answer,Category\n1,头疼怎么办,多休息,physical\n")
    source = open_source(str(file))
    assert source.columns == {"prompt": "Query", "response": "Answer", "label": "Category"}
    assert "prompt=Query" in source.notes[0]
    assert "--map" in source.notes[0]


def test_a_column_that_is_not_there_is_named_with_those_that_are(place):
    file = write(place / "a.csv", "query,answer\na,b\n")
    with pytest.raises(SourceError, match="no column 'questoin' in the source; it has: query, answer"):
        open_source(str(file), columns={"prompt": "questoin"})


def test_no_column_like_a_prompt_names_the_flag(place):
    file = write(place / "a.csv", "x,y\na,b\n")
    with pytest.raises(SourceError, match="x, y; name it with --map prompt=COLUMN"):
        open_source(str(file))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_format_gives_the_same_rows(place, suffix):
    rows = [{"question": "感冒了,\n怎么办？", "answer": '多"喝"水'}, {"question": "失眠怎么办", "answer": "少喝咖啡"}]
    file = place / f"a.{suffix}"
    if suffix == "parquet":
        pl.DataFrame(rows).write_parquet(file)
    elif suffix == "json":
        file.write_text(json.dumps(rows))
    elif suffix == "jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pl.DataFrame(rows).write_csv(file, separator="\t" if suffix == "tsv" else ",")
    source = open_source(str(file))
    assert source.seeds.select("prompt", "response").to_dicts() == [
        {"prompt": row["question"], "response": row["answer"]} for row in rows
    ]


def test_a_folder_is_read_whole(place):
    (place / "d").mkdir()
    write(place / "d" / "a.csv", "question\n甲怎么办\n")
    write(place / "d" / "b.jsonl", '{"question": "乙怎么办"}\n')
    assert open_source("d").seeds["prompt"].to_list() == ["甲怎么办", "乙怎么办"]


def test_a_byte_order_mark_is_not_part_of_a_column(place):
    file = write(place / "a.csv", "query,answer\n头疼怎么办,多休息\n", "utf-8-sig")
    assert open_source(str(file)).columns["prompt"] == "query"


@pytest.mark.parametrize(("encoding", "said"), [("gb18030", "GB18030"), ("utf-16", "UTF-16")])
def test_another_encoding_is_named_with_the_command_that_converts_it(place, encoding, said):
    text = "问题,回答\n" + "孩子发烧三十九度，应该怎么办才好呢？,先量体温，多喝水，观察精神状态。\n" * 20
    file = write(place / "a.csv", text, encoding)
    with pytest.raises(SourceError, match=f"not UTF-8.*looks like {said}.*iconv -f {said}"):
        open_source(str(file))


def test_bad_rows_cost_only_themselves_and_keep_their_place_and_reason(place):
    long = "长" * (CELL_LIMIT + 1)
    lines = [
        "question,answer",
        "好问题怎么问,好",
        "只有一格",
        "太,多,格",
        " ,空",
        "好问题怎么问,好",
        f"{long},x",
        "最后一问,是",
    ]
    file = write(place / "a.csv", "\n".join(lines) + "\n")
    source = open_source(str(file))
    assert source.seeds["prompt"].to_list() == ["好问题怎么问", "最后一问"]
    assert reasons(source) == {
        "ragged row: not 2 cells": 2,
        "blank prompt": 1,
        "duplicate row": 1,
        f"prompt over {CELL_LIMIT:,} characters": 1,
    }
    assert source.rows_in == 7
    assert "a.csv:3" in source.rejected["detail"].to_list()


def test_trailing_empty_columns_are_not_ragged(place):
    file = write(place / "a.csv", "question,answer,,,\n头疼怎么办,多休息,,,\n胃疼怎么办,少吃,,,\n")
    assert len(open_source(str(file)).seeds) == 2


def test_json_lines_that_are_not_objects_are_rejected_rows(place):
    file = write(place / "a.jsonl", '{"question": "甲怎么办"}\n{oops\n[1]\n{"question": null}\n{"question": ["x"]}\n')
    assert reasons(open_source(str(file))) == {
        "not valid JSON": 1,
        "not a JSON object": 1,
        "blank prompt": 1,
        "prompt is not text": 1,
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", "", "is empty"),
        ("header.csv", "question,answer\n", "holds no rows, only a header"),
        ("a.xlsx", "x", "no known format"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "3", "single JSON value"),
        ("blank.csv", "question\n \n\t\n", "holds no rows"),
    ],
)
def test_a_useless_file_is_one_clear_line(place, name, content, said):
    with pytest.raises(SourceError, match=said):
        open_source(str(write(place / name, content)))


def test_a_folder_that_is_not_there_is_no_dataset_of_the_hub(place):
    with pytest.raises(SourceError, match="no file or folder questions; check the path"):
        open_source("questions/")


def test_a_missing_file_is_said(place):
    with pytest.raises(SourceError, match=r"no file or folder gone\.csv"):
        open_source("gone.csv")


def test_a_truncated_parquet_is_said(place):
    pl.DataFrame({"question": [f"问题{i}" for i in range(1000)]}).write_parquet(place / "a.parquet")
    whole = (place / "a.parquet").read_bytes()
    (place / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        open_source("a.parquet")


def test_an_unknown_source_offers_the_nearest_names(place):
    with pytest.raises(SourceError, match="no source called 'smaple'; did you mean sample?"):
        open_source("smaple")


def test_every_card_validates_and_says_its_licence():
    for name in ("sample", "chbench"):
        card = read_card(name)
        assert card.licence
        assert card.citation


def chbench_rows(domain: str, count: int) -> list[dict[str, str]]:
    return [
        {"query": f"{domain}第{i}个问题怎么办？", "ErnieA": f"第{i}个\n回答", "attribute": "x"} for i in range(count)
    ]


def write_chbench(folder: Path) -> None:
    for domain, tail in (("mental", []), ("physical", [""] * 12)):
        with (folder / f"CHBench_{domain}.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["query", "ErnieA", "attribute", "tuple", *tail])
            for row in chbench_rows(domain, 20):
                writer.writerow([*row.values(), "(1, 1)", *tail])


def test_chbench_reads_the_authors_two_files(place):
    write_chbench(place)
    source = open_source("chbench", path=place)
    rows = pl.concat([source.seeds, source.exam])
    assert dict(rows.group_by("label").len().rows()) == {"mental": 20, "physical": 20}
    assert rows["response"].str.contains("\n").all()
    assert len(source.exam) > 0


@pytest.mark.parametrize("shape", ["list", "grouped", "lines"])
def test_chbench_reads_the_hub_form(place, shape):
    mental, physical = ([{**row, "domain": name} for row in chbench_rows(name, 5)] for name in ("mental", "physical"))
    texts = {
        "list": json.dumps([*mental, *physical]),
        "grouped": json.dumps({"mental": chbench_rows("mental", 5), "physical": chbench_rows("physical", 5)}),
        "lines": "\n".join(json.dumps(row) for row in [*mental, *physical]),
    }
    write(place / "CHBench.json", texts[shape])
    source = open_source("chbench", path=place, holdout=0)
    assert dict(source.seeds.group_by("label").len().rows()) == {"mental": 5, "physical": 5}


def test_chbench_without_network_or_files_names_three_ways(place, monkeypatch):
    monkeypatch.delenv("AUGMENT_CHBENCH_DIR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError) as caught:
        open_source("chbench")
    message = str(caught.value)
    assert "AUGMENT_CHBENCH_DIR" in message
    assert "--path" in message
    assert "connect once" in message
    assert "\n" not in message


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs."""

    body = json.dumps([{"query": f"问题{i}怎么办", "ErnieA": "答", "domain": "mental"} for i in range(10)]).encode()
    fetched = 0

    def answer(self, send_body: bool) -> None:
        found = self.path.endswith("/resolve/main/CHBench.json")
        self.send_response(200 if found else 404)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"abc123"')
        self.send_header("Content-Length", str(len(self.body) if found else 0))
        self.end_headers()
        if send_body and found:
            type(self).fetched += 1
            self.wfile.write(self.body)

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def log_message(self, *args: object) -> None:
        return


def test_chbench_is_downloaded_once_and_its_hash_recorded(place, monkeypatch):
    monkeypatch.delenv("AUGMENT_CHBENCH_DIR", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "hub"))
    try:
        first = open_source("chbench", holdout=0)
        second = open_source("chbench", holdout=0)
    finally:
        server.shutdown()
        server.server_close()
    assert first.seeds.equals(second.seeds)
    assert Hub.fetched == 1
    origin = json.loads((place / "home/sources/chbench/origin.json").read_text())
    assert origin["files"]["CHBench.json"]["bytes"] == len(Hub.body)
    assert len(origin["files"]["CHBench.json"]["sha256"]) == 64


@pytest.mark.skipif(not CHBENCH, reason="AUGMENT_CHBENCH_DIR is not set")
def test_the_real_chbench_rows_are_all_read(place):
    source = open_source("chbench")
    rows = pl.concat([source.seeds, source.exam])
    assert source.rejected.is_empty()
    assert dict(rows.group_by("label").len().rows()) == {"mental": 72, "physical": 72}
    assert rows["response"].null_count() == 0


def test_an_unclosed_quote_costs_its_own_line(place):
    body = "".join(f"问题{i}怎么办,答{i}\n" for i in range(100))
    more = body.replace("问题", "疑问")
    file = write(place / "a.csv", f'question,answer\n"多行\n问题怎么办",答\n{body}"没有收尾的引号,答\n{more}')
    source = open_source(str(file))
    assert len(source.seeds) == 201
    assert reasons(source) == {"a quote that is never closed": 1}
    assert "a.csv:104" in source.rejected["detail"].to_list()


def test_two_columns_of_one_name_are_said(place):
    with pytest.raises(SourceError, match="two columns called 'q'"):
        open_source(str(write(place / "a.csv", "q,q,answer\na,b,c\n")))


def test_each_file_of_a_folder_has_its_own_columns_and_hidden_ones_are_left_alone(place):
    (place / "d").mkdir()
    write(place / "d/a.csv", "question,answer\n甲怎么办,答\n")
    write(place / "d/b.jsonl", '{"prompt": "乙怎么办", "response": "应"}\n')
    write(place / "d/.hidden.jsonl", "not json at all\n")
    source = open_source("d")
    assert source.seeds.select("prompt", "response").rows() == [("甲怎么办", "答"), ("乙怎么办", "应")]


def test_a_path_may_hold_any_character(place):
    pl.DataFrame({"question": ["甲怎么办"], "answer": ["答"]}).write_parquet(place / "p.parquet")
    (place / "p.parquet").rename(place / "p[1]*.parquet")
    assert len(open_source("p[1]*.parquet").seeds) == 1


def test_values_that_are_no_text_are_not_made_into_some(place):
    file = write(place / "a.jsonl", '{"prompt": true}\n{"prompt": 5}\n{"prompt": "甲怎么办", "label": 3}\n')
    source = open_source(str(file))
    assert reasons(source) == {"prompt is not text": 2}
    assert source.seeds["label"].to_list() == ["3"]


def test_a_folder_without_the_cards_files_names_them(place):
    with pytest.raises(
        SourceError, match=r"holds neither CHBench_mental.csv and CHBench_physical.csv, or CHBench.json"
    ):
        open_source("chbench", path=place)


def test_a_question_keeps_its_split_however_it_is_written():
    simplified = [f"失眠怎么办{i}" for i in range(50)]
    traditional = [f"失眠，怎麼辦 {i}？" for i in range(50)]
    assert _splits(simplified, 0.5) == _splits(traditional, 0.5)


def test_a_rejected_rows_long_cells_are_clipped(place):
    write(place / "a.csv", f"question,answer\n好问题怎么问,好\n ,{'长' * 5000}\n")
    assert open_source("a.csv").rejected["response"].str.len_chars().max() == CLIP


def test_a_repeated_exam_row_stays_out_of_sight_however_long(place):
    rows = [{"question": f"第{i}段很长的叙述：" + f"情况{i}如此这般。" * 300, "answer": "答"} for i in range(20)]
    write(place / "a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in [*rows, *rows]))
    source = open_source("a.jsonl", holdout=0.5)
    assert 0 < len(source.exam) < 20
    shown = set(source.rejected["prompt"].drop_nulls())
    assert len(shown) == len(source.seeds)
    assert not shown & {prompt[:1000] for prompt in source.exam["prompt"]}


def own_card(cards: Path, **more: object) -> str:
    """A card of the user's in a folder of its own, with its file beside it."""
    cards.mkdir()
    write(cards / "asked.csv", "asked,replied,department\n头疼三天了,先休息,neurology\n胃里反酸,少吃甜食,digestion\n")
    told = {"title": "Ours", "licence": "CC-BY-NC-4.0", "files": ["asked.csv"], **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items()]
    columns = ["[columns]", 'prompt = "asked"', 'response = "replied"', 'label = "department"']
    write(cards / "ours.toml", "\n".join([*lines, *columns]))
    return str(cards / "ours.toml")


def test_a_card_of_the_users_own_is_given_by_its_path_and_names_what_lies_beside_it(place):
    source = open_source(own_card(place / "cards"))
    assert source.name == "ours"
    assert source.card.licence == "CC-BY-NC-4.0"
    assert dict(zip(source.seeds["label"], source.seeds["prompt"], strict=True)) == {
        "neurology": "头疼三天了",
        "digestion": "胃里反酸",
    }
    assert set(source.seeds["source"]) == {"ours"}


def test_a_run_of_a_card_of_the_users_own_carries_its_licence_and_is_verified(place, augment):
    name = own_card(place / "cards")
    assert augment("sources", name).code == 0
    ran = augment("text", "--source", name, "--n", "2x")
    assert ran.code == 0, ran.err
    assert re.search(r"runs/ours-\w{8}$", ran.out.strip())
    folder = ran.out.strip().splitlines()[-1]
    terms = json.loads((place / folder / "manifest.json").read_text())["terms"]
    assert terms["source"]["licence"] == "CC-BY-NC-4.0"
    assert augment("verify", folder).code == 0


def test_a_card_of_pictures_of_the_users_own(place, augment):
    card = own_card(place / "cards", modality="image", folder="shown", files=[])
    write(place / "cards/ours.toml", (place / "cards/ours.toml").read_text().partition("[columns]")[0])
    (place / "cards/shown").symlink_to(Path(__file__).parents[1] / "data/sample-images")
    ran = augment("image", "--source", card, "--n", "1x", "--limit", "4")
    assert ran.code == 0, ran.err
    assert "runs/ours-" in ran.out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": []}, "names no rows"),
        ({"files": ["gone.csv"]}, "holds neither gone.csv"),
        ({"titel": "x"}, "is not valid: titel: extra inputs"),
        ({"holdout": "much"}, "is not valid: holdout: input should be a valid number"),
    ],
)
def test_a_card_that_makes_no_sense_is_one_line(place, changes, said):
    with pytest.raises(SourceError, match=said) as caught:
        open_source(own_card(place / "cards", **changes))
    assert "\n" not in str(caught.value)


def test_a_card_that_is_not_there_is_told_by_its_path(place):
    with pytest.raises(SourceError, match=r"no source card cards/ours.toml; check the path"):
        open_source("cards/ours.toml")


def test_a_hub_card_of_the_users_own_is_kept_apart_from_ours_of_the_same_name(place):
    from augment.sources import cached

    first, second = (Card(hub=hub, hub_files=["a.json"]) for hub in ("one/data", "two/data"))
    assert len({cached("chbench.toml", first), cached("chbench.toml", second), cached("chbench", first)}) == 3
