"""Tables of pictures and captions: JSONL, CSV, JSON and Parquet, with paths or with the pictures in them; COCO."""

from __future__ import annotations

import json

import polars as pl
import pytest

from augment.catalogue import open_any
from augment.errors import SourceError
from augment.images.listing import holds_pictures
from augment.images.pictures import pixels_of
from augment.images.sources import open_pictures
from tests.images.files import faults, picture, png, reasons, save

PAIRS = [
    {"file": "pictures/1.png", "words": "a red cat", "kind": "cat"},
    {"file": "pictures/2.png", "words": "一只狗", "kind": "dog"},
]
MAP = {"image": "file", "caption": "words", "label": "kind"}


def write(place, suffix: str, rows=PAIRS):
    file = place / f"pairs.{suffix}"
    if suffix == "parquet":
        pl.DataFrame(rows).write_parquet(file)
    elif suffix == "jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows))
    elif suffix == "json":
        file.write_text(json.dumps(rows))
    else:
        pl.DataFrame(rows).write_csv(file, separator="\t" if suffix == "tsv" else ",")
    return file


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_pairs(place, suffix):
    for k in (1, 2):
        save(place / f"d/pictures/{k}.png", k)
    write(place / "d", suffix)
    source = open_pictures(f"d/pairs.{suffix}", columns=MAP, paired=True)
    assert source.seeds.select("caption", "label", "pixels").rows() == [
        ("a red cat", "cat", pixels_of(picture(1))),
        ("一只狗", "dog", pixels_of(picture(2))),
    ]
    assert source.columns == MAP
    assert (source.name, source.rows_in) == ("pairs", 2)


def test_guessed_and_unused_columns_are_said(place):
    save(place / "1.png", 1)
    write(place, "jsonl", [{"Image": "1.png", "text": "a cat", "CLASS": "cat", "rating": 5}])
    source = open_pictures("pairs.jsonl")
    assert source.columns == {"image": "Image", "label": "CLASS", "caption": "text"}
    assert source.notes[0] == "columns guessed: image=Image, label=CLASS, caption=text (change with --map)"
    assert source.notes[1] == "columns not used: rating"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": "fil"}, "no column 'fil' in the source; it has: file, words, kind"),
        ({"picture": "file"}, "--map has no column 'picture'; known: image, label, caption, mask, boxes"),
    ],
)
def test_a_wrong_map_is_one_line(place, columns, said):
    save(place / "pictures/1.png", 1)
    with pytest.raises(SourceError, match=said):
        open_pictures(str(write(place, "jsonl")), columns=columns)
    (place / "folder").mkdir()
    save(place / "folder/1.png", 1)
    with pytest.raises(SourceError, match="no column 'words' in the source; it has: no columns"):
        open_pictures("folder", columns={"caption": "words"})


def test_pairs_without_one_half_are_told_apart(place):
    save(place / "1.png", 1)
    save(place / "2.png", 2)
    rows = [
        {"image": "1.png", "caption": "a cat"},
        {"image": None, "caption": "no picture here"},
        {"image": "2.png", "caption": "  "},
        {"image": "3.png", "caption": "gone"},
        {"image": "2.png", "caption": 7},
        {"image": "2.png", "caption": "x" * 100_001},
    ]
    source = open_pictures(str(write(place, "jsonl", rows)), paired=True)
    assert reasons(source) == {
        "no picture": 1,
        "no caption": 1,
        "no such file": 1,
        "caption is not text": 1,
        "caption over 100,000 characters": 1,
    }
    assert source.rows_in == 6
    assert set(source.rejected["dropped_by"]) == {"source"}


def test_lines_that_are_no_rows_are_kept_with_their_reasons(place):
    save(place / "1.png", 1)
    (place / "pairs.jsonl").write_text('{"image": "1.png", "caption": "a"}\nnot json\n[1]\n')
    assert faults(open_pictures("pairs.jsonl")) == {
        "pairs.jsonl:2": "not valid JSON",
        "pairs.jsonl:3": "not a JSON object",
    }


def test_parquet_may_hold_the_pictures_themselves(place):
    rows = [
        {"image": {"bytes": png(1), "path": "/elsewhere/1.png"}, "label": 0},
        {"image": {"bytes": png(2), "path": None}, "label": 1},
        {"image": {"bytes": png(3)[:-30], "path": None}, "label": 1},
        {"image": {"bytes": None, "path": "../1.png"}, "label": 1},
        {"image": None, "label": None},
    ]
    pl.DataFrame(rows).write_parquet(place / "p.parquet")
    source = open_pictures("p.parquet")
    assert source.seeds["pixels"].to_list() == [pixels_of(picture(1)), pixels_of(picture(2))]
    assert source.seeds["label"].to_list() == ["0", "1"]
    assert faults(source) == {
        "p.parquet#3": "broken or cut off",
        "p.parquet#4": "path leads out of the folder",
        "p.parquet#5": "no picture",
    }
    pl.DataFrame({"jpg": [png(1), png(2)]}).write_parquet(place / "q.parquet")
    assert len(open_pictures("q.parquet").seeds) == 2


def test_a_truncated_parquet_is_one_line(place):
    pl.DataFrame({"image": [png(k) for k in range(300)]}).write_parquet(place / "p.parquet")
    whole = (place / "p.parquet").read_bytes()
    (place / "p.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"p.parquet is not a whole Parquet file \(.*copy or download it again"):
        open_pictures("p.parquet")
    (place / "p.parquet").write_bytes(whole[:2000] + bytes(len(whole) // 2) + whole[2000 + len(whole) // 2 :])
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        open_pictures("p.parquet")


def test_a_folder_reads_its_tables_and_the_pictures_that_none_names(place):
    for name in ("cat/1.png", "dog/2.png", "dog/3.png"):
        save(place / "d" / name, ord(name[4]))
    (place / "d/metadata.csv").write_text("file_name,caption\ncat/1.png,a cat\ndog/2.png,a dog\n")
    (place / "d/sizes.csv").write_text("breed,kilos\npug,7\n")
    source = open_pictures("d")
    rows = {row["label"]: [] for row in source.seeds.to_dicts()}
    for row in source.seeds.to_dicts():
        rows[row["label"]].append(row["caption"])
    assert rows == {"cat": ["a cat"], "dog": ["a dog", None]}
    assert any(note.startswith("sizes.csv is left alone: no column looks like a picture") for note in source.notes)
    assert source.columns == {"image": "file_name", "caption": "caption", "label": "the subfolder"}


def test_metadata_that_cannot_be_read_is_an_error_and_not_a_remark(place):
    save(place / "d/1.png", 1)
    (place / "d/metadata.jsonl").write_text("not json\n")
    with pytest.raises(SourceError, match="holds no JSON object"):
        open_pictures("d")


def coco(place):
    told = {
        "images": [
            *({"id": k, "file_name": f"{k}.png", "width": 20, "height": 16} for k in (1, 2, 3)),
            {"id": 4},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]},
            {"image_id": 1, "category_id": 7, "bbox": [2, 2, 3, 4]},
            {"image_id": 1, "category_id": 9, "bbox": [0, 0, 20, 16], "iscrowd": 1},
            {"image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4]},
            {"image_id": 2, "category_id": 9, "bbox": [5, 2, 3, 4]},
            {"image_id": 2, "caption": "a cat and a dog"},
            {"image_id": 2, "caption": "two animals"},
        ],
    }
    for k in (1, 2, 3):
        save(place / f"d/train2017/{k}.png", k)
    (place / "d/instances_train2017.json").write_text(json.dumps(told))


def test_coco_gives_boxes_captions_and_a_label_where_all_boxes_agree(place):
    coco(place)
    source = open_pictures("d/instances_train2017.json")
    assert source.seeds["label"].to_list() == ["cat", None, None]
    assert source.seeds["boxes"].to_list()[1:] == [
        '[{"label":"cat","box":[1.0,2.0,3.0,4.0]},{"label":"dog","box":[5.0,2.0,3.0,4.0]}]',
        None,
    ]
    assert faults(source) == {"instances_train2017.json#4": "not a picture's record"}
    paired = open_pictures("d/instances_train2017.json", paired=True)
    assert paired.seeds["caption"].to_list() == ["a cat and a dog", "two animals"]
    whole = open_pictures("d")
    assert whole.rows_in == 4, "the pictures that the file names are no rows of their own"


@pytest.mark.parametrize(
    ("name", "pictured"),
    [("sample-images", True), ("sample", False), ("d", True), ("rows.csv", False), ("pairs.jsonl", True), ("t", False)],
)
def test_a_source_is_known_for_what_it_is(place, name, pictured):
    save(place / "d/1.png", 1)
    save(place / "1.png", 1)
    (place / "rows.csv").write_text("file,question\nbook.txt,why?\n")
    write(place, "jsonl", [{"image": "1.png", "text": "a cat"}])
    (place / "t").mkdir()
    (place / "t/rows.csv").write_text("question\n甲怎么办\n")
    assert holds_pictures(name, None, {}) is pictured
    assert ("pixels" in open_any(name).seeds.columns) is pictured


def unpacked(place, part: str, first: int) -> None:
    """COCO as it is unpacked: annotations/ beside the folders of pictures."""
    images = [{"id": k, "file_name": f"{part}{k}.png"} for k in range(2)]
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "person"}]
    boxes = [{"image_id": k, "category_id": 1, "bbox": [1, 2, 3, 4]} for k in range(2)]
    people = [{"image_id": 0, "category_id": 2, "bbox": [5, 5, 3, 4]}]
    captions = [{"image_id": k, "caption": f"cat {k} of {part}"} for k in range(2)]
    (place / "d/annotations").mkdir(parents=True, exist_ok=True)
    for name, said in (("instances", boxes), ("captions", captions), ("person_keypoints", people)):
        told = {"images": images, "categories": kinds, "annotations": said}
        (place / f"d/annotations/{name}_{part}2017.json").write_text(json.dumps(told))
    for k in range(2):
        save(place / f"d/{part}2017/{part}{k}.png", first + k)


def test_coco_as_it_is_unpacked_is_its_training_part_with_boxes_and_captions(place):
    unpacked(place, "train", 1)
    unpacked(place, "val", 5)
    source = open_pictures("d")
    assert source.rows_in == 2
    assert source.seeds["label"].to_list() == ["cat", "cat"]
    assert source.seeds["caption"].to_list() == ["cat 0 of train", "cat 1 of train"]
    assert source.seeds["boxes"].to_list() == ['[{"label":"cat","box":[1.0,2.0,3.0,4.0]}]'] * 2
    assert any("val2017/ left alone" in note for note in source.notes)
    alone = open_pictures("d/annotations/instances_train2017.json")
    assert (alone.rows_in, alone.seeds["label"].to_list()) == (2, ["cat", "cat"])


def test_coco_with_ids_that_are_none_is_no_traceback(place):
    save(place / "d/1.png", 1)
    told = {"images": [{"id": [1], "file_name": "1.png"}], "annotations": [{"image_id": {}, "bbox": [1, 2, 3, 4]}]}
    (place / "d/a.json").write_text(json.dumps({**told, "categories": None}))
    assert open_pictures("d/a.json").rows_in == 1
