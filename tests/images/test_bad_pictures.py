"""Pictures as they come: odd ones are taken, broken ones cost a row with its reason, none costs the run."""

from __future__ import annotations

import io
import json
import os
import random
import warnings

import numpy as np
import pytest
from PIL import Image

from augment.images.pictures import _QUIET, Unreadable, decode, pixels_of
from augment.images.reading import MOST_BYTES
from augment.images.sources import open_pictures
from augment.images.store import pictures
from tests.images.files import bomb, faults, picture, png, reasons, save


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_becomes_rgb(place, mode):
    grey = picture(1).convert("L")
    if mode == "I;16":
        odd = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "PA":
        odd = grey.convert("P").convert("PA")
    else:
        odd = grey.convert("RGB").convert(mode) if mode == "CMYK" else grey.convert(mode)
    (place / "d").mkdir()
    odd.save(place / "d" / ("1.tif" if mode in ("CMYK", "F", "PA") else "1.png"))
    source = open_pictures("d")
    found = pictures().open(source.seeds["image"][0])
    assert found.mode == "RGB"
    wanted = grey.convert("1").convert("RGB") if mode == "1" else grey.convert("RGB")
    if mode == "F":  # a range that nobody knows is spread out
        assert np.asarray(found).min() == 0
    else:
        assert np.abs(np.asarray(found).astype(int) - np.asarray(wanted)).max() <= 2


def test_what_is_clear_becomes_white(place):
    clear = picture(1).convert("RGBA")
    clear.putalpha(0)
    (place / "d").mkdir()
    clear.save(place / "d/1.png")
    assert pictures().open(open_pictures("d").seeds["image"][0]).getextrema() == ((255, 255),) * 3


def test_a_turned_photograph_stands_upright(place):
    turned = Image.Exif()
    turned[274] = 6
    save(place / "d/1.jpg", 1, (40, 24), exif=turned)
    row = open_pictures("d").seeds.row(0, named=True)
    assert (row["width"], row["height"]) == (24, 40)


def test_a_cameras_picture_with_its_preview_is_one_picture(place):
    (place / "d").mkdir()
    picture(1).save(place / "d/1.jpg", "MPO", save_all=True, append_images=[picture(2)])
    assert open_pictures("d").rows_in == len(open_pictures("d").seeds) == 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_wrong_ending_is_no_fault(place, kind):
    (place / "d").mkdir()
    (place / "d/1.jpg").write_bytes(png(1, kind=kind))
    assert len(open_pictures("d").seeds) == 1


def test_each_bad_picture_costs_itself_and_says_why(place):
    folder = place / "d"
    save(folder / "good.png", 1, (64, 64))
    whole = (folder / "good.png").read_bytes()
    frames = [picture(k) for k in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    save(folder / "cut.jpg", 2, (200, 200))
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-900])
    (folder / "head.png").write_bytes(whole[:20])
    (folder / "words.png").write_text("not a picture at all")
    (folder / "nothing.png").write_bytes(b"")
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "wide.png").write_bytes(bomb(9000))
    save(folder / "tiny.png", 3, (7, 100))
    (folder / "drawing.jpg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (folder / "film.png").mkdir()
    with (folder / "vast.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    source = open_pictures("d")
    assert len(source.seeds) == 1
    assert faults(source) == {
        **dict.fromkeys(("moving.gif", "moving.png", "moving.webp"), "animated"),
        **dict.fromkeys(("cut.png", "cut.jpg"), "broken or cut off"),
        **dict.fromkeys(("words.png", "drawing.jpg"), "not a picture"),
        "head.png": faults(source)["head.png"],
        "nothing.png": "an empty file",
        "bomb.png": "more than 64 million pixels",
        "wide.png": "more than 64 million pixels",
        "tiny.png": "smaller than 8 pixels",
        "vast.png": "over 256 MB",
    }
    assert faults(source)["head.png"] in ("not a picture", "broken or cut off")
    assert source.rows_in == 14


def test_a_file_that_may_not_be_read_costs_itself(place):
    save(place / "d/1.png", 1)
    file = save(place / "d/2.png", 2)
    file.chmod(0)
    if os.access(file, os.R_OK):  # root reads everything; a folder in its place cannot be read by anyone
        file.unlink()
        os.mkfifo(file)
        assert faults(open_pictures("d")) == {"2.png": "not a file"}
    else:
        assert faults(open_pictures("d")) == {"2.png": "cannot be read: Permission denied"}


def test_no_path_leads_out_of_the_folder(place):
    outside = save(place / "secret/1.png", 1)
    save(place / "d/in.png", 2)
    (place / "d/link.png").symlink_to(outside)
    (place / "d/loop.png").symlink_to(place / "d/loop.png")
    (place / "d/within.png").symlink_to(place / "d/in.png")
    rows = [
        {"file_name": "../secret/1.png", "caption": "up"},
        {"file_name": str(outside), "caption": "absolute"},
        {"file_name": "x/../../secret/1.png", "caption": "round"},
        {"file_name": "gone.png", "caption": "gone"},
        {"file_name": "a\0b.png", "caption": "null"},
        {"file_name": "x" * 5000, "caption": "long"},
        {"file_name": "https://example.org/1.png", "caption": "far"},
        {"file_name": 7, "caption": "number"},
        {"file_name": "", "caption": "none"},
        {"file_name": "in.png", "caption": "good", "mask": "../secret/1.png"},
        {"file_name": str(place / "d/in.png"), "caption": "inside"},
    ]
    (place / "d/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = open_pictures("d")
    found = faults(source)
    out = "path leads out of the folder"
    assert [found[f"metadata.jsonl:{line}"] for line in (1, 2, 3, 10)] == [out] * 4
    assert found["link.png"] == out
    assert found["loop.png"] == "no such file"
    assert [found[f"metadata.jsonl:{line}"] for line in (4, 9)] == ["no such file", "no picture"]
    assert {found[f"metadata.jsonl:{line}"] for line in (5, 6, 8)} <= {
        "no path of a file",
        "cannot be read: File name too long",
    }
    assert found["metadata.jsonl:7"] == "an address, not a file; download it first"
    assert source.seeds["caption"].to_list() == ["inside"]
    assert source.rows_in == len(rows) + 2


def test_nothing_of_the_store_is_written_for_what_is_rejected(place):
    save(place / "d/good.png", 1)
    (place / "d/bad.png").write_bytes(png(2)[:-30])
    open_pictures("d")
    assert [each.stem for each in (place / "home/images").glob("*.png")] == [pixels_of(picture(1))]


def test_no_broken_bytes_raise_anything_but_their_reason():
    rng = random.Random(0)
    whole = [png(3, kind=kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")]
    said = set()
    for raw in whole:
        for _ in range(250):
            broken = bytearray(raw)
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(min(len(broken), 300))] = rng.randrange(256)
            try:
                decode(bytes(broken))
            except Unreadable as fault:
                said.add(str(fault))
    assert {"not a picture", "broken or cut off"} <= said


def test_decoding_on_many_threads_is_quiet_and_leaves_warnings_as_they_were():
    before = list(warnings.filters)
    with _QUIET:
        with _QUIET:  # as a second thread would
            pass
        assert warnings.filters[0][0] == "ignore"
    assert warnings.filters == before


def test_text_and_pictures_of_one_name_do_not_meet(place):
    save(place / "d/图 片/猫 (1).png", 1)
    source = open_pictures("d")
    assert source.seeds["label"].to_list() == ["图 片"]
    assert reasons(source) == {}


def test_the_colour_that_a_png_calls_transparent_is_white():
    file = io.BytesIO()
    shown = Image.new("RGB", (20, 16), "red")
    shown.paste("blue", (0, 0, 10, 16))
    shown.save(file, "PNG", transparency=(0, 0, 255))
    found = decode(file.getvalue())
    assert (found.mode, found.getpixel((2, 2)), found.getpixel((15, 2))) == ("RGB", (255, 255, 255), (255, 0, 0))
