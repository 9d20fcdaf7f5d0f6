"""A tiny base model in a folder, as a user has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finetune.models import qwen


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    qwen().save_pretrained(folder)
    return folder
