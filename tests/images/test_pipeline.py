"""Pictures from a source to a published run: as many as asked for, each accounted for, the same whatever is run beside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from augment.images.pictures import pixels_of, read_picture
from augment.images.stamp import CHANGED, DRAWN, EDITED, recipe_of

FAST = ("--filters", "none", "--holdout", "0", "--size", "64")


def folder(place: Path, shapes: int = 6) -> Path:
    """A folder of labelled pictures: seeded blots on grounds of their own."""
    rng = np.random.default_rng(3)
    for number in range(shapes):
        label = ("dot", "bar")[number % 2]
        canvas = np.full((48, 64, 3), rng.integers(40, 216, 3), dtype=np.uint8)
        across = 24 if label == "dot" else 44
        canvas[12 + number : 30 + number, 10 : 10 + across] = rng.integers(0, 256, 3)
        path = place / "pictures" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(canvas).save(path)
    return place / "pictures"


def rows(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "curated/train.parquet")


def made(run: Path) -> dict[tuple[str, str, int], str]:
    """The pixels of each generated row, by its parent, generator and variant."""
    frame = rows(run).filter(pl.col("generator") != "seed")
    return {
        (row["parents"][0], row["generator"], row["variant"]): pixels_of(read_picture(run / "curated" / row["image"]))
        for row in frame.iter_rows(named=True)
    }


def test_every_seed_has_its_variants_and_each_file_says_what_it_is(augment, place):
    ran = augment("image", "--source", folder(place), "--n", "3x", *FAST, "--out", "r")
    assert ran.code == 0, ran.err
    assert "no --engine given: using the generator `classical`" in ran.err
    assert "18 candidates = 18 kept + 0 rejected + 0 failed" in ran.out
    frame = rows(place / "r")
    assert frame.filter(pl.col("generator") == "seed").height == 6
    assert set(frame.filter(pl.col("generator") == "classical")["parents"].list.first().value_counts()["count"]) == {3}
    labels = dict(frame.filter(pl.col("generator") == "seed").select("id", "label").iter_rows())
    for row in frame.iter_rows(named=True):
        raw = (place / "r/curated" / row["image"]).read_bytes()
        recipe, source = recipe_of(raw)
        assert pixels_of(read_picture(place / "r/curated" / row["image"])) == row["pixels"]
        if row["generator"] == "seed":
            assert (recipe, source) == (None, None)
        else:
            assert source == CHANGED
            assert recipe["key"] == row["reply_key"]
            assert row["label"] == labels[row["parents"][0]]


@pytest.mark.parametrize(("generator", "source"), [("text2image", DRAWN), ("img2img", EDITED), ("instruct", EDITED)])
def test_what_a_model_draws_is_marked_as_such(augment, place, generator, source):
    engine = ("--engine", "noise", "--generators", generator)
    assert augment("image", "--source", folder(place), "--n", "1x", *engine, *FAST, "--out", "r").code == 0
    for row in rows(place / "r").filter(pl.col("generator") == generator).iter_rows(named=True):
        assert recipe_of((place / "r/curated" / row["image"]).read_bytes())[1] == source
        assert row["engine"] == "noise"


MIXED = ("--generators", "classical,img2img,text2image:2", "--engine", "noise", "--llm", "echo")


def test_order_subset_and_more_variants_change_no_pixel(augment, place):
    source = folder(place)
    assert augment("image", "--source", source, "--n", "4x", *MIXED, *FAST, "--out", "few").code == 0
    few = made(place / "few")
    assert len(few) == 24
    (place / "elsewhere").mkdir()
    for number, path in enumerate(sorted(source.rglob("*.png"), reverse=True)[:4]):
        target = place / "elsewhere" / path.parent.name / f"z{number}.png"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    os.environ["AUGMENT_HOME"] = str(place / "home2")  # nothing may come from what is stored
    assert augment("image", "--source", "elsewhere", "--n", "6x", *MIXED, *FAST, "--out", "more").code == 0
    more = made(place / "more")
    assert len(more) == 24
    shared = few.keys() & more.keys()
    assert len(shared) == 16
    assert {key: few[key] for key in shared} == {key: more[key] for key in shared}


def test_nothing_is_drawn_twice(augment, place):
    source = folder(place)
    assert "24 requests sent" in augment("image", "--source", source, "--n", "4x", *DRAWN_ONLY, "--out", "a").out
    again = augment("image", "--source", source, "--n", "4x", *DRAWN_ONLY, "--out", "b")
    assert "0 requests sent, 24 replies reused" in again.out
    more = augment("image", "--source", source, "--n", "6x", *DRAWN_ONLY, "--out", "c")
    assert "12 requests sent, 24 replies reused" in more.out
    assert made(place / "a").items() <= made(place / "c").items()


DRAWN_ONLY = ("--generators", "img2img", "--engine", "noise", *FAST)


def test_a_picture_that_is_gone_is_drawn_again(augment, place):
    source = folder(place)
    augment("image", "--source", source, "--n", "2x", *DRAWN_ONLY, "--out", "a")
    key = rows(place / "a").filter(pl.col("generator") == "img2img")["reply_key"][0]
    (place / "home/images" / f"{key}.png").unlink()
    again = augment("image", "--source", source, "--n", "2x", *DRAWN_ONLY, "--out", "b")
    assert "1 requests sent, 11 replies reused" in again.out
    assert made(place / "a") == made(place / "b")


def test_a_run_that_is_killed_goes_on_where_it_was(place, augment):
    source = folder(place, 40)
    words = ["image", "--source", str(source), "--n", "10x", *DRAWN_ONLY, "--size", "512", "--out", "r"]
    running = subprocess.Popen([sys.executable, "-m", "augment", *words], cwd=place, env=_environment())
    drawn = place / "home/images"
    until = time.monotonic() + 60
    while not (drawn.is_dir() and len(list(drawn.glob("*.png"))) > 40 + 30):
        assert running.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (place / "r/manifest.json").exists()
    known = len(list(drawn.glob("*.png"))) - 40
    ran = augment(*words)
    assert ran.code == 0, ran.err
    sent = int(ran.out.split(" requests sent")[0].split("\n")[-1].replace(",", ""))
    assert sent <= 400 - known + 1  # a picture whose reply was not yet in the store when the process died
    os.environ["AUGMENT_HOME"] = str(place / "home2")
    assert augment(*words[:-1], "whole").code == 0
    assert made(place / "r") == made(place / "whole")


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parent.parent.parent)
    return {**os.environ, "PYTHONPATH": root}


def test_partners_are_both_parents_and_stay_when_a_seed_goes(augment, place):
    pairs = [*("--source", "sample-images"), *("--generators", "mixgen"), "--filters", "none"]
    assert augment("paired", *pairs, "--n", "2x", "--out", "all").code == 0
    assert augment("paired", *pairs, "--n", "2x", "--limit", "40", "--out", "some").code == 0
    every, some = made(place / "all"), made(place / "some")
    both = {tuple(each) for each in rows(place / "all").filter(pl.col("generator") == "mixgen")["parents"].to_list()}
    assert all(len(each) == 2 and each[0] != each[1] for each in both)
    shared = every.keys() & some.keys()
    same = sum(every[key] == some[key] for key in shared)
    assert len(shared) == 80
    assert same > len(shared) / 2  # the others were mixed with a seed that is not there


def test_a_published_run_is_read_by_datasets_with_no_help(augment, place):
    from datasets import load_dataset

    assert augment("image", "--source", "sample-images", "--n", "1x", "--filters", "none", "--out", "r").code == 0
    loaded = load_dataset(str(place / "r"), cache_dir=str(place / "cache"))["train"]
    assert len(loaded) == rows(place / "r").height
    assert loaded[0]["image"].size[0] > 0
    assert not [name for name, kind in loaded.features.items() if getattr(kind, "dtype", "") == "null"]
    assert any(row["mask"] is not None for row in loaded)
    assert any(row["objects"]["bbox"] for row in loaded)


def test_the_next_version_carries_the_pictures_over(augment, place):
    source = folder(place)
    words = ("image", "--source", source, "--n", "2x", "--incremental", "--generators", "img2img", "--engine", "noise")
    words = (*words, *FAST)
    first = augment(*words)
    assert first.code == 0, first.err
    before = Path(first.out.strip().splitlines()[-1])
    new = np.zeros((40, 40, 3), dtype=np.uint8)
    new[10:20] = 200
    Image.fromarray(new).save(source / "dot/new.png")
    os.environ["AUGMENT_HOME"] = str(place / "home2")  # the carried pictures come from the run, not from the store
    second = augment(*words)
    assert second.code == 0, second.err
    after = Path(second.out.strip().splitlines()[-1])
    assert "(12 carried over)" in second.out
    assert "2 requests sent" in second.out
    assert made(place / before).items() < made(place / after).items()
    assert all(recipe_of((place / after / "curated" / path).read_bytes())[0] for path in generated(place / after))


def generated(run: Path) -> list[str]:
    return rows(run).filter(pl.col("generator") != "seed")["image"].to_list()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--generators", "img2img"), "generator 'img2img' draws; add --engine diffusers:MODEL"),
        (("--generators", "paraphrase"), "generator 'paraphrase' belongs to augment text"),
        (("--generators", "mixgen"), "generator 'mixgen' belongs to augment paired"),
        (("--engine", "noise", "--size", "70"), "size: '70' is no multiple of 16, as models draw; write 64"),
        (("--engine", "nois"), "did you mean noise"),
        (("--engine", ":x"), "--engine ':x' names no engine"),
        (("--set", "classical.opps=[1]"), "generator 'classical' has no setting 'opps'"),
        (("--set", "img2img.strengths=[0.5]"), "'img2img' has settings but is not in the chain"),
        (("--subjects", "nowhere"), "nowhere holds no subject"),
        (("--n", "0"), "'0' is no amount"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(augment, place, words, said):
    ran = augment("image", "--source", "sample-images", *words)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1, ran.err


def test_text_has_no_pictures_and_pictures_no_text(augment, place):
    assert "belongs to augment image" in augment("text", "--source", "sample", "--generators", "classical").err
    (place / "r.toml").write_text('source = "sample-images"\nmodality = "image"\n')
    assert "is for augment image" in augment("text", "--recipe", "r.toml").err
    assert augment("image", "--recipe", "r.toml", "--dry-run").code == 0


def test_a_rehearsal_shows_what_would_be_asked(augment, place):
    words = ("--engine", "diffusers:owner/model", "--llm", "openai:m", "--generators", "text2image,img2img")
    ran = augment("image", "--source", "sample-images", *words, "--dry-run")
    assert ran.code == 0, ran.err
    assert "text2image" in ran.out
    assert "strength: " in ran.out
    assert "dry run: nothing was sent" in ran.out


def test_explain_tells_how_a_picture_was_drawn(augment, place):
    words = ("--generators", "img2img", "--engine", "noise", *FAST, "--out", "r")
    augment("image", "--source", folder(place), "--n", "1x", *words)
    row = rows(place / "r").filter(pl.col("generator") == "img2img").row(0, named=True)
    told = augment("explain", row["id"], "--run", "r").out
    for each in (row["prompt"], str(row["seed"]), "strength", "noise", row["parents"][0], "curated/train/"):
        assert each in told
