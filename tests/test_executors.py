from __future__ import annotations

import itertools

import pytest

from augment.errors import Interrupted
from augment.pipeline import curate
from tests.test_pipeline import plan_of, seeds


def test_an_engine_that_ends_early_interrupts_the_run(place, monkeypatch):
    monkeypatch.setattr("augment.quota.SHARD", 5)
    plan = plan_of(source=seeds(place), n="1x")
    whole = plan.engine.generate
    monkeypatch.setattr(plan.engine, "generate", lambda asked, keep: whole(itertools.islice(asked, 5), keep))
    with pytest.raises(Interrupted):
        curate(plan)
