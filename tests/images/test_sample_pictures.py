"""The bundled pictures are what their script draws, and are described truly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.places import data_dir
from tests.images import sample_pictures
from tests.images.objects import DRAW

FOLDER = data_dir() / "sample-images"


def lines() -> list[dict]:
    return [json.loads(line) for line in (FOLDER / "metadata.jsonl").read_text("utf-8").splitlines()]


def test_they_are_small_varied_and_all_described():
    files = [each for each in FOLDER.rglob("*") if each.is_file()]
    assert sum(each.stat().st_size for each in files) < 1_000_000
    told = lines()
    assert {each["file_name"] for each in told} == {
        str(each.relative_to(FOLDER)) for label in DRAW for each in (FOLDER / label).glob("*.png")
    }
    sizes = {Image.open(FOLDER / each["file_name"]).size for each in told}
    assert sizes == {(128, 128), (160, 120), (120, 160)}
    chinese = [each for each in told if any("一" <= letter <= "鿿" for letter in each["caption"])]
    assert len(chinese) == len(told) / 3
    assert len({each["caption"] for each in told}) > 60


def test_masks_and_boxes_agree():
    for each in lines():
        mask = np.asarray(Image.open(FOLDER / each["mask_file_name"]).convert("L")) > 0
        union = np.zeros_like(mask)
        for x, y, wide, high in each["objects"]["bbox"]:
            union[y : y + high, x : x + wide] = True
        assert not (mask & ~union).any()
        assert 0.02 < mask.mean() < 0.6
        assert (mask & union).sum() > 0.3 * union.sum()


@pytest.mark.parametrize("label", sorted(DRAW))
def test_the_script_draws_them(label):
    told = {each["file_name"]: each for each in lines()}
    drawn = sample_pictures.draw(label, 5)
    kept = told[drawn.name]
    assert (kept["caption"], kept["label"]) == (drawn.caption, label)
    assert np.abs(np.array(kept["objects"]["bbox"]) - np.array(drawn.boxes)).max() <= 1
    old = np.asarray(Image.open(FOLDER / drawn.name)).astype(int)
    assert np.abs(old - np.asarray(drawn.picture)).mean() < 1, (
        "another Pillow may round otherwise, but not draw otherwise"
    )


def test_the_project_calls_them_by_their_card(augment):
    listed = augment("sources").out
    assert "sample-images Pictures drawn for augment" in listed
    shown = augment("sources", "sample-images").out
    assert "72 = 54 train + 18 exam + 0 rejected" in shown
    assert "apple 12, boat 12" in shown
    assert "captions  72, masks 72, boxes 84 on 72 pictures" in shown
    assert "128 × 128: 36" in shown
    refused = augment("text", "--source", "sample-images")
    assert refused.code == 2
    assert "use augment image --source sample-images" in refused.err


def test_a_split_is_written_with_its_pictures_and_is_a_source_again(augment, place):
    ran = augment("sources", "sample-images", "--split", "exam", "--out", "exam.parquet")
    assert ran.out.strip() == "18 rows to exam.parquet"
    again = augment("sources", "exam.parquet").out
    assert "18 = 18 train + 0 exam + 0 rejected" in again
    assert "captions  18, masks 18" in again
    refused = augment("sources", "sample-images", "--split", "exam", "--out", "exam.jsonl")
    assert refused.code == 2
    assert "cannot write pictures to exam.jsonl; use a .parquet file" in refused.err


def test_what_is_written_is_opened_by_datasets(augment, place, monkeypatch):
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", place / "cache")
    augment("sources", "sample-images", "--out", "seeds.parquet")
    data = datasets.load_dataset(
        "parquet", data_files=str(Path("seeds.parquet").absolute()), cache_dir=str(place / "c")
    )
    first = data["train"][0]
    assert first["image"].size == (160, 120)
    assert first["caption"] == "A large red apple on a wooden table."
