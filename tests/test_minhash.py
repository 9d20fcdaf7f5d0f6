from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from filters.minhash import NearIndex, band_keys, jaccard, ngrams, smallest


def variants(count: int, seed: int = 0) -> list[str]:
    """Texts in families, with Jaccards from 0 to 1 within a family."""
    chance = random.Random(seed)
    texts: list[str] = []
    while len(texts) < count:
        text = [chr(chance.randrange(0x4E00, 0x4F00)) for _ in range(chance.choice([3, 12, 60, 200]))]
        for _ in range(chance.randrange(1, 6)):
            for _ in range(chance.choice([0, 1, 3, 8])):
                text[chance.randrange(len(text))] = chr(chance.randrange(0x4E00, 0x4F00))
            texts.append("".join(text))
    chance.shuffle(texts)
    return texts[:count]


def grams(text: str, n: int = 5) -> set[str]:
    return {text[at : at + n] for at in range(max(len(text) - n + 1, 1))} if text else set()


def exact(left: str, right: str) -> float:
    ours, theirs = grams(left), grams(right)
    return len(ours & theirs) / max(len(ours | theirs), 1)


def run(texts: list[str], size: int) -> tuple[list[int], list[float]]:
    index = NearIndex()
    parts = [index.match(pl.Series(texts[at : at + size])) for at in range(0, len(texts), size)]
    return [int(p) for part, _ in parts for p in part], [float(j) for _, part in parts for j in part]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_what_is_found_does_not_depend_on_batch_sizes(size):
    texts = variants(300)
    assert run(texts, size) == run(texts, len(texts))


def test_every_reported_jaccard_is_exact():
    texts = variants(400, seed=1)
    position, score = run(texts, 400)
    found = [at for at, earlier in enumerate(position) if earlier >= 0]
    assert len(found) > 100
    assert [score[at] for at in found] == pytest.approx([exact(texts[at], texts[position[at]]) for at in found])


def test_what_is_dropped_is_what_brute_force_over_kept_rows_drops():
    texts = variants(400, seed=2)
    _, score = run(texts, 50)
    kept: list[str] = []
    expected = []
    for text in texts:
        near = any(exact(text, earlier) >= 0.7 for earlier in kept)
        expected.append(near)
        if not near:
            kept.append(text)
    assert sum(expected) > 50
    assert [each >= 0.7 for each in score] == expected


def test_a_row_goes_against_kept_rows_only():
    first = "一二三四五六七八九十百千万亿兆京垓秭穰沟涧正载极"
    second, third = first[2:] + "甲乙", first[4:] + "甲乙丙丁"
    assert exact(first, second) >= 0.7 and exact(second, third) >= 0.7 and exact(first, third) < 0.7
    position, _ = NearIndex().match(pl.Series([first, second, third]))
    assert position.tolist()[1] == 0 and position.tolist()[2] != 1


def test_texts_shorter_than_an_ngram_match_only_as_a_whole():
    position, score = NearIndex().match(pl.Series(["头疼", "头疼", "头晕", "头", ""]))
    assert position.tolist() == [-1, 0, -1, -1, -1] and score[1] == 1.0


def test_keep_all_keeps_rows_that_are_near_each_other():
    index = NearIndex()
    index.match(pl.Series(["感冒了应该怎么办才好呢"] * 2), keep_all=True)
    assert index.kept.take(np.array([1])).strings() == ["感冒了应该怎么办才好呢"]


def test_thousands_of_texts_with_shared_boilerplate_stay_fast_and_found():
    texts = [f"请问医生我想咨询一下关于{chr(0x4E00 + at)}的问题应该怎么处理比较好呢谢谢" for at in range(3000)]
    _, score = NearIndex(threshold=0.99).match(pl.Series([*texts, texts[0]]))
    assert score[-1] == 1.0


def test_astral_characters_and_long_cells_are_texts_like_others():
    long = "".join(chr(0x20000 + at % 5000) for at in range(100_000))
    position, score = NearIndex().match(pl.Series([long, "𠮷𠀀𠀁𠀂𠀃", long]))
    assert position.tolist() == [-1, -1, 0] and score[2] == 1.0


def test_jaccard_of_sets_ignores_repeats():
    alike = jaccard(*ngrams(pl.Series(["好的好的好的好的", "好的好的好的"]), 2), np.array([0]), np.array([1]))
    assert alike.tolist() == [1.0]


@pytest.mark.parametrize("length", [12, 23, 64, 300])
def test_bins_agree_as_often_as_the_sets_do_whatever_the_length_of_the_texts(length):
    chance, pairs, alike = random.Random(length), [], []
    for _ in range(300):
        letters = [chr(chance.randrange(0x4E00, 0x9FA0)) for _ in range(length)]
        moved = length // 8
        pairs += ["".join(letters), "".join(letters[moved:] + letters[:moved])]
        alike.append(exact(*pairs[-2:]))
    small = smallest(*ngrams(pl.Series(pairs), 5))
    agree = (small[::2] == small[1::2]).mean(axis=1)
    assert agree.mean() == pytest.approx(np.mean(alike), abs=0.02)
    assert agree.std() < 0.1


def test_short_texts_above_three_quarters_nearly_always_share_a_band():
    chance, pairs = random.Random(5), []
    for _ in range(2000):
        letters = [chr(chance.randrange(0x4E00, 0x9FA0)) for _ in range(68)]
        pairs += ["".join(letters), "".join(letters[8:] + letters[:4])]
    assert exact(*pairs[:2]) > 0.75
    keys = band_keys(*ngrams(pl.Series(pairs), 5))
    assert (keys[::2] == keys[1::2]).any(axis=1).mean() > 0.997


def test_keys_are_the_same_everywhere():
    keys = band_keys(*ngrams(pl.Series(["感冒后干咳两周还没好", None, "头疼"]), 5))
    assert [hex(key) for key in keys[0, :2].tolist()] == ["0x52546c0176467010", "0x8be3a8235f8ec6ff"]
    assert not keys[1].any() and len(set(keys[2].tolist())) == 25


@pytest.mark.parametrize("n", [1, 2, 5, 9, 16])
def test_two_windows_have_one_hash_only_if_they_are_the_same(n):
    text = "abcde" * 12 + "fghij" * 9
    hashes, counts = ngrams(pl.Series([text, "", "x"]), n)
    windows = [text[at : at + n] for at in range(len(text) - n + 1)]
    assert counts.tolist() == [len(windows), 0, 1]
    assert len(set(zip(windows, hashes.tolist(), strict=False))) == len(set(windows)) == len(set(hashes[:-1].tolist()))


@pytest.mark.parametrize("groups", ["both", "within"])
def test_what_is_given_at_once_is_looked_up_in_parts(monkeypatch, groups):
    texts, group = pl.Series(variants(300, seed=3)), np.arange(300, dtype=np.uint64) % 3
    expected = NearIndex(groups=groups).match(texts, group=group)
    monkeypatch.setattr("filters.minhash._CHARACTERS", 1 << 12)
    monkeypatch.setattr("filters.minhash._TEXTS", 1 << 5)
    position, score = NearIndex(groups=groups).match(texts, group=group)
    assert (position >= 0).sum() > 20
    assert position.tolist() == expected[0].tolist() and score.tolist() == expected[1].tolist()
