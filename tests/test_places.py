"""The bundled data is found, wherever the package lies."""

from __future__ import annotations

import shutil
from importlib import util
from pathlib import Path

from augment import places


def test_a_checkout_uses_the_repository_s_data():
    found = places.data_dir()
    assert (found / "sample").is_dir()
    assert (found / "rules" / "zh_words.toml").is_file()


def test_an_installed_package_uses_the_data_inside_it(tmp_path: Path):
    package = tmp_path / "augment"
    (package / "data").mkdir(parents=True)
    shutil.copy(places.__file__, package / "places.py")
    spec = util.spec_from_file_location("installed_places", package / "places.py")
    assert spec is not None and spec.loader is not None
    installed = util.module_from_spec(spec)
    spec.loader.exec_module(installed)
    assert installed.data_dir() == package / "data"
