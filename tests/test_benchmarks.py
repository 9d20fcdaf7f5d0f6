"""Each benchmark runs at its smallest size, and what it says about correctness holds. Nothing here is timed."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.measure import ROOT
from tests.benchmarks.orchestration import attainable

NAMES = (
    *("orchestration", "failures", "resume", "scale", "startup", "flows", "cluster", "chains"),
    *("adapters", "objectives", "methods", "similarity", "lift", "report", "drawing"),
    *("classical", "digits", "image_dup", "curation", "decontamination", "selection"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_correct_at_its_smallest_size(name: str, tmp_path: Path) -> None:
    correct(name, sys.executable, tmp_path)


@pytest.mark.skipif("AUGMENT_VLLM_PYTHON" not in os.environ, reason="it names no environment with vLLM")
def test_the_benchmark_of_vllm_is_correct_at_its_smallest_size(tmp_path: Path) -> None:
    correct("vllm", os.environ["AUGMENT_VLLM_PYTHON"], tmp_path)


def correct(name: str, python: str, place: Path) -> None:
    written = place / "result.json"
    command = [python, "-m", f"tests.benchmarks.{name}", "--smallest", "--json", str(written)]
    settings = {**os.environ, "VLLM_CACHE_ROOT": str(place / "cache"), "VLLM_CONFIG_ROOT": str(place / "config")}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(written.read_text("utf-8"))
    assert result["rows"]
    assert result["checks"]
    assert all(check["holds"] for check in result["checks"])


def test_a_check_that_fails_fails_the_benchmark() -> None:
    result = importlib.import_module("tests.benchmarks.measure").Result("any")
    assert not result.correct, "no check is no proof"
    result.check("good", True)
    assert result.correct
    result.check("bad", False, 1)
    assert not result.correct


def test_the_bound_is_that_of_a_perfect_client() -> None:
    assert attainable([1.0] * 8, 4) == 1.0
    assert attainable([1.0] * 5, 4) == 5 / 8
    assert attainable([1.0, 1.0, 1.0, 10.0], 2) == 13 / 22
