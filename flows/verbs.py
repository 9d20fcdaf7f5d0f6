"""The flows that a person may run by hand, one a verb."""

from __future__ import annotations

import threading
from typing import Any

from prefect import Flow

from augment.pipeline import Curated
from augment.plan import Plan
from augment.summary import Tally
from flows.curation import by_hand
from flows.image import image
from flows.paired import paired
from flows.text import text

FLOWS: dict[str, Flow[..., Any]] = {"text": text, "image": image, "paired": paired}


def run_by_hand(plan: Plan, tally: Tally, stop: threading.Event) -> Curated:
    """Run a plan as the flow of its verb in this process; `tally` is watched and `stop` set from outside.

    Raises:
        RunError: a Prefect API is configured and does not answer.
        AugmentError: as `curate`.
    """
    return by_hand(FLOWS[plan.modality], plan, tally, stop)
