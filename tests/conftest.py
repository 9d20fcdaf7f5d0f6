"""A clean place to work in for each test that asks for one, and the command run as a user runs it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from augment.cli import main
from tests import prefect_server


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a reply store of its own and no Prefect around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def augment(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`augment("text", "--source", "sample")` runs the command in `place`."""

    def run(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["augment", *map(str, words)])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        else:
            code = 0
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prefect_server.Server]:
    """A Prefect server, the same for every test that asks for one."""
    with prefect_server.serve(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Where the commands of READMEs and helps are run, the same for all of them."""
    from tests.commands import open_stage

    with (  # what the READMEs serve stays on a server, which would not be as others expect it
        prefect_server.serve(tmp_path_factory.mktemp("prefect")) as server,
        open_stage(tmp_path_factory.mktemp("stage"), server) as opened,
    ):
        yield opened
