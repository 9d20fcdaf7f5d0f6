"""Folders of pictures, and what holds for every source: typed rows, the exam, repeated pictures, counts."""

from __future__ import annotations

import json
import os

import polars as pl
import pytest

from augment.errors import SourceError
from augment.images.pictures import pixels_of
from augment.images.sources import _split, open_pictures
from augment.images.store import pictures
from augment.records import PICTURE, SCHEMA, VERDICT, picture_row_id
from augment.sources import open_source
from tests.images.files import faults, picture, reasons, save


def labels(source) -> dict[str | None, int]:
    rows = pl.concat([source.seeds, source.exam])
    return dict(rows.group_by("label").len().rows())


def test_the_bundled_pictures_are_whole_and_spread_over_their_classes(place):
    source = open_pictures("sample-images")
    rows = pl.concat([source.seeds, source.exam])
    assert source.rows_in == 72 == len(rows)
    assert labels(source) == dict.fromkeys(("apple", "boat", "cup", "fish", "house", "tree"), 12)
    assert set(source.exam["label"]) == set(source.seeds["label"]) == set(labels(source))
    assert rows.select("caption", "mask", "boxes").null_count().row(0) == (0, 0, 0)
    assert rows["id"].n_unique() == rows["pixels"].n_unique() == 72
    assert source.notes == ()
    assert open_pictures("sample-images", paired=True).fingerprint == source.fingerprint


def test_a_row_says_what_its_picture_is(place):
    save(place / "pets/cat/1.png", 1)
    row = open_pictures("pets").seeds.row(0, named=True)
    digest = pixels_of(picture(1))
    assert (row["image"], row["pixels"], row["width"], row["height"]) == (digest, digest, 20, 16)
    assert row["id"] == picture_row_id(digest, "cat", None, None, None)
    assert (row["generator"], row["variant"], row["parents"], row["split"], row["source"]) == (
        *("seed", 0, [], "train"),
        "pets",
    )
    assert row["prompt"] is None
    assert pictures().open(digest).tobytes() == picture(1).tobytes()


def test_every_frame_is_typed_even_where_it_is_empty(place):
    save(place / "pets/1.png", 1)
    source = open_pictures("pets")
    assert dict(source.seeds.schema) == dict(source.exam.schema) == {**SCHEMA, **PICTURE}
    assert dict(source.rejected.schema) == {**SCHEMA, **PICTURE, **VERDICT}
    assert source.exam.is_empty()


@pytest.mark.parametrize("depth", ["cat/1.png", "train/cat/1.png", "cat/images/1.png", "images/cat/1.png"])
def test_the_class_is_the_folder_that_says_something(place, depth):
    save(place / "pets" / depth, 1)
    save(place / "pets" / depth.replace("cat", "dog"), 2)
    assert labels(open_pictures("pets")) == {"cat": 1, "dog": 1}


@pytest.mark.parametrize("depth", ["1.png", "images/1.png", "train/1.png"])
def test_a_flat_folder_has_no_classes(place, depth):
    save(place / "pets" / depth, 1)
    assert labels(open_pictures("pets")) == {None: 1}


def test_a_parted_folder_gives_its_training_part_and_says_so(place):
    for k, part in enumerate(("train", "test", "val")):
        save(place / "pets" / part / "cat/1.png", k)
    source = open_pictures("pets")
    assert source.rows_in == 1
    assert any("test/, val/ left alone" in note and "--exam" in note for note in source.notes)
    assert labels(open_pictures("pets/test")) == {"cat": 1}


def test_a_text_beside_a_picture_is_its_caption_and_one_without_a_picture_is_told(place):
    save(place / "d/1.png", 1)
    save(place / "d/2.png", 2)
    save(place / "d/3.png", 3)
    (place / "d/1.txt").write_text(" a red cat\n")
    (place / "d/2.txt").write_text("0 0.5 0.5 0.25 0.25\n")  # boxes in YOLO's form
    (place / "d/4.txt").write_text("nobody")
    source = open_pictures("d")
    assert source.seeds["caption"].to_list() == ["a red cat", None, None]
    assert faults(source) == {"4.txt": "no picture"}
    assert source.columns["caption"] == "the text files"
    paired = open_pictures("d", paired=True)
    assert len(paired.seeds) == 1
    assert faults(paired) == {"2.png": "no caption", "3.png": "no caption", "4.txt": "no picture"}
    assert paired.rows_in == 4


def test_what_is_left_alone_is_said(place):
    save(place / "d/1.png", 1)
    (place / "d/2.heic").write_bytes(b"x")
    (place / "d/.hidden.png").write_bytes(b"x")
    (place / "elsewhere").mkdir()
    save(place / "elsewhere/3.png", 3)
    (place / "d/link").symlink_to(place / "elsewhere")
    source = open_pictures("d")
    assert source.rows_in == 1
    assert "files left alone: 1 .heic" in source.notes
    assert "links to folders left alone: link" in source.notes


def test_masks_lie_beside_or_within_the_classes(place):
    white = picture(0).point(lambda _: 255)
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        save(place / "d" / name, len(name) + ord(name[-5]))
    for name in ("masks/cat/1.png", "cat/masks/2.png", "masks/3.png"):
        (place / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        white.save(place / "d" / name)
    source = open_pictures("d")
    assert source.rows_in == 3
    assert source.seeds["mask"].to_list() == [pixels_of(white)] * 3


def test_a_mask_for_a_name_that_two_pictures_have_is_given_to_neither(place):
    save(place / "d/cat/1.png", 1)
    save(place / "d/dog/1.png", 2)
    save(place / "d/masks/1.png", 3)
    assert open_pictures("d").seeds["mask"].null_count() == 2


def many(folder, count: int, first: int = 0) -> None:
    for k in range(first, count):
        save(folder / f"{k % 3}/{k:04}.png", k)


def test_the_exam_is_a_fixed_share_that_nothing_but_the_pixels_decides(place):
    many(place / "a", 300)
    source = open_pictures("a", holdout=0.3)
    held = set(source.exam["pixels"])
    assert 0.22 < len(held) / 300 < 0.38
    assert not held & set(source.seeds["pixels"])
    for k in range(0, 300, 2):  # other names, other classes, other formats
        folder = place / "b" / str(k % 7)
        folder.mkdir(parents=True, exist_ok=True)
        picture(k).save(folder / f"other{k}.webp", lossless=True)
    again = open_pictures("b", holdout=0.3)
    assert set(again.exam["pixels"]) == held & {pixels_of(picture(k)) for k in range(0, 300, 2)}
    assert open_pictures("a").exam.is_empty()


def test_a_class_that_is_wholly_in_the_exam_is_said(place):
    many(place / "a", 40)
    held = next(seed for seed in range(100, 200) if _split(pixels_of(picture(seed)), 0.5) == "exam")
    save(place / "a/rare/1.png", held)
    source = open_pictures("a", holdout=0.5)
    assert set(source.exam["label"]) - set(source.seeds["label"]) == {"rare"}
    assert "wholly in the exam, so without a seed: rare (--holdout sets the share)" in source.notes


def test_a_repeated_picture_is_one_row_whatever_its_file(place):
    save(place / "d/cat/1.png", 1)
    save(place / "d/cat/2.bmp", 1)
    save(place / "d/dog/3.tiff", 1)
    save(place / "d/dog/4.png", 2)
    source = open_pictures("d")
    assert labels(source) == {"cat": 1, "dog": 1}
    assert faults(source) == {"cat/2.bmp": "duplicate row", "dog/3.tiff": "same picture with another label"}
    assert source.rows_in == 4


def test_several_captions_of_a_picture_are_several_pairs_and_one_picture(place):
    save(place / "d/1.png", 1)
    lines = [{"file_name": "1.png", "caption": text} for text in ("a cat", "one cat", "a cat")]
    (place / "d/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = open_pictures("d")
    assert source.seeds["caption"].to_list() == ["a cat"]
    assert reasons(source) == {"duplicate row": 2}
    paired = open_pictures("d", paired=True)
    assert paired.seeds["caption"].to_list() == ["a cat", "one cat"]
    assert reasons(paired) == {"duplicate row": 1}
    held = open_pictures("d", paired=True, holdout=0.99)
    assert len(held.exam) in (0, 2), "the captions of a picture go together"


def test_a_repeated_picture_of_the_exam_stays_out_of_sight(place):
    many(place / "d", 30)
    for k in range(30):
        save(place / f"d/{k % 3}/again{k}.png", k)
    source = open_pictures("d", holdout=0.5)
    assert 0 < len(source.exam) < 30
    assert reasons(source) == {"duplicate row": 30}
    assert set(source.rejected["pixels"].drop_nulls()) == set(source.seeds["pixels"])
    shown = source.rejected.filter(pl.col("pixels").is_null())
    assert shown.select("label", "image", "id").null_count().row(0) == (len(shown), len(shown), 0)


def test_a_second_opening_decodes_nothing_and_gives_the_same(place, monkeypatch):
    many(place / "d", 20)
    first = open_pictures("d")
    monkeypatch.setattr("augment.images.reading.decode", lambda raw: pytest.fail("decoded again"))
    assert open_pictures("d").seeds.equals(first.seeds)


def test_a_picture_that_left_the_store_is_decoded_again(place):
    save(place / "d/1.png", 1)
    name = open_pictures("d").seeds["image"][0]
    pictures().path(name).unlink()
    assert open_pictures("d").seeds["image"][0] == name
    assert name in pictures()


def test_a_broken_memory_of_what_was_read_costs_nothing(place):
    save(place / "d/1.png", 1)
    first = open_pictures("d")
    (place / "home/images/known.sqlite").write_bytes(b"no database" * 100)
    assert open_pictures("d").seeds.equals(first.seeds)


def test_a_changed_file_is_a_new_row_even_at_its_old_time(place):
    file = save(place / "d/1.bmp", 1)
    when = file.stat()
    before = open_pictures("d").seeds["pixels"][0]
    save(file, 2)
    os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert open_pictures("d").seeds["pixels"][0] != before


def test_rows_stand_in_the_order_of_the_files_however_long_each_takes(place):
    for k in range(40):
        save(place / f"d/{k:02}.png", k, (900, 700) if k % 5 == 0 else (20, 16))
    rows = open_pictures("d").seeds
    small = [pixels_of(picture(k)) for k in range(40) if k % 5]
    assert [each for each in rows["pixels"] if each in small] == small
    assert rows["width"].to_list() == [900 if k % 5 == 0 else 20 for k in range(40)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sample", "'sample' is a source of text; use augment text --source sample"),
        ("gone", "no source called 'gone'"),
        ("gone/", "no file or folder gone; check the path"),
        ("gone.tar", "no file or folder gone.tar"),
        ("./gone", "no file or folder gone"),
        ("empty", "no picture in empty; known: .png"),
        ("words.csv", "no column looks like a picture among: question, answer.*augment text"),
        ("one.png", "one.png is a single picture; give the folder"),
        ("notes.docx", "no known format; use one of .csv.*\\.tar"),
        ("bad", r"no usable picture in bad: all 1 were rejected \(first: not a picture: a.png\)"),
    ],
)
def test_what_is_no_source_of_pictures_is_one_line(place, name, said):
    (place / "empty").mkdir()
    (place / "words.csv").write_text("question,answer\na,b\n")
    (place / "notes.docx").write_bytes(b"x")
    (place / "bad").mkdir()
    (place / "bad/a.png").write_text("words")
    save(place / "one.png", 1)
    with pytest.raises(SourceError, match=said) as caught:
        open_pictures(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sample-images", "pets", "listed"])
def test_pictures_given_to_text_are_one_line(place, name):
    save(place / "pets/cat/1.png", 1)
    save(place / "listed/1.png", 1)
    (place / "listed/metadata.jsonl").write_text('{"file_name": "1.png", "text": "a cat"}\n')
    with pytest.raises(SourceError, match=rf"{name}'? is a source of pictures; use augment image --source {name}"):
        open_source(name)


def test_a_folder_of_texts_with_an_illustration_is_still_text(place):
    save(place / "d/figure.png", 1)
    (place / "d/rows.csv").write_text("question\n甲怎么办\n")
    assert open_source("d").seeds["prompt"].to_list() == ["甲怎么办"]


def parted(place, files: dict[str, int]) -> None:
    for name, seed in files.items():
        save(place / "d" / name, seed)


def test_a_table_beside_the_parts_brings_no_picture_of_the_others_back(place):
    parted(place, {"train/1.png": 1, "test/2.png": 2})
    lines = [{"file_name": name, "label": "cat"} for name in ("train/1.png", "test/2.png")]
    (place / "d/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = open_pictures("d")
    assert (source.rows_in, labels(source)) == (1, {"cat": 1})
    assert source.notes[0] == "test/ left alone (give one with --exam)"


@pytest.mark.parametrize("prefix", ["images/train", "images/train2017", "train-2017", "data/train_2014"])
def test_parts_below_images_and_of_a_year_are_parts(place, prefix):
    other = prefix.replace("train", "val")
    parted(place, {f"{prefix}/cat/1.png": 1, f"{prefix}/dog/2.png": 2, f"{other}/cat/3.png": 3})
    source = open_pictures("d")
    assert labels(source) == {"cat": 1, "dog": 1}
    assert any(f"{other}/ left alone" in note for note in source.notes)


def test_a_folder_of_pictures_beside_the_parts_is_left_alone_and_said(place):
    parted(place, {"train/cat/1.png": 1, "test/cat/2.png": 2, "unlabelled/3.png": 3})
    source = open_pictures("d")
    assert labels(source) == {"cat": 1}
    assert any("test/, unlabelled/ left alone" in note for note in source.notes)


def test_train_among_classes_is_a_class(place):
    parted(place, {"bus/1.png": 1, "car/2.png": 2, "train/3.png": 3})
    assert labels(open_pictures("d")) == {"bus": 1, "car": 1, "train": 1}


def test_a_number_that_is_no_year_makes_no_part(place):
    parted(place, {"train1/1.png": 1, "train2/2.png": 2})
    assert labels(open_pictures("d")) == {"train1": 1, "train2": 1}


def test_masks_of_the_parts_still_find_their_pictures(place):
    parted(place, {"train/cat/1.png": 1, "val/cat/2.png": 2, "masks/train/cat/1.png": 9})
    source = open_pictures("d")
    assert (labels(source), source.seeds["mask"].count()) == ({"cat": 1}, 1)


def test_files_that_are_called_after_parts_are_parts(place):
    parted(place, {"1.png": 1, "2.png": 2})
    for part, name in (("train", "1.png"), ("test", "2.png")):
        (place / f"d/{part}-00000-of-00001.jsonl").write_text(json.dumps({"image": name, "label": part}))
    source = open_pictures("d")
    assert labels(source) == {"train": 1}, "nor is a picture of test/ a row without a label"
    assert any("test-00000-of-00001.jsonl left alone" in note for note in source.notes)
