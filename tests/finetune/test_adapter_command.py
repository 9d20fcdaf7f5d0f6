"""`augment adapter info|export|merge` on what `augment finetune` wrote."""

from __future__ import annotations

import json

import pytest

from tests.finetune.bases import save_base


@pytest.fixture
def mine(augment, place):
    save_base(place / "base")
    words = (
        "--base",
        "base",
        "--data",
        "sample",
        "--adapter",
        "nlora",
        "--rank",
        "4",
        "--max-steps",
        "2",
        "--out",
        "mine",
    )
    assert augment("finetune", *words).code == 0
    return place / "mine"


def test_info_export_and_merge(augment, place, mine):
    shown = augment("adapter", "info", "mine")
    assert shown.code == 0
    for line in ("method: nlora", "ranks: 4", "layers: 14", "trained: 8,416", "native: True"):
        assert line in shown.out.splitlines()
    told = json.loads(augment("adapter", "info", "mine", "--json").out)
    assert told["options"]["core"] == "nystrom"
    assert told["labels"] == []
    exported = augment("adapter", "export", "mine", "--out", "plain", "--dtype", "bfloat16")
    assert "plain LoRA of rank 8 in 14 layers, bfloat16; 0." in exported.out
    assert "of what was learned is lost" in exported.out
    assert exported.out.splitlines()[-1] == "plain"
    assert "plain is there already" in augment("adapter", "export", "mine", "--out", "plain").err
    merged = augment("adapter", "merge", "mine", "--out", "whole")
    assert merged.out.splitlines()[-1] == "whole"
    assert (place / "whole/model.safetensors").is_file()
    assert (place / "whole/chat_template.jinja").is_file()
    low = augment("adapter", "export", "mine", "--out", "low", "--rank", "2")
    assert "plain LoRA of rank 2" in low.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["info", "nosuch"], "nosuch is not an adapter: no adapter_config.json; name the folder that was saved"),
        (["export", "nosuch", "--out", "x"], "nosuch is not an adapter"),
        (["merge", "mine", "--out", "x", "--base", "nosuch"], "no model folder nosuch; give --base"),
        (["export", "mine", "--out", "x", "--dtype", "int8"], "no dtype 'int8'; known: float32, bfloat16, float16"),
        (["export", "mine", "--out", "x", "--rank", "0"], "rank 0 makes no LoRA; use at least 1"),
        (["export", "mine/plain", "--out", "x"], "mine/plain is plain LoRA already; use it as it is"),
    ],
)
def test_a_mistake_is_one_line(augment, mine, words, line):
    ran = augment("adapter", *words)
    assert ran.code == 2
    assert line in ran.err.strip().splitlines()[-1]
    assert not (mine.parent / "x").exists()
