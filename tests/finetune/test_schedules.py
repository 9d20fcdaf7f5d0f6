from __future__ import annotations

import pytest

from finetune.objectives.schedules import cosine_decay, delayed_ramp

STEPS = 3125


def test_consistency_decays_along_a_cosine_to_a_tenth():
    assert [0.025 * cosine_decay(step, STEPS) for step in (0, STEPS // 2, STEPS)] == [
        pytest.approx(0.025),
        pytest.approx(0.01376, abs=5e-6),
        pytest.approx(0.0025),
    ]


def test_the_others_wait_for_a_fifth_of_training_and_rise_in_a_twentieth():
    assert delayed_ramp(0, STEPS) == delayed_ramp(625, STEPS) == 0
    assert delayed_ramp(700, STEPS) == pytest.approx(0.481, abs=5e-4)
    assert 0 < delayed_ramp(780, STEPS) < 1
    assert delayed_ramp(781, STEPS) == delayed_ramp(STEPS, STEPS) == 1


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_run_of_a_few_steps_keeps_its_bounds(steps):
    for step in range(steps + 2):
        assert 0.1 - 1e-12 <= cosine_decay(step, steps) <= 1
        assert 0 <= delayed_ramp(step, steps) <= 1
