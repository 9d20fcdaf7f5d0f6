"""A tiny base model in a folder, as a user has one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.engines import declare
from tests.finetune.evaluations import write_answers
from tests.finetune.models import qwen

# On tiny models threads only wait for each other, and on a busy machine that takes minutes.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    qwen().save_pretrained(folder)
    return folder


@pytest.fixture
def judging(augment, tmp_path, monkeypatch):
    """The command, where `--judge judging` is a judge of a simple rule."""
    monkeypatch.syspath_prepend(str(declare(tmp_path / "declared")))
    monkeypatch.setenv("TEST_ENGINES_LOG", str(tmp_path / "judged.log"))
    return augment


@pytest.fixture
def answers(place: Path) -> Path:
    """Answers that exist already, in a file as a user has it."""
    return write_answers(place / "answers.csv")
