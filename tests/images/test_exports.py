"""Exports of pictures, each read back by the reader that it is for."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from augment.images.exports.coco import code_of
from augment.images.exports.folders import class_folders
from augment.images.exports.shown import shown
from augment.images.exports.webdataset import webdataset
from augment.images.pictures import decode, pixels_of
from tests.test_pipeline import seeds

FORMATS = ("imagefolder", "diffusers", "llava", "webdataset", "coco")


@pytest.fixture
def run(augment, place) -> Path:
    """Sample pictures of two classes with captions, masks and boxes, and a variant of each."""
    words = ("--source", "sample-images", "--limit", 16, "--n", "1x", "--filters", "none", "--holdout", "0")
    assert augment("image", *words, "--generators", "classical", "--out", "r").code == 0
    return place / "r"


@pytest.fixture
def hub(place, monkeypatch) -> Any:
    """`datasets.load_dataset`, keeping what it prepares in the test's folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", place / "cache")
    return lambda *words, **more: datasets.load_dataset(*words, cache_dir=str(place / "cache"), **more)["train"]


def rows_of(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "curated/train.parquet", glob=False)


def rewrite(run: Path, **changes: pl.Expr) -> None:
    """Other values in some columns, as another run would have them."""
    rows_of(run).with_columns(**changes).write_parquet(run / "curated/train.parquet")


def pixels(picture: Image.Image) -> str:
    return pixels_of(picture.convert("RGB"))


def test_imagefolder_has_a_folder_for_each_class(augment, place, run, hub):
    assert augment("export", run, "--format", "imagefolder", "--out", "x").out == "32 rows to x\n"
    read = hub("imagefolder", data_dir=str(place / "x"))
    names = read.features["label"].names
    found = sorted((names[each["label"]], pixels(each["image"])) for each in read)
    assert names == ["apple", "boat"]
    assert found == sorted(rows_of(run).select("label", "pixels").iter_rows())


def test_imagefolder_has_metadata_where_a_label_is_lacking(augment, place, run, hub):
    first = pl.int_range(pl.len()) == 0
    rewrite(run, label=pl.when(~first).then("label"))
    assert "not every row has a label" in augment("export", run, "--format", "imagefolder", "--out", "x").out
    read = hub("imagefolder", data_dir=str(place / "x"))
    assert sorted((each["caption"], pixels(each["image"])) for each in read) == sorted(
        rows_of(run).select("caption", "pixels").iter_rows()
    )
    assert sum(each["label"] is None for each in read) == 1


def test_diffusers_has_a_text_for_each_picture(augment, place, run, hub):
    rewrite(run, caption=pl.when(pl.int_range(pl.len()) > 1).then("caption"))
    augment("export", run, "--format", "diffusers", "--out", "x")
    read = hub("imagefolder", data_files={"train": str(place / "x/**")})
    assert set(read.features) == {"image", "text"}
    texts = {pixels(each["image"]): each["text"] for each in read}
    rows = rows_of(run)
    assert texts == {
        pixels: caption or f"a photo of an {label}"
        for pixels, caption, label in rows.select("pixels", "caption", "label").iter_rows()
    }


def test_llava_asks_in_the_language_of_the_caption(augment, place, run):
    rewrite(run, caption=pl.when(pl.int_range(pl.len()) > 0).then("caption"))
    done = augment("export", run, "--format", "llava", "--out", "x")
    assert done.out == "31 rows to x/sample_images.json (1 without a caption left out)\n"
    entries = json.loads((place / "x/sample_images.json").read_text())
    rows = {row["id"]: row for row in rows_of(run).to_dicts()}
    asked = set()
    for entry in entries:
        human, gpt = entry["conversations"]
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        assert gpt["value"] == rows[entry["id"]]["caption"]
        assert pixels(Image.open(place / "x" / entry["image"])) == rows[entry["id"]]["pixels"]
        asked.add((human["value"], gpt["value"].isascii()))
    assert asked == {
        ("<image>\nDescribe the picture in one sentence.", True),
        ("<image>\n用一句话描述这张图片。", False),
    }


def test_webdataset_is_read_by_datasets(augment, place, run, hub):
    assert augment("export", run, "--format", "webdataset", "--out", "x").code == 0
    read = hub("webdataset", data_files=str(place / "x/*.tar"))
    classes = json.loads((place / "x/classes.json").read_text())
    rows = {row["id"]: row for row in rows_of(run).to_dicts()}
    assert [each["__key__"] for each in read] == list(rows)
    for each in read:
        row = rows[each["__key__"]]
        assert pixels(each["png"]) == row["pixels"]
        assert each["txt"] == row["caption"]
        assert classes[each["cls"]] == row["label"] == each["json"]["label"]
        assert each["json"]["boxes"] == row["boxes"]
        assert each["mask.png"].size == each["png"].size
    assert str(read.features["cls"].dtype) == "int64"
    assert "null" not in str(read.features)


def test_webdataset_is_a_source_again(augment, place, run):
    from augment.images.sources import open_pictures

    augment("export", run, "--format", "webdataset", "--out", "x")
    again = open_pictures("x", holdout=0.0).seeds
    columns = ("pixels", "label", "caption", "boxes")
    assert again.select(columns).rows() == rows_of(run).select(columns).rows()
    assert again["mask"].null_count() == 0


def test_webdataset_has_the_same_members_in_every_sample(augment, place, run):
    odd = pl.int_range(pl.len()) % 2 == 1
    rewrite(run, mask=pl.when(odd).then("mask"), label=pl.when(odd).then("label"), caption=pl.when(odd).then("caption"))
    assert (
        "(without masks, for 16 of 32 rows have one)"
        in augment("export", run, "--format", "webdataset", "--out", "x").out
    )
    with tarfile.open(place / "x/sample_images-000000.tar") as archive:
        names = archive.getnames()
    assert {name.partition(".")[2] for name in names} == {"png", "json", "txt"}
    assert len(names) == 3 * 32


def test_webdataset_shards_by_size_and_the_same_rows_make_the_same_bytes(place, run):
    shards = []
    for name in ("a", "b"):
        (place / name).mkdir()
        webdataset(shown(run), place / name, "s", shard=100_000)
        shards.append({each.name: each.read_bytes() for each in (place / name).iterdir()})
    assert shards[0] == shards[1]
    assert len(shards[0]) > 3
    assert all(len(each) < 200_000 for each in shards[0].values())
    members = []
    for name in sorted(shards[0]):
        if name.endswith(".tar"):
            with tarfile.open(place / "a" / name) as archive:
                members += archive.getmembers()
    assert [each.name for each in members if each.name.endswith(".json")] == [f"{row.id}.json" for row in shown(run)]
    assert {(each.mtime, each.uid, each.gid, each.uname, each.mode) for each in members} == {(0, 0, 0, "", 0o644)}


def decoded(code: dict[str, Any]) -> Any:
    """A run-length code as a mask."""
    height, width = code["size"]
    values = np.repeat(np.arange(len(code["counts"])) % 2, code["counts"])
    return values.reshape((width, height)).T.astype(bool)


def test_coco_has_boxes_and_masks(augment, place, run):
    assert augment("export", run, "--format", "coco", "--out", "x").out == "32 rows to x/annotations.json\n"
    told = json.loads((place / "x/annotations.json").read_text())
    rows = {f"{row['id']}.png": row for row in rows_of(run).to_dicts()}
    names = {each["id"]: each["name"] for each in told["categories"]}
    assert [each["file_name"] for each in told["images"]] == list(rows)
    images = {each["id"]: each for each in told["images"]}
    assert len(told["annotations"]) == len({each["id"] for each in told["annotations"]}) >= 32
    drawn: dict[str, Any] = {}
    for each in told["annotations"]:
        image = images[each["image_id"]]
        row = rows[image["file_name"]]
        assert decode((place / "x/images" / image["file_name"]).read_bytes()).size == (image["width"], image["height"])
        assert {"label": names[each["category_id"]], "box": each["bbox"]} in json.loads(row["boxes"])
        mask = decoded(each["segmentation"])
        assert each["area"] == mask.sum() > 0
        drawn[row["mask"]] = drawn.get(row["mask"], False) | mask
    for name, mask in drawn.items():
        whole = np.asarray(Image.open(run / "curated" / name).convert("L")) >= 128
        assert (mask == whole).all()


def test_coco_is_a_source_again(augment, run):
    from augment.images.sources import open_pictures

    augment("export", run, "--format", "coco", "--out", "x")
    again = open_pictures("x", holdout=0.0).seeds
    assert again.select("pixels", "boxes").rows() == rows_of(run).select("pixels", "boxes").rows()


def test_coco_takes_the_box_from_the_mask_or_the_area_from_the_box(augment, place, run):
    whole = rows_of(run)
    rewrite(run, boxes=pl.lit(None, pl.String))
    augment("export", run, "--format", "coco", "--out", "x")
    first = json.loads((place / "x/annotations.json").read_text())["annotations"][0]
    mask = np.asarray(Image.open(run / "curated" / whole["mask"][0]).convert("L")) >= 128
    rows, columns = np.nonzero(mask)
    width, height = int(columns.max() - columns.min()) + 1, int(rows.max() - rows.min()) + 1
    assert first["bbox"] == [columns.min(), rows.min(), width, height]
    whole.with_columns(mask=pl.lit(None, pl.String)).write_parquet(run / "curated/train.parquet")
    augment("export", run, "--format", "coco", "--out", "x")
    first = json.loads((place / "x/annotations.json").read_text())["annotations"][0]
    assert first["segmentation"] == []
    assert first["area"] == first["bbox"][2] * first["bbox"][3]
    rewrite(run, boxes=pl.lit(None, pl.String))
    refused = augment("export", run, "--format", "coco", "--out", "y")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "has a box or a mask, and coco needs one" in refused.err
    assert not (place / "y").exists()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 9)])
def test_a_run_length_code_is_the_mask(shape):
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 1.0):
        mask = rng.random(shape) < share
        assert (decoded(code_of(mask)) == mask).all()
        assert all(count > 0 for count in code_of(mask)["counts"][1:])


@pytest.fixture
def contrasted(run) -> tuple[str, str]:
    """The ids of a row and of its hard negative."""
    rows = rows_of(run)
    first, second = rows["id"][1], rows["id"][0]
    rewrite(run, negative=pl.when(pl.col("id") == first).then(pl.lit(second)))
    return first, second


def test_hard_negatives_are_beside_their_rows(augment, place, run, contrasted, hub):
    first, second = contrasted
    caption = dict(rows_of(run).select("id", "caption").iter_rows())[second]
    for name in ("diffusers", "llava", "webdataset"):
        augment("export", run, "--format", name, "--out", name)
    entries = {each["id"]: each for each in json.loads((place / "llava/sample_images.json").read_text())}
    assert entries[first]["negative"] == {"id": second, "image": f"images/{second}.png", "caption": caption}
    assert "negative" not in entries[second]
    samples = {each["__key__"]: each["json"] for each in hub("webdataset", data_files=str(place / "webdataset/*.tar"))}
    assert (samples[first]["negative"], samples[first]["negative_text"]) == (second, caption)
    assert samples[second]["negative"] == ""
    triplets = [each for each in hub("imagefolder", data_dir=str(place / "diffusers")) if each["negative_text"]]
    known = dict(rows_of(run).select("id", "pixels").iter_rows())
    assert [(pixels(each["image"]), pixels(each["negative"]), each["negative_text"]) for each in triplets] == [
        (known[first], known[second], caption)
    ]


def test_a_negative_that_is_not_in_the_run_is_none(augment, place, run):
    rewrite(run, negative=pl.lit("0123456789abcdef"))
    augment("export", run, "--format", "llava", "--out", "x")
    assert not any("negative" in each for each in json.loads((place / "x/sample_images.json").read_text()))


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_is_replaced_and_nothing_else_is(augment, place, run, name):
    assert augment("export", run, "--format", name, "--out", "x").code == 0
    before = {each.relative_to(place): each.stat().st_size for each in (place / "x").rglob("*")}
    assert augment("export", run, "--format", name, "--out", "x").code == 0
    assert before == {each.relative_to(place): each.stat().st_size for each in (place / "x").rglob("*")}
    (place / "x/notes.txt").write_text("mine")
    refused = augment("export", run, "--format", name, "--out", "x")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "x holds files that no export wrote (notes.txt)" in refused.err
    assert (place / "x/notes.txt").read_text() == "mine"


def test_what_is_in_the_way_stays(augment, place, run):
    (place / "x").write_text("a file")
    assert "is no folder" in augment("export", run, "--format", "llava", "--out", "x").err
    before = sorted(run.rglob("*"))
    assert "no export wrote" in augment("export", run, "--format", "llava", "--out", run / "curated/train").err
    assert sorted(run.rglob("*")) == before


def test_formats_and_runs_that_do_not_fit_are_told(augment, place, run):
    refused = augment("export", run, "--format", "alpaca", "--out", "x")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert refused.err.endswith("r holds pictures; write coco, diffusers, imagefolder, llava, webdataset\n")
    assert "did you mean webdataset" in augment("export", run, "--format", "webdatasets", "--out", "x").err
    augment("text", "--source", seeds(place, 5), "--llm", "echo", "--n", "1x", "--filters", "none", "--out", "t")
    refused = augment("export", "t", "--format", "coco", "--out", "x")
    assert refused.code == 2
    assert "the format 'coco' is for pictures, and t holds text; write alpaca, chatml, llama" in refused.err


@pytest.mark.parametrize("column", ["id", "image", "mask"])
def test_rows_lead_neither_out_of_the_run_nor_out_of_the_export(augment, place, run, column):
    (place / "secret.png").write_bytes(b"secret")
    rewrite(run, **{column: pl.lit("../../secret" if column == "id" else "../../secret.png")})
    for name in FORMATS:
        refused = augment("export", run, "--format", name, "--out", "x")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "names files that are not its own" in refused.err
    assert not (place / "x").exists()


def test_labels_are_folders_that_every_file_system_takes():
    folders = class_folders(["a/b", "a:b", "..", ".hidden", "猫 咪", "x" * 300, "A", "a", ""])
    assert len({each.casefold() for each in folders.values()}) == len(folders)
    for folder in folders.values():
        assert folder == folder.strip()
        assert not folder.startswith(".")
        assert "/" not in folder
        assert 0 < len(folder.encode()) < 250
    assert folders["猫 咪"] == "猫 咪"
