from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from augment.errors import RecipeError
from filters.chain import chain_of
from filters.cluster import Cluster
from filters.embeddings import cosines, whole
from filters.embeddings.clusters import kmeans, merged
from filters.embeddings.coverings import Covered, farthest_first, nearest_to_each
from tests.encoders import save_encoder
from tests.filter_rows import chbench, context_of, rows, sample, scored

SLEEP = [
    "失眠怎么办",
    "失眠了怎么办",
    "失眠怎么办呢",
    "总是失眠怎么办",
    "失眠该怎么办",
    "失眠又怎么办",
    "最近失眠怎么办",
]
PRESSURE = ["高血压能喝酒吗", "高血压能不能喝酒", "有高血压能喝酒吗"]
ODD = ["The quick brown fox"]


def frame_of(*texts):
    return rows(context_of(), *((None, text, None) for text in texts))


def chosen(each, frame):
    return scored(each, frame, context_of()).filter(pl.col("reason").is_null()).sort("cluster_place")


def blobs(sizes, width=20, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.eye(len(sizes), width) * 10
    return whole(
        np.concatenate([centre + rng.normal(size=(size, width)) for centre, size in zip(centres, sizes, strict=False)])
    )


@pytest.mark.parametrize("method", ["kmeans", "agglomerative"])
def test_every_cluster_has_the_same_quota_as_far_as_it_has_rows(method):
    frame = frame_of(*SLEEP, *PRESSURE)
    out = chosen(Cluster(keep=4, clusters=2, method=method, outliers=1.0), frame)
    assert sum("失眠" in text for text in out["prompt"]) == 2
    out = chosen(Cluster(keep=8, clusters=2, method=method, outliers=1.0), frame)
    assert sum("失眠" in text for text in out["prompt"]) == 5


def test_a_share_keeps_that_share_of_all_rows():
    assert len(chosen(Cluster(share=0.5, clusters=2, outliers=1.0), frame_of(*SLEEP, *PRESSURE))) == 5


def test_the_nearest_to_the_centre_come_first_or_the_farthest_from_each_other():
    frame = frame_of(*SLEEP)
    near = scored(Cluster(keep=3, clusters=1, outliers=1.0), frame, context_of()).sort("cluster_place")
    assert near["cluster_distance"].is_sorted()
    far = chosen(Cluster(keep=2, clusters=1, outliers=1.0, first="farthest"), frame)["prompt"].to_list()
    from filters.embeddings import embed

    vectors = embed(pl.Series(SLEEP), "", "", context_of(), "x")
    start = SLEEP.index(far[0])
    assert far[0] == near["prompt"][0] and SLEEP.index(far[1]) == int(cosines(vectors, vectors)[start].argmin())


def test_an_outlier_is_dropped_and_told_apart():
    frame = frame_of(*SLEEP, *PRESSURE, *ODD)
    out = scored(Cluster(keep=100, clusters=2, outliers=0.9), frame, context_of())
    assert out.filter(pl.col("reason").is_not_null()).select("prompt", "reason").rows() == [
        (ODD[0], "far from every cluster")
    ]
    assert out["cluster_place"].null_count() == 1 and out["cluster_distance"].null_count() == 0


@pytest.mark.parametrize("first", ["centre", "farthest"])
@pytest.mark.parametrize("method", ["kmeans", "agglomerative"])
def test_the_choice_does_not_depend_on_the_order_of_rows(first, method):
    frame = frame_of(*(question for question, _ in [*sample(), *sample()[:20]]))
    each = Cluster(keep=40, first=first, method=method)
    out = scored(each, frame, context_of())
    for seed in (1, 2):
        mixed = frame.sample(fraction=1, shuffle=True, seed=seed)
        assert scored(each, mixed, context_of()).sort("id").equals(out.sort("id"))


def test_another_keep_needs_no_other_scores():
    frame = frame_of(*SLEEP, *PRESSURE)
    few, many = (scored(Cluster(keep=keep), frame, context_of()) for keep in (2, 5))
    assert few.drop("reason").equals(many.drop("reason")) and few["reason"].null_count() == 2


def test_the_seed_of_k_means_is_a_setting():
    frame = frame_of(*(question for question, _ in sample()))
    one, again, other = (
        scored(Cluster(keep=20, seed=seed), frame, context_of())["cluster_number"].to_list() for seed in (0, 0, 1)
    )
    assert one == again != other


def test_rows_without_text_are_kept_out_of_it():
    frame = frame_of("", *SLEEP)
    out = scored(Cluster(keep=7, outliers=1.0), frame, context_of())
    assert out["cluster_place"].null_count() == 1 and out["reason"].to_list() == [None] * 8
    assert scored(Cluster(keep=7), frame.clear(), context_of()).height == 0


def test_without_a_number_of_rows_it_is_refused():
    with pytest.raises(RecipeError, match="filter 'cluster' needs a number of rows; add --set cluster.keep=1000"):
        chain_of(["cluster"])


def test_a_model_s_vectors_can_be_clustered(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    folder = save_encoder(tmp_path / "model", {"pooling_mode_mean_tokens": True})
    out = chosen(Cluster(keep=20, embedder=str(folder)), frame_of(*(question for question, _ in chbench())))
    assert len(out) == 20 and out["cluster_number"].n_unique() > 5


def test_known_clusters_are_found():
    vectors = blobs([40, 30, 20])
    truth = np.repeat([0, 1, 2], [40, 30, 20])
    ids = [f"r{row}" for row in range(90)]
    for labels, centres in (kmeans(vectors, 3, ids), merged(vectors, 3)):
        assert len(centres) == 3 and len(set(zip(labels.tolist(), truth.tolist(), strict=True))) == 3


def test_k_means_ends_where_no_row_is_nearer_to_another_centre():
    vectors = blobs([50] * 8, width=6)
    labels, centres = kmeans(vectors, 8, [f"r{row}" for row in range(400)])
    assert (cosines(vectors, centres).argmax(axis=1) == labels).all()
    sums = whole(np.stack([vectors[labels == each].sum(axis=0) for each in range(len(centres))]))
    assert (sums == centres).all()


def test_more_clusters_than_different_rows_are_as_many_as_there_are():
    vectors = np.repeat(blobs([1, 1]), 5, axis=0)
    labels, centres = kmeans(vectors, 7, [f"r{row}" for row in range(10)])
    assert len(centres) == 2 and set(labels.tolist()) == {0, 1}


def test_farthest_first_is_within_twice_the_best_radius():
    vectors = blobs([6, 5, 4])
    start = Covered.by(vectors, vectors[:0])
    found = farthest_first(vectors, start, 3)
    assert {0 if row < 6 else 1 if row < 11 else 2 for row in found.tolist()} == {0, 1, 2}
    assert farthest_first(vectors, start, 100).tolist() != [] and len(set(found.tolist())) == 3
    same = np.repeat(vectors, 3, axis=0)
    assert sorted(farthest_first(same, Covered.by(same, same[:0]), 100).tolist()) == list(range(45))


def test_each_target_gets_the_row_nearest_to_it():
    vectors, targets = blobs([3, 3, 3]), blobs([1, 1, 1], seed=7)
    best = cosines(targets, vectors).argmax(axis=1).tolist()

    def found(there, count=9, aims=targets):
        return sorted(nearest_to_each(vectors, aims, Covered.by(aims, there), count).tolist())

    assert found(vectors[:0]) == sorted(best)
    assert found(targets[:1]) == sorted(best[1:]), "the first is covered better than any row could"
    assert len(found(vectors[:0], 2)) == 2 and found(vectors[:0], 5, targets[:0]) == []
