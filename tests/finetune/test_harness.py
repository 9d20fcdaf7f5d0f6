"""The task for lm-evaluation-harness, run by the real harness on a tiny model."""

from __future__ import annotations

import os

import polars as pl
import pytest

from finetune.harness import PATH
from finetune.scorers.similarity import similarity
from tests.finetune.bases import save_base

pytestmark = pytest.mark.skipif("AUGMENT_CHBENCH_DIR" not in os.environ, reason="set AUGMENT_CHBENCH_DIR")


def test_the_harness_answers_the_held_out_questions_and_scores_them_as_we_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import lm_eval
    from lm_eval.tasks import TaskManager

    from finetune.evaluation.exam import open_exam

    base = save_base(tmp_path / "base", num_hidden_layers=1, initializer_range=0.5)
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={base},dtype=float32",
        tasks=["chbench"],
        task_manager=TaskManager(include_path=str(PATH), include_defaults=False),
        apply_chat_template=True,
        gen_kwargs="max_gen_toks=24",
        limit=6,
        device="cpu",
        batch_size=1,
        bootstrap_iters=0,
    )
    exam = open_exam("chbench").rows.head(6)
    samples = sorted(found["samples"]["chbench"], key=lambda each: each["doc_id"])
    assert [each["doc"]["query"] for each in samples] == exam["query"].to_list()
    assert all(each["doc"]["query"] in each["arguments"][0][0] for each in samples)
    said = pl.Series([each["filtered_resps"][0].strip() for each in samples])
    assert (said.str.len_chars() > 0).sum() >= 4
    cosine, jaccard = similarity(exam["gold"], said)
    assert [each["cosine"] for each in samples] == pytest.approx(list(cosine))
    assert [each["jaccard"] for each in samples] == pytest.approx(list(jaccard))
    results = found["results"]["chbench"]
    assert results["cosine,none"] == pytest.approx(cosine.mean())
    assert results["failed,none"] == pytest.approx((said == "").mean())
    assert {"jaccard,none", "refused,none"} <= set(results)
