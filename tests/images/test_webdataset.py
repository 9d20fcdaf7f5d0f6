"""Archives of samples: read without unpacking, whatever their order, hostile members and all."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from augment.errors import SourceError
from augment.images.pictures import pixels_of
from augment.images.sources import open_pictures
from augment.images.webdataset import list_archives
from tests.images.files import faults, picture, png, tar


def members(count: int = 3) -> dict[str, bytes]:
    found = {}
    for k in range(count):
        found[f"set/{k:04}.png"] = png(k)
        found[f"set/{k:04}.txt"] = f"caption {k}\n".encode()
        found[f"set/{k:04}.cls"] = str(k).encode()
    return found


@pytest.mark.parametrize(("kind", "name"), [("w", "a.tar"), ("w:gz", "a.tar.gz"), ("w:gz", "a.tgz")])
def test_members_of_one_name_are_one_pair(place, kind, name):
    tar(place / name, members(), kind)
    source = open_pictures(name, paired=True)
    assert source.seeds.select("caption", "label", "pixels").rows() == [
        (f"caption {k}", str(k), pixels_of(picture(k))) for k in range(3)
    ]
    assert source.rows_in == 3


def test_any_order_of_the_members_gives_the_same(place):
    tar(place / "a.tar", dict(sorted(members().items(), key=lambda each: each[0][::-1])))
    tar(place / "b.tar", members())
    assert open_pictures("a.tar").seeds["id"].sort().equals(open_pictures("b.tar").seeds["id"].sort())


def test_a_folder_of_archives_is_one_source(place):
    (place / "shards").mkdir()
    for k in range(3):
        tar(place / f"shards/{k}.tar", {f"{k}.png": png(k), f"{k}.txt": b"words"})
    source = open_pictures("shards")
    assert source.seeds["pixels"].to_list() == [pixels_of(picture(k)) for k in range(3)]


def test_json_and_masks_say_the_rest(place):
    white = io.BytesIO()
    picture(0).point(lambda _: 255).save(white, "PNG")
    told = {"caption": "from json", "label": "cat", "objects": [{"bbox": [1, 2, 3, 4], "category": "cat"}], "url": "x"}
    tar(place / "a.tar", {"1.jpg": png(1), "1.json": json.dumps(told).encode(), "1.mask.png": white.getvalue()})
    row = open_pictures("a.tar").seeds.row(0, named=True)
    assert (row["caption"], row["label"]) == ("from json", "cat")
    assert row["boxes"] == '[{"label":"cat","box":[1.0,2.0,3.0,4.0]}]'
    assert row["mask"] == pixels_of(picture(0).point(lambda _: 255))


def test_bad_members_cost_their_sample(place):
    tar(
        place / "a.tar",
        {
            "good.png": png(1),
            "good.txt": b"fine",
            "alone.txt": b"no picture here",
            "silent.png": png(2),
            "cut.png": png(3)[:50],
            "cut.txt": b"words",
            "wrong.png": png(4),
            "wrong.json": b"{",
            "list.png": png(5),
            "list.json": b"[1]",
            "latin.png": png(6),
            "latin.txt": "caf\xe9".encode("latin-1"),
            "empty.png": b"",
            "empty.txt": b"words",
            "two.png": png(7),
            "two.jpg": png(8),
            "two.txt": b"words",
            "long.png": png(11),
            "long.json": b"{" + b" " * 100_000 + b"}",
            "README.md": b"about",
            "../out.png": png(9),
            "/absolute.png": png(10),
        },
    )
    source = open_pictures("a.tar", paired=True)
    assert source.seeds["caption"].to_list() == ["fine", "words"]
    assert faults(source) == {
        "a.tar:alone": "no picture",
        "a.tar:silent": "no caption",
        "a.tar:cut": "broken or cut off",
        "a.tar:wrong": "not valid JSON",
        "a.tar:list": "not a JSON object",
        "a.tar:long": "over 100,000 bytes",
        "a.tar:latin": "caption cannot be read as UTF-8",
        "a.tar:empty": "an empty file",
        "a.tar:two.jpg": "second picture of a name",
        "a.tar:../out": "path leads out of the folder",
        "a.tar:/absolute": "path leads out of the folder",
    }
    assert source.rows_in == 13


def test_links_and_devices_in_an_archive_are_not_followed(place):
    (place / "secret.png").write_bytes(png(1))
    with tarfile.open(place / "a.tar", "w") as archive:
        for name, kind, target in (
            ("link.png", tarfile.SYMTYPE, "../secret.png"),
            ("hard.png", tarfile.LNKTYPE, "/etc/hostname"),
            ("device.png", tarfile.CHRTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        info = tarfile.TarInfo("good.png")
        info.size = len(png(2))
        archive.addfile(info, io.BytesIO(png(2)))
    source = open_pictures("a.tar")
    assert source.seeds["pixels"].to_list() == [pixels_of(picture(2))]
    assert set(faults(source).values()) == {"not a file"}
    assert source.rows_in == 4


@pytest.mark.parametrize("broken", [b"", b"not an archive" * 100])
def test_what_is_no_archive_is_one_line(place, broken):
    (place / "a.tar").write_bytes(broken)
    with pytest.raises(SourceError, match=r"a.tar is no whole tar archive; copy or download it again") as caught:
        open_pictures("a.tar")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["w", "w:gz"])
def test_an_archive_that_is_cut_off_is_one_line(place, kind):
    whole = tar(place / "a.tar", members(40), kind).read_bytes()
    (place / "a.tar").write_bytes(whole[: len(whole) // 2 + 700])
    with pytest.raises(SourceError, match="a.tar is no whole tar archive"):
        open_pictures("a.tar")


def test_nothing_is_unpacked_and_pictures_are_read_one_at_a_time(place):
    tar(place / "a.tar", members(50))
    entries = iter(list_archives([place / "a.tar"], place).entries)
    assert next(entries).captions == ("caption 0",)
    assert sorted(each.name for each in place.iterdir()) == ["a.tar"]


def test_shards_of_other_parts_are_left_alone_and_said(place):
    (place / "d").mkdir()
    for k, part in enumerate(("train", "val")):
        tar(place / f"d/{part}-00000.tar", {"1.png": png(k), "1.txt": f"a {part}".encode()})
    source = open_pictures("d")
    assert source.seeds["caption"].to_list() == ["a train"]
    assert source.notes == ("val-00000.tar left alone (give one with --exam)",)
