"""Small sources with labels, and runs over them that a server with scripted answers takes part in."""

from __future__ import annotations

import csv
from pathlib import Path

from augment.pipeline import Curated, curate
from augment.plan import open_plan
from augment.recipe import read_recipe
from tests.server import serve
from tests.test_prompts import LABELS_ZH


def source(place: Path, rows=LABELS_ZH, name: str = "labelled.csv") -> str:
    """A file of texts with labels."""
    with (place / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", "label"), *rows])
    return name


def scripted(**flags: object) -> Curated:
    """A run that `tests.scripted` answers."""
    with serve(says="tests.scripted:says") as server:
        flags = {"llm": "openai:test-model", "base_url": server.url, "n": "2x", **flags}
        return curate(open_plan(read_recipe(flags)))


def accounted(done: Curated) -> bool:
    """Whether every candidate was kept, rejected or failed."""
    counts = done.summary.counts
    rejected = sum(sum(each.values()) for each in counts["rejected"].values())
    return counts["candidates"] == counts["kept"] + rejected + counts["failed"]
