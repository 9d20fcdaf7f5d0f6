"""Depth as a tiny model estimates it, to steer a model that draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from augment import generators
from augment.errors import RecipeError
from augment.images.depth import depth
from augment.images.store import pictures
from tests.images import squares


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A DPT with random weights, in a folder."""
    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
        initializer_range=0.5,
    )
    folder = tmp_path_factory.mktemp("dpt")
    DPTForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def test_depth_has_the_pictures_size_and_goes_from_black_to_white(model: str) -> None:
    found = depth(squares.picture(), model)
    assert (found.size, found.mode) == ((80, 60), "RGB")
    grey: np.ndarray[Any, Any] = np.asarray(found)
    assert grey.min() < 40 and grey.max() > 215
    assert np.array_equal(grey, np.asarray(depth(squares.picture(), model)))
    assert not np.array_equal(grey, np.asarray(depth(squares.picture(place=(0, 0, 20, 60)), model)))


def test_a_picture_is_steered_by_its_depth(model: str, place: Path) -> None:
    generator = generators.TABLE.build("control", {"size": 160, "map": "depth", "depth_model": model})
    request = generator.ask(squares.record(), 0, ())
    assert pictures().open(request.drawing.control).size == (160, 120)
    assert request == generator.ask(squares.record(), 0, ())
    other = generator.ask(squares.record(size=(80, 70)), 0, ())
    assert other.drawing.control != request.drawing.control
    row = generator.read(squares.record(), squares.draw(request))
    assert (row.width, row.height) == (160, 120)


def test_a_model_that_is_not_there_is_one_line(place: Path) -> None:
    with pytest.raises(RecipeError, match=r"^control.depth_model '/no/such' cannot be loaded as one of depth: [^\n]*$"):
        depth(squares.picture(), "/no/such")
