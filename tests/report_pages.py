"""Runs to report on, and what a page holds, read back without a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "<script>window.hacked = true</script><img src=x onerror='window.hacked = true'>"
RTL = "كيف يمكنني تخفيف الصداع دون دواء؟"
LONG = "头疼" * 49_000

QUESTIONS = (
    *("血压150/95要马上吃药吗", "孩子发烧到三十九度怎么办", "How long should I rest after a mild ankle sprain?"),
    *(f"{HOSTILE} is it safe to eat {{{{ this }}}}?", RTL, f"失眠很久了\u202e该怎么办\u202c？{LONG}"),
    *("糖尿病人能吃西瓜吗", "What helps against a dry cough at night?"),
)
LABELS = ("heart", HOSTILE, "صحة")


def write_seeds(path: Path, questions: Sequence[str] = QUESTIONS) -> Path:
    """The questions with answers and labels as JSON lines; answer 0 holds the word Paracetamol."""
    lines = [
        {"question": each, "answer": f"{'Paracetamol' if i == 0 else 'Rest'}, 第{i}个回答。", "label": LABELS[i % 3]}
        for i, each in enumerate(questions)
    ]
    path.write_text("\n".join(json.dumps(each, ensure_ascii=False) for each in lines), "utf-8")
    return path


@contextmanager
def workplace(folder: Path) -> Iterator[None]:
    """Work in `folder`, with a reply store there: what the fixture `place` is for one test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AUGMENT_HOME", str(folder / "home"))
        patch.delenv("PREFECT_API_URL", raising=False)
        yield


def make_run(out: Path, **flags: Any) -> Path:
    """A run by the product itself, in this process."""
    import threading

    from augment.pipeline import run_here
    from augment.plan import open_plan
    from augment.recipe import read_recipe
    from augment.summary import Tally

    return run_here(
        open_plan(read_recipe({"llm": "echo", "n": "3x", "max_tokens": 400_000, "out": out, **flags})),
        Tally(),
        threading.Event(),
    ).path


def rows_in(html: str) -> list[dict[str, Any]]:
    """Every row that a page holds: id, prompt, response, and the page's own description of its columns."""
    abouts = [
        json.loads(each) for each in re.findall(r'<script type="application/json" class="about">(.*?)</script>', html)
    ]
    found = []
    for run, part in re.findall(r'<script type="text/plain" class="part" data-run="(\d+)">(.*?)</script>', html):
        columns = json.loads(gzip.decompress(base64.b64decode(part)))
        about = abouts[int(run)]
        for place, id in enumerate(columns["id"]):
            verdict = columns["verdict"][place]
            found.append(
                {
                    "id": id,
                    "parent": columns["parent"][place],
                    "prompt": columns["prompt"][place],
                    "response": columns["response"][place],
                    "verdict": None if verdict is None else about["verdict"][verdict],
                    "long": columns["long"].get(str(place), {}),
                    "rare": columns["rare"].get(str(place), {}),
                    "scores": {name: values[place] for name, values in columns["scores"].items()},
                }
            )
    return found


def everything(html: str) -> str:
    """All that can be read in a page, whatever it is packed in."""
    charts = re.search(r'<script type="application/json" id="charts">(.*?)</script>', html)
    told = json.dumps(json.loads(charts[1]), ensure_ascii=False) if charts else ""
    return unescape(html) + told + json.dumps(rows_in(html), ensure_ascii=False)
