"""How BA-LoRA's weights move during training (arXiv 2408.04556 v7, the schedules of its experiments)."""

from __future__ import annotations

import math

START, RISE = 0.2, 0.05
"""The share of training before diversity and spectrum set in, and the share they take to reach full weight."""
FLOOR = 0.1
"""The share of its weight that consistency keeps at the end."""


def cosine_decay(step: int, steps: int) -> float:
    """The factor of λ1 after `step` of `steps`: from 1 down to 0.1 along half a cosine."""
    progress = min(step / max(steps, 1), 1.0)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def delayed_ramp(step: int, steps: int) -> float:
    """The factor of λ2 and λ3 after `step` of `steps`: 0 for the first fifth, then linear up to 1 in a twentieth."""
    begin = int(START * steps)
    rise = max(int(RISE * steps), 1)
    return min(max((step - begin) / rise, 0.0), 1.0)
