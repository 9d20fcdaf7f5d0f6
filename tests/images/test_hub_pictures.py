"""Datasets of `datasets` with pictures: saved to disk, and loaded as the hub's are."""

from __future__ import annotations

import datasets
import pytest

from augment.errors import SourceError
from augment.hub import load_hub_dataset, load_split
from augment.images.hub import list_dataset
from augment.images.pictures import pixels_of
from augment.images.reading import read_entries
from augment.images.sources import open_pictures
from augment.sources import open_source
from tests.images.files import picture, save


@pytest.fixture
def animals(place, monkeypatch) -> datasets.Dataset:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", place / "cache")
    objects = {
        "bbox": datasets.Sequence(datasets.Sequence(datasets.Value("float32"), length=4)),
        "category": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"])),
    }
    features = {
        "picture_of_it": datasets.Image(),
        "kind": datasets.ClassLabel(names=["cat", "dog"]),
        "text": datasets.Value("string"),
        "segmentation_mask": datasets.Image(),
        "objects": objects,
        "rating": datasets.Value("int64"),
    }
    rows = [
        {
            "picture_of_it": picture(k),
            "kind": (0, 1, -1)[k],
            "text": f"animal {k}",
            "segmentation_mask": picture(k).point(lambda _: 255),
            "objects": {"bbox": [[1, 2, 3, 4]], "category": [k % 2]},
            "rating": k,
        }
        for k in range(3)
    ]
    return datasets.Dataset.from_list(rows, features=datasets.Features(features))


@pytest.mark.parametrize("parted", [False, True])
def test_a_saved_dataset_is_read_by_its_features(place, animals, parted):
    if parted:
        datasets.DatasetDict({"test": animals.select([2]), "train": animals}).save_to_disk("saved")
    else:
        animals.save_to_disk("saved")
    source = open_pictures("saved", columns={"mask": "segmentation_mask"})
    rows = source.seeds
    assert rows.select("pixels", "label", "caption").rows() == [
        (pixels_of(picture(k)), label, f"animal {k}") for k, label in enumerate(("cat", "dog", None))
    ]
    assert rows["boxes"].to_list()[:2] == [
        '[{"label":"cat","box":[1.0,2.0,3.0,4.0]}]',
        '[{"label":"dog","box":[1.0,2.0,3.0,4.0]}]',
    ]
    assert rows["mask"].null_count() == 0
    assert "columns not used: rating" in source.notes
    assert ("read from its split train" in source.notes) is parted


def test_parquet_of_the_hub_keeps_the_names_of_its_classes(place, animals):
    animals.to_parquet("p.parquet")
    assert open_pictures("p.parquet", columns={"image": "picture_of_it", "label": "kind"}).seeds["label"].to_list() == [
        *("cat", "dog", None),
    ]


def test_a_dataset_of_files_is_loaded_as_from_the_hub(place, animals):
    for name in ("cat/1.png", "dog/2.png"):
        save(place / "set/train" / name, ord(name[0]))
    data, note = load_split(str(place / "set"))
    assert note == ""
    outside = list(read_entries(list_dataset(data, "set", {}).entries))
    assert [(each.label, each.fault) for each in outside] == [
        ("cat", "path leads out of the folder"),
        ("dog", "path leads out of the folder"),
    ]


def test_files_that_were_downloaded_for_a_dataset_are_opened(place, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "hub"))
    for name in ("cat/1.png", "dog/2.png"):
        save(place / "hub/set/train" / name, ord(name[0]))
    data, _ = load_split(str(place / "hub/set"))
    found = list(read_entries(list_dataset(data, "set", {}).entries))
    assert [(each.label, each.fault) for each in found] == [("cat", None), ("dog", None)]
    with pytest.raises(SourceError, match="is a dataset of pictures; use augment image --source"):
        load_hub_dataset(str(place / "hub/set"))


def test_a_dataset_without_pictures_or_without_that_column_is_one_line(place, animals):
    animals.select_columns(["rating", "kind"]).save_to_disk("numbers")
    with pytest.raises(SourceError, match="no column looks like a picture among: rating, kind"):
        open_pictures("numbers")
    animals.save_to_disk("saved")
    with pytest.raises(SourceError, match="no column 'words' in the source; it has: picture_of_it"):
        open_pictures("saved", columns={"caption": "words"})
    (place / "broken").mkdir()
    (place / "broken/state.json").write_text("{}")
    with pytest.raises(SourceError, match="cannot load the dataset in broken"):
        open_pictures("broken")


def test_a_hub_that_cannot_be_reached_is_one_line(place, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    for opened in (open_pictures, open_source):
        with pytest.raises(SourceError, match="cannot load the dataset 'nobody/nothing' from the hub") as caught:
            opened("nobody/nothing")
        assert "\n" not in str(caught.value)
