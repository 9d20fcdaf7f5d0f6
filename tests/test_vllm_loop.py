"""The loop in vLLM's own environment: the base that it makes writes variants by vLLM, and an adapter learns them there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import polars as pl
import pytest

from tests.finetune.bases import ROOT
from tests.finetune.loops import record_of
from tests.vllm_server import environment

VLLM = os.environ.get("AUGMENT_VLLM_PYTHON")
RECIPE = """
verb = "loop"
validation = "20%"

[pretrain]
steps = 30
layers = 1
vocabulary = 1000
hidden = 64
heads = 2

[text]
source = "sample"
n = "2x"
limit = 12
generators = ["rules", "paraphrase"]
llm = "vllm:{base}"
max_tokens = 48

[finetune]
rank = 2
max_steps = 2
batch = 4
length = 200

[[adapters]]
adapter = "nlora"

[evaluate]
card = "sample"
max_tokens = 8
limit = 6
"""


@pytest.mark.skipif(not VLLM, reason="AUGMENT_VLLM_PYTHON names no environment with vLLM")
def test_a_loop_makes_its_variants_by_vllm_and_trains_on_them(tmp_path: Path) -> None:
    recipe = tmp_path / "loop.toml"
    recipe.write_text(RECIPE, "utf-8")
    words = [str(VLLM), "-m", "augment", "loop", "--recipe", str(recipe)]
    where = {**environment(tmp_path), "AUGMENT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=where, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "loops/loop"
    told = record_of(folder)["rounds"][0]
    assert [each["name"] for each in told["adapters"]] == ["nlora", "nlora-control"]
    assert told["exam"]["over_control"]
    columns = ["generator", "engine", "model", "tokens_out"]
    run = folder / "round-1/text"
    rows = pl.concat(
        [pl.read_parquet(run / name, columns=columns) for name in ("curated/train.parquet", "rejected.parquet")]
    )
    asked = rows.filter(pl.col("generator") == "paraphrase")
    assert len(asked) >= 12
    assert set(asked["engine"]) == {"vllm"}
    assert set(asked["model"]) == {"base"}
    assert asked["tokens_out"].min() > 0
