"""Models' work mapped over batches: here, and by real Ray workers that are really killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from augment.errors import EngineError, RecipeError
from augment.executors import spreading
from filters.spread import Here, Spread
from tests.works import Doubling

ROOT = Path(__file__).parent.parent
BATCHES = [[1], *([at, -at] for at in range(2, 40))]
DOUBLED = [[2 * each for each in batch] for batch in BATCHES]


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "log"
    path.write_text("")
    return str(path)


@pytest.fixture(scope="module")
def crew() -> Iterator[Spread]:
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        with spreading(workers=2) as spread:
            yield spread


def opened(log: str) -> list[str]:
    return [line for line in Path(log).read_text().splitlines() if line.startswith("open")]


def test_without_workers_the_work_is_done_here_and_opened_once(log):
    with spreading() as spread:
        assert isinstance(spread, Here)
        assert list(spread(Doubling(log), BATCHES)) == DOUBLED
        assert list(spread(Doubling(log), iter(BATCHES[:2]))) == DOUBLED[:2]
        assert opened(log) == [f"open {os.getpid()}"]
        assert list(spread(Doubling(log), [])) == []


def test_workers_give_results_in_order_and_open_a_work_once_each(crew, log):
    work = Doubling(log, seconds=1.0)
    assert list(crew(work, iter(BATCHES))) == DOUBLED, "the slow first batch is overtaken"
    assert list(crew(work, BATCHES)) == DOUBLED
    assert len(opened(log)) == len(set(opened(log))) == 2
    assert f"open {os.getpid()}" not in opened(log)
    assert list(crew(work, [])) == []


def test_a_worker_that_dies_loses_no_row(crew, log, caplog):
    assert list(crew(Doubling(log, deadly=2), BATCHES)) == DOUBLED
    assert Path(log).read_text().count("killed") == 2
    assert caplog.text.count("a worker died") == 2


def test_a_batch_that_kills_whoever_has_it_ends_in_one_line(crew, log):
    with pytest.raises(EngineError, match="a batch killed 3 workers, the last like this: The actor is dead"):
        list(crew(Doubling(log, deadly=9), BATCHES))
    assert Path(log).read_text().count("killed") == 3
    assert list(crew(Doubling(log), BATCHES)) == DOUBLED, "the crew goes on with other work"


def test_what_a_user_can_fix_on_a_worker_is_the_same_line_as_here(crew, log):
    for spread in (crew, Here()):
        with pytest.raises(RecipeError, match="^reward.model: no model folder there; give a folder$"):
            list(spread(Doubling(log, absent=True), BATCHES))
