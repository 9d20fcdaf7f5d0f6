"""What the stages of a flow do without a server: how long a stretch is, and what an artifact is called."""

from __future__ import annotations

import pytest

from flows.artifacts import artifact_key
from flows.stages import Stages


@pytest.mark.parametrize("days", [1, 30])
def test_a_long_run_has_few_task_runs(days):
    stages = Stages("any")
    elapsed, tasks = 0.0, 0
    while elapsed < days * 86400:
        elapsed += stages.seconds(elapsed)
        tasks += 1
    assert tasks < 290, "reading, carrying over, publishing and trying again are some more"


def test_artifact_keys_are_what_prefect_takes_and_tell_recipes_apart():
    assert artifact_key("sample") == "sample"
    assert artifact_key("chbench-nightly") == "chbench-nightly"
    others = {artifact_key(name) for name in ("问题", "答案", "a_b", "a b", "A/B")}
    assert len(others) == 5
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in others)
