"""Datasets by id: what comes back is read by `datasets` itself; a hub that cannot be reached is one line."""

from __future__ import annotations

import pytest

from augment.errors import SourceError
from augment.hub import load_hub_dataset
from augment.sources import open_source


def test_a_dataset_is_read_with_its_columns_and_its_train_split(place):
    (place / "set").mkdir()
    (place / "set/train.csv").write_text("question,answer\n甲怎么办,答\n乙怎么办,应\n")
    (place / "set/test.csv").write_text("question,answer\n丙怎么办,不\n")
    card, table = load_hub_dataset(str(place / "set"))
    assert table.columns == ["question", "answer"]
    assert [row["question"] for _, row in table.rows] == ["甲怎么办", "乙怎么办"]
    assert card.licence


def test_an_id_that_cannot_be_loaded_is_one_line(place, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="cannot load the dataset 'nobody/nothing' from the hub") as caught:
        open_source("nobody/nothing")
    assert "\n" not in str(caught.value)
