"""A published run is whole or is said not to be: whatever is changed in it, `augment verify` finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from PIL import Image

from augment.images.stamp import CHANGED, plain, recipe_of, stamped
from augment.records import Request
from tests.test_pipeline import seeds

WORDS = ("--source", "sample-images", "--limit", 4, "--n", "1x", "--filters", "none", "--holdout", "0")
NOISE = ("--engine", "noise", "--size", 64)


@pytest.fixture
def run(augment, place) -> Path:
    """Four sample pictures with their masks, and a variant of each that needs no model."""
    assert augment("image", *WORDS, "--generators", "classical", "--out", "r").code == 0
    return place / "r"


@pytest.fixture
def drawn(augment, place) -> Path:
    """The same, drawn over by the seeded fake."""
    assert augment("image", *WORDS, *NOISE, "--generators", "img2img", "--out", "d").code == 0
    return place / "d"


def generated(run: Path) -> Path:
    """The first generated picture."""
    rows = pl.read_parquet(run / "curated/train.parquet", glob=False)
    return run / "curated" / rows.filter(pl.col("generator") != "seed")["image"][0]


def faults(augment: Any, *words: object) -> dict[str, list[str]]:
    """What is wrong by check, and that the exit code says whether there is anything."""
    ran = augment("verify", *words, "--json")
    found = json.loads(ran.out)
    told = {each["check"]: [f"{fault['at']}: {fault['what']}" for fault in each["faults"]] for each in found["checks"]}
    assert ran.code == (1 if any(told.values()) else 0)
    assert found["good"] is not any(told.values())
    return told


def rewrite(path: Path, picture: Image.Image) -> None:
    """Another picture under the recipe that the file has."""
    recipe, source = recipe_of(path.read_bytes())
    path.write_bytes(stamped(picture, recipe, source) if recipe and source else plain(picture))


def test_a_run_is_as_it_was_published(augment, run):
    ran = augment("verify", run)
    assert ran.code == 0
    assert ran.out.splitlines()[1:] == [
        "pictures  8 pictures and 8 masks as they were published; 4 carry the recipe that made them",
        "redrawn   4 of 4 generated pictures made again: 4 identical",
    ]
    assert ran.out.startswith("files     5 files (")
    assert ran.err == ""


def test_what_an_engine_drew_is_drawn_again_when_asked_alone(augment, drawn):
    assert "none of 4 generated pictures made again; 4 need their model (--redraw all)" in augment("verify", drawn).out
    assert "4 of 4 generated pictures made again: 4 identical" in augment("verify", drawn, "--redraw", "all").out
    assert "2 of 4 generated pictures made again: 2 identical" in augment("verify", drawn, "--redraw", "2").out
    assert "redrawn" not in augment("verify", drawn, "--redraw", "none").out


@pytest.mark.parametrize("kind", ["run", "drawn"])
def test_pictures_are_made_again_from_the_run_alone(augment, place, kind, request):
    folder = request.getfixturevalue(kind)
    shutil.rmtree(place / "home")
    assert "4 identical" in augment("verify", folder, "--redraw", "all").out


def test_what_a_picture_was_made_of_may_be_gone(augment, place):
    augment("image", *WORDS, "--generators", "classical", "--without-seeds", "--out", "r")
    shutil.rmtree(place / "home")
    usual = augment("verify", "r")
    assert usual.code == 0
    assert "4 cannot be made again" in usual.out
    wanted = faults(augment, "r", "--redraw", "all")["redrawn"]
    assert len(wanted) == 4
    assert "neither in the picture store nor in the run" in wanted[0]


@pytest.mark.parametrize("kind", ["run", "drawn"])
def test_one_pixel_is_found(augment, kind, request):
    folder = request.getfixturevalue(kind)
    path = generated(folder)
    picture = Image.open(path).convert("RGB")
    red, green, blue = picture.getpixel((5, 5))
    picture.putpixel((5, 5), ((red + 9) % 256, green, blue))
    rewrite(path, picture)
    told = faults(augment, folder, "--redraw", "all")
    assert told["files"] == []
    assert told["pictures"] == [f"{path.name}: has other pixels than its row says"]
    assert len(told["redrawn"]) == 1
    assert told["redrawn"][0].startswith(f"{path.name}: differs by up to ")
    assert told["redrawn"][0].endswith("in 1 pixel")


def test_a_rounding_is_told_and_is_no_fault(augment, run):
    path = generated(run)
    picture = Image.open(path).convert("RGB")
    red, green, blue = picture.getpixel((5, 5))
    picture.putpixel((5, 5), (red + 1 if red < 255 else 254, green, blue))
    rewrite(path, picture)
    assert faults(augment, run)["redrawn"] == []
    assert "3 identical, 1 within 1/255" in augment("verify", run).out


def test_a_picture_of_another_size_is_found(augment, run):
    path = generated(run)
    rewrite(path, Image.new("RGB", (32, 16)))
    told = faults(augment, run)
    assert told["pictures"][0].startswith(f"{path.name}: is 32 × 16, and its row says ")
    assert f"{path.name}: is 32 × 16, and is made " in told["redrawn"][0]


def test_one_byte_of_a_table_is_found(augment, run):
    for name in ("curated/train.parquet", "rejected.parquet", "curated/train/metadata.parquet"):
        whole = (run / name).read_bytes()
        (run / name).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        assert f"{name}: has another SHA-256" in faults(augment, run)["files"]
        (run / name).write_bytes(whole)
    assert not any(faults(augment, run).values())


def test_a_table_that_cannot_be_read_is_a_fault_and_no_traceback(augment, run):
    (run / "curated/train.parquet").write_bytes(b"PAR1")
    told = faults(augment, run)
    assert told["files"] == ["curated/train.parquet: has 4 bytes, not " + told["files"][0].rpartition(" ")[2]]
    assert "cannot read" in told["pictures"][0]


def test_a_missing_file_is_found(augment, run):
    path = generated(run)
    path.unlink()
    (run / "README.md").unlink()
    told = faults(augment, run)
    assert told["files"] == ["README.md: is missing"]
    assert told["pictures"] == [f"{path.name}: is missing"]
    assert "recipe cannot be read" in told["redrawn"][0]


def test_a_missing_mask_is_found(augment, run):
    path = next((run / "curated/train/masks").iterdir())
    path.unlink()
    assert faults(augment, run)["pictures"] == [f"masks/{path.name}: is missing"]


def test_files_that_were_not_published_are_found(augment, run):
    train = run / "curated/train"
    shutil.copy(generated(run), train / "another.png")
    (train / "deep").mkdir()
    (train / "deep/notes.txt").write_text("x")
    assert faults(augment, run)["pictures"] == [
        "another.png: was not published with this run",
        "deep/notes.txt: was not published with this run",
    ]


def test_a_link_in_place_of_a_picture_is_found(augment, place, run):
    path = generated(run)
    path.rename(place / "elsewhere.png")
    path.symlink_to(place / "elsewhere.png")
    assert faults(augment, run)["pictures"] == [f"{path.name}: was not published with this run"]


def test_stripped_metadata_are_found(augment, run):
    path = generated(run)
    path.write_bytes(plain(Image.open(path).convert("RGB")))
    told = faults(augment, run)
    assert told["pictures"] == [f"{path.name}: was generated, and carries no recipe"]
    assert told["redrawn"] == [f"{path.name}: cannot be made again: it carries no recipe"]


def test_a_file_that_does_not_say_that_it_is_generated_is_found(augment, run):
    path = generated(run)
    raw = path.read_bytes()
    recipe, source = recipe_of(raw)
    assert source == CHANGED
    path.write_bytes(stamped(Image.open(path).convert("RGB"), recipe, "somethingElse"))
    assert faults(augment, run)["pictures"] == [f"{path.name}: was generated, and does not say so (DigitalSourceType)"]


def test_a_recipe_that_is_another_pictures_is_found(augment, run):
    first, second = sorted(
        run / "curated" / each
        for each in pl.read_parquet(run / "curated/train.parquet").filter(pl.col("generator") != "seed")["image"][:2]
    )
    recipe, _ = recipe_of(second.read_bytes())
    first.write_bytes(stamped(Image.open(first).convert("RGB"), recipe, CHANGED))
    assert f"{first.name}: carries the recipe of another picture" in faults(augment, run)["pictures"]


def test_a_recipe_that_was_changed_no_longer_leads_to_its_key(augment, run):
    path = generated(run)
    recipe, _ = recipe_of(path.read_bytes())
    recipe["seed"] += 1
    path.write_bytes(stamped(Image.open(path).convert("RGB"), recipe, CHANGED))
    assert faults(augment, run)["redrawn"] == [
        f"{path.name}: cannot be made again: its recipe is not the one that its key names"
    ]


@pytest.mark.parametrize("ops", [[["bogus", 1]], [["affine", 0, 0, 0, 0, 0]], [["crop"]], "flip", None])
def test_a_recipe_that_cannot_be_followed_is_a_fault_and_no_traceback(augment, run, ops):
    path = generated(run)
    recipe, _ = recipe_of(path.read_bytes())
    recipe["params"] = {} if ops is None else {"ops": ops}
    asked = Request(
        *(recipe["parent"], recipe["generator"], recipe["variant"], (), recipe["template"], recipe["seed"]),
        engine=recipe["engine"],
        model=recipe["model"],
        settings=recipe["params"],
        pictures=tuple(recipe["pictures"]),
    )
    path.write_bytes(stamped(Image.open(path).convert("RGB"), {**recipe, "key": asked.key}, CHANGED))
    told = faults(augment, run, "--redraw", "all")["redrawn"]
    assert [each.partition(" (")[0] for each in told] == [
        f"{path.name}: cannot be made again: its recipe cannot be followed"
    ]


def test_another_encoding_of_the_same_pixels_is_found(augment, run):
    rows = pl.read_parquet(run / "curated/train.parquet", glob=False)
    seed = run / "curated" / rows.filter(pl.col("generator") == "seed")["image"][0]
    Image.open(seed).save(seed, compress_level=9)
    told = faults(augment, run)["pictures"]
    assert told == ["curated/train: the files are not byte for byte those that were published, though their pixels are"]


def test_a_broken_picture_is_a_fault_and_no_traceback(augment, run):
    path = generated(run)
    path.write_bytes(path.read_bytes()[:300])
    told = faults(augment, run)
    assert told["pictures"] == [f"{path.name}: is broken or cut off"]
    assert len(told["redrawn"]) == 1


def test_other_versions_are_told_in_one_line(augment, run):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["made_with"]["pillow"] = "1.0"
    manifest["augment"] = "0.0.1"
    (run / "manifest.json").write_bytes(orjson.dumps(manifest))
    ran = augment("verify", run)
    assert ran.code == 0
    assert ran.err.count("\n") == 1
    assert "made with augment 0.0.1, here " in ran.err
    assert "pillow 1.0, here " in ran.err


def test_a_model_that_is_not_the_one_that_drew_is_said(augment, drawn):
    manifest = json.loads((drawn / "manifest.json").read_text())
    manifest["recipe"]["engine"] = "noise:other"
    (drawn / "manifest.json").write_bytes(orjson.dumps(manifest))
    told = faults(augment, drawn, "--redraw", "1")["redrawn"]
    assert told[0].endswith("other model: noise noise-1 drew it, and noise other is here")


def test_a_run_of_text_has_no_picture_to_draw_again(augment, place):
    words = ("text", "--source", seeds(place, 5), "--llm", "echo", "--n", "1x", "--filters", "none", "--out", "t")
    assert augment(*words).code == 0
    assert augment("verify", "t").out.startswith(
        f"files     4 files ({_size(place / 't')}) as the manifest names them\n"
    )
    (place / "t/summary.json").write_text("{}")
    assert faults(augment, "t")["files"][0].startswith("summary.json: has 2 bytes, not ")
    refused = augment("verify", "t", "--redraw", "all")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "is for runs of pictures, and t holds text" in refused.err


def test_texts_of_a_run_of_pictures_are_not_scored_again(augment, run):
    refused = augment("verify", run, "--rescore", "all")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "is for runs of text, and " in refused.err


def test_a_file_beside_the_pictures_is_found(augment, run):
    (run / "curated/more.txt").write_text("x")
    assert faults(augment, run)["files"] == ["curated/more.txt: was not published with this run"]


def _size(run: Path) -> str:
    from augment.tables import size_of

    return size_of(sum(each["bytes"] for each in json.loads((run / "manifest.json").read_text())["files"].values()))


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname"])
def test_a_manifest_leads_nowhere_outside_of_its_run(augment, place, run, name):
    (place / "outside.txt").write_text("x")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0"}
    (run / "manifest.json").write_bytes(orjson.dumps(manifest))
    assert faults(augment, run)["files"] == [f"{name}: is outside of the run"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no run 'nowhere'"),
        (["r", "--redraw", "some"], "--redraw 'some' is no number of pictures"),
        (["r", "--redraw", "-3"], "--redraw '-3' is no number of pictures"),
    ],
)
def test_what_a_user_can_fix_is_one_line(augment, run, words, said):
    ran = augment("verify", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
