"""What the READMEs show as a user's own (generator, filter, adapter, source, exam) is short, and works as it stands.

The blocks are taken to the letter and laid down as pip would have installed them, and `augment` is started anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.commands import ROOMS, ROOT, card, fences, package, readme, write_files
from tests.finetune.bases import save_base
from tests.server import serve

MOST = 20
"""A thing of one's own is shown in fewer lines than this, blank ones apart."""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Start `augment` with these words in a place with the READMEs' files and package; what it printed."""
    place = tmp_path_factory.mktemp("own")
    write_files(place)
    installed = package(place / "installed")
    path = os.pathsep.join([str(installed), str(ROOT)])

    def run(*words: object, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "augment", *map(str, words)],
            cwd=place,
            env={**os.environ, "PYTHONPATH": path, "AUGMENT_HOME": str(place / "home"), **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.place = place
    return run


def rows(place: Path, run: str) -> pl.DataFrame:
    return pl.read_parquet(place / run / "curated/train.parquet")


def test_each_is_shown_whole_in_fewer_than_twenty_lines():
    shown = [block for room in ROOMS for block in fences(readme(room), "python") if block.startswith("# ours/")]
    shown += [card("clinic.toml"), card("manners.toml")]
    assert len(shown) == 5
    for block in shown:
        assert len([line for line in block.splitlines() if line.strip()]) < MOST, block


def test_what_is_installed_is_listed(own):
    listed = own("list")
    for line in (
        "shorter         The question in ten words at most, by an LLM; the answer is kept.",
        "thanks          Drops texts that say thank you more than `most` times.",
        "orthogonal      y = W x + s·B A x; the rows of A start orthonormal",
    ):
        assert line in listed


def test_the_generator_asks_and_its_variants_are_published(own):
    with serve(models="Qwen3-8B") as server:
        words = ("--source", "questions.csv", "--n", "2x", "--llm", "openai:Qwen3-8B", "--generators", "shorter")
        own("text", *words, "--out", "short", OPENAI_BASE_URL=server.url)
    made = rows(own.place, "short").filter(pl.col("generator") == "shorter")
    assert len(made) == 2
    assert set(made["response"]) == set(rows(own.place, "short").filter(pl.col("generator") == "seed")["response"])
    assert made["template"].str.starts_with("shorter@").all()
    own("verify", "short")


def test_the_filter_drops_what_it_is_for_and_its_limit_is_set_without_scoring_again(own):
    own("text", "--source", "sample", "--n", "3x", "--filters", "default,thanks", "--out", "polite")
    dropped = pl.read_parquet(own.place / "polite/rejected.parquet").filter(pl.col("dropped_by") == "thanks")
    assert len(dropped) > 0
    assert dropped["prompt"].str.contains("谢|(?i:thank)").all()
    assert set(dropped["reason"]) == {"says thank you"}
    assert not rows(own.place, "polite").filter(pl.col("generator") != "seed")["prompt"].str.contains("谢谢").any()
    own("filter", "polite", "--set", "thanks.most=1", "--out", "politer")
    assert len(rows(own.place, "politer")) > len(rows(own.place, "polite"))


def test_the_adapter_trains_and_exports_as_plain_lora(own):
    save_base(own.place / "base")
    words = ("--data", "rows.jsonl", "--adapter", "orthogonal", "--rank", "8", "--out", "orthogonal")
    own("finetune", "--base", "base", *words)
    record = json.loads((own.place / "orthogonal/training.json").read_text())
    assert record["recipe"]["adapter"] == "orthogonal"
    plain = json.loads((own.place / "orthogonal/plain/adapter_config.json").read_text())
    assert (plain["peft_type"], plain["r"]) == ("LORA", 8)
    own("adapter", "export", "orthogonal", "--out", "plain")
    assert (own.place / "plain/adapter_model.safetensors").is_file()


def test_the_cards_are_a_source_and_the_exam_over_what_it_holds_out(own):
    assert "CC-BY-4.0" in own("sources", "clinic.toml")
    out = own("text", "--source", "clinic.toml", "--n", "3x").strip().splitlines()[-1]
    trained = rows(own.place, out)
    assert set(trained["source"]) == {"clinic"}
    assert set(trained["label"]) == {"emergency", "dermatology"}
    save_base(own.place / "model", max_position_embeddings=128)
    with serve(models="Qwen3-32B") as server:
        words = ("--base", "model", "--judge", "openai:Qwen3-32B", "--judge-url", server.url, "--out", "asked")
        own("evaluate", "manners.toml", *words)
    record = json.loads((own.place / "asked/evaluation.json").read_text())
    assert record["exam"]["title"] == "How our clinic answers"
    assert 0 < record["exam"]["rows"] < 12
    asked = {line["query"] for line in pl.read_parquet(next(own.place.glob("asked/*.parquet"))).iter_rows(named=True)}
    assert asked.isdisjoint(trained["prompt"])
    named = {group: [each["name"] for each in told] for group, told in record["judge"]["dimensions"].items()}
    assert named == {"urgent": ["sends_on"], "others": ["courtesy", "brevity"]}
