"""The page about a run of pictures: what is seen, what may not be, and how much of it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from augment.report.gather import gather
from augment.report.rows import pack
from augment.report.shots import SIDE, Shots, shot, within
from tests.browser import browser, needs_browser
from tests.report_pages import HOSTILE, everything

WORDS = ("--source", "sample-images", "--filters", "none", "--holdout", "0")
SECRET = "a caption of the exam"


@pytest.fixture
def image(augment, place) -> Path:
    """Twelve sample pictures, two variants each by rules and a model; every fifth variant dropped, some for the exam."""
    words = ("--limit", 12, "--n", "2x", "--generators", "classical,img2img", "--engine", "noise", "--size", 64)
    assert augment("image", *WORDS, *words, "--out", "runs/r").code == 0
    drop(place / "runs/r")
    return place / "runs/r"


@pytest.fixture
def paired(augment, place) -> Path:
    """Sample pairs with other captions for the same pictures."""
    words = ("--limit", 30, "--n", "1x", "--generators", "recaption", "--llm", "echo", "--out", "runs/p")
    assert augment("paired", *WORDS, *words).code == 0
    return place / "runs/p"


def drop(run: Path) -> None:
    """Move every fifth variant to the rejected: in turn as a duplicate and as a copy of an exam picture."""
    kept = pl.read_parquet(run / "curated/train.parquet", glob=False).with_row_index("i")
    rejected = pl.read_parquet(run / "rejected.parquet", glob=False)
    gone = (pl.col("generator") != "seed") & (pl.col("i") % 5 == 1)
    held = pl.col("i") % 2 == 0
    out = kept.filter(gone).with_columns(
        image=pl.col("reply_key"),
        mask=pl.lit(None, pl.String),
        caption=pl.when(held).then(pl.lit(SECRET)).otherwise("caption"),
        dropped_by=pl.when(held).then(pl.lit("exam_image")).otherwise(pl.lit("image_dup")),
        reason=pl.when(held).then(pl.lit("copy of an exam picture")).otherwise(pl.lit("near copy")),
        detail=pl.lit(None, pl.String),
    )
    assert out["dropped_by"].n_unique() == 2
    pl.concat([rejected, out.select(rejected.columns)]).write_parquet(run / "rejected.parquet")
    kept.filter(~gone).drop("i").write_parquet(run / "curated/train.parquet")


def page(augment: Any, *words: object) -> str:
    ran = augment("report", *words)
    assert ran.code == 0
    return Path(ran.out.rsplit(" (", 1)[0]).read_text("utf-8")


def shots_in(html: str) -> dict[str, bytes]:
    """The small pictures of the page's rows by id."""
    found = {}
    for part in re.findall(r'<script type="text/plain" class="part" data-run="\d+">(.*?)</script>', html):
        columns = json.loads(gzip.decompress(base64.b64decode(part)))
        found |= {columns["id"][int(row)]: base64.b64decode(raw) for row, raw in columns.get("shots", {}).items()}
    return found


def charts_in(html: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', html)[1])


def test_every_row_that_may_be_seen_has_a_small_picture(augment, image):
    shots = shots_in(page(augment, image))
    kept = pl.read_parquet(image / "curated/train.parquet", glob=False)
    rejected = pl.read_parquet(image / "rejected.parquet", glob=False)
    dropped = rejected.filter(pl.col("dropped_by") == "image_dup")
    assert set(shots) == {*kept["id"], *dropped["id"]}
    for row in kept.iter_rows(named=True):
        small = Image.open(io.BytesIO(shots[row["id"]]))
        assert max(small.size) == min(SIDE, max(row["width"], row["height"]))
    plain = kept.filter(pl.col("boxes").is_null(), pl.col("mask").is_null())
    for row in plain.iter_rows(named=True):
        whole = Image.open(image / "curated" / row["image"]).convert("RGB")
        small = Image.open(io.BytesIO(shots[row["id"]])).convert("RGB")
        apart = np.abs(np.asarray(small, float) - np.asarray(whole.resize(small.size, Image.Resampling.LANCZOS), float))
        assert apart.mean() < 12
    assert len(plain) > 2


def test_nothing_of_the_exam_is_in_the_page(augment, image):
    html = page(augment, image)
    rejected = pl.read_parquet(image / "rejected.parquet", glob=False)
    held = rejected.filter(pl.col("dropped_by") == "exam_image")
    assert len(held) > 1
    assert not {*held["id"]} & {*shots_in(html)}
    assert SECRET not in everything(html)
    assert not any(f'data-find="{id}"' in html for id in held["id"])
    assert not any(name in html for name in held["image"])
    assert "not shown: too like the exam" in html


def test_the_page_loads_nothing_and_pictures_only_from_itself(augment, image):
    html = page(augment, image)
    policy = unescape(re.search(r'Content-Security-Policy" content="(.*?)"', html)[1])
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    sources = re.findall(r'<img src="(.*?)"', re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL))
    assert len(sources) > 10
    assert all(each.startswith("data:image/webp;base64,") for each in sources)
    assert Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2]))).format == "WEBP"


def test_a_sheet_for_each_generator_has_seeds_first_and_dropped_ones_with_the_reason(augment, image):
    html = page(augment, image)
    titles = re.findall(r'<figure class="sheet wide">\s*<figcaption>.*?<bdi>(.*?)</bdi>', html)
    assert sorted(titles) == ["classical", "img2img"]
    lines = re.findall(r'<div class="shots">\s*(<button.*?)</div>', html, re.DOTALL)
    kinds = [re.findall(r'class="shot (\w+)"', line) for line in lines]
    assert all(each[0] == "seed" and "seed" not in each[1:] for each in kinds)
    assert any("dropped" in each for each in kinds)
    assert re.search(r'class="shot dropped".*?<span dir="auto">✕ image_dup: near copy</span>', html, re.DOTALL)


def test_charts_are_about_what_pictures_have(augment, image, paired):
    rows = pl.read_parquet(image / "curated/train.parquet", glob=False)
    rows.with_columns(image_dup_distance=pl.int_range(pl.len())).write_parquet(image / "curated/train.parquet")
    charts = charts_in(page(augment, image))
    assert set(charts) == {"length-caption", "labels", "scores"}
    assert re.findall(r'"score": "(\w+)"', json.dumps(charts["scores"]))[0] == "image_dup_distance"
    assert '"score": "width"' not in json.dumps(charts["scores"])
    told = charts_in(page(augment, paired))
    assert {"length-caption", "labels", "map", "topics"} <= set(told)
    assert not {"length-prompt", "length-response"} & set(told)
    assert "Map of the captions" in page(augment, paired)


def test_what_a_picture_was_drawn_from_is_told_and_its_caption_is_its_text(augment, image):
    html = page(augment, image)
    parts = re.findall(r'<script type="text/plain" class="part" data-run="\d+">(.*?)</script>', html)
    columns = json.loads(gzip.decompress(base64.b64decode(parts[0])))
    rows = {row["id"]: row for row in pl.read_parquet(image / "curated/train.parquet", glob=False).to_dicts()}
    drawn = 0
    for place, id in enumerate(columns["id"]):
        if id in rows:
            assert columns["prompt"][place] == rows[id]["caption"]
            rare = columns["rare"].get(str(place), {})
            assert rare.get("drawn from") == rows[id]["prompt"]
            drawn += rows[id]["prompt"] is not None
    assert drawn > 3


def test_the_command_and_what_drew_are_told(augment, image):
    html = page(augment, image)
    assert "augment image --source sample-images" in html
    assert "<bdi>pillow=" in html


def test_what_drawn_and_real_pictures_showed_is_told(augment, image):
    summary = json.loads((image / "summary.json").read_text())
    summary["memorised"] = {"near_copies": 3, "of": 24}
    summary["label_check"] = {"false_rejects": 0.25, "of": 16, "judge": "teacher", "on": "exam"}
    (image / "summary.json").write_text(json.dumps(summary))
    html = page(augment, image)
    assert "<dt>drawn, nearly a seed</dt><dd><bdi>12.5% of 24</bdi></dd>" in html
    assert "<dt>real, yet turned away</dt><dd><bdi>25.0% of 16</bdi></dd>" in html


def test_small_pictures_keep_to_their_room(image):
    run = gather([str(image)]).runs[0]
    rows = pl.read_parquet(image / "curated/train.parquet", glob=False).with_row_index("_row")
    told = rows.with_columns(dropped_by=pl.lit(None, pl.String)).to_dicts()
    every = within(told, Shots(run), 1000, 10**9)
    assert len(every) == len(rows)
    assert len(within(told, Shots(run), 7, 10**9)) == 7
    room = sum(map(len, every.values())) // 3
    some = within(told, Shots(run), 1000, room)
    assert 0 < len(some) < len(every)
    assert sum(map(len, some.values())) < room + max(map(len, every.values()))
    assert pack([run], room=20_000)[0].bytes <= 20_000


def test_a_small_picture_shows_masks_and_boxes():
    picture, mask = Image.new("RGB", (192, 96), (120, 120, 120)), Image.new("RGB", (192, 96))
    mask.paste("white", (96, 20, 176, 76))
    boxes = '[{"label":"x","box":[10,10,60,60]}]'
    small = np.asarray(Image.open(io.BytesIO(shot(picture, mask, boxes))).convert("RGB"), int)
    assert small.shape == (48, 96, 3)
    assert abs(small[24, 68] - 120).max() < 20  # inside of the mask
    assert (small[44, 4] < 108).all()  # outside it is darker
    assert small[24, 48][1] < 100 < small[24, 48][0]  # its border
    assert small[5, 20][0] - small[5, 20][2] > 60  # the box
    plain = np.asarray(Image.open(io.BytesIO(shot(picture, None, None))).convert("RGB"), int)
    assert abs(plain - 120).max() < 4


@pytest.mark.parametrize("name", ["../../../secret", "../../secret", "secret", "secret.png", "train/other.png"])
def test_no_picture_but_the_rows_own_is_opened(augment, place, image, name):
    for folder in (place, image, image / "curated", image / "curated/train", place / "home/images"):
        Image.new("RGB", (50, 50), "red").save(folder / "secret.png")
        Image.new("RGB", (50, 50), "red").save(folder / "other.png")
    for file in ("curated/train.parquet", "rejected.parquet"):
        rows = pl.read_parquet(image / file, glob=False)
        rows.with_columns(image=pl.lit(name)).write_parquet(image / file)
    assert shots_in(page(augment, image)) == {}


def test_an_id_leads_nowhere(augment, place, image):
    Image.new("RGB", (50, 50), "red").save(place / "secret.png")
    rows = pl.read_parquet(image / "curated/train.parquet", glob=False)
    away = "../" * 4 + "secret"  # from curated/train, which is four folders below the test's
    assert (image / "curated/train" / f"{away}.png").is_file()
    rows = rows.with_columns(id=pl.lit(away), image=pl.lit(f"train/{away}.png"))
    rows.write_parquet(image / "curated/train.parquet")
    assert away not in shots_in(page(augment, image))


def test_pictures_that_are_gone_or_broken_leave_a_row_without_one(augment, place, image):
    kept = pl.read_parquet(image / "curated/train.parquet", glob=False)
    (image / "curated" / kept["image"][0]).unlink()
    (image / "curated" / kept["image"][1]).write_bytes(b"\x89PNG")
    for each in (place / "home/images").iterdir():
        each.unlink()
    assert set(shots_in(page(augment, image))) == set(kept["id"][2:])


def test_what_is_said_of_pictures_is_escaped(augment, image):
    rows = pl.read_parquet(image / "curated/train.parquet", glob=False)
    rows.with_columns(label=pl.lit(HOSTILE), caption=pl.lit(HOSTILE)).write_parquet(image / "curated/train.parquet")
    html = page(augment, image)
    assert HOSTILE not in html
    assert "&lt;script&gt;window.hacked" in html


def test_a_page_about_text_and_pictures_has_both(augment, place, image):
    from tests.test_pipeline import seeds

    augment("text", "--source", seeds(place, 30), "--llm", "echo", "--n", "1x", "--filters", "none", "--out", "runs/t")
    html = page(augment, image, "runs/t", "--out", "both.html")
    assert {"length-prompt", "length-response", "length-caption"} <= set(charts_in(html))
    assert shots_in(html)
    alone = page(augment, "runs/t")
    assert "data:image" not in alone.partition("</style>")[0] + alone.partition("<main>")[2].partition("<script")[0]
    assert not shots_in(alone)


@needs_browser
def test_rows_show_parent_and_child_and_a_click_on_a_sheet_finds_the_row(augment, image):
    page(augment, image)
    with browser() as opened:
        seen = opened.new_page(viewport={"width": 1280, "height": 900})
        faults: list[str] = []
        seen.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        seen.on("pageerror", lambda error: faults.append(str(error)))
        seen.goto(f"file://{(image / 'report.html').resolve()}")
        seen.wait_for_function("document.documentElement.dataset.rows")
        loaded = "each => [...each.querySelectorAll('img')].map(img => img.complete && img.naturalWidth)"
        seen.wait_for_function("[...document.images].every(img => img.complete)")
        counts = [sum(map(bool, seen.evaluate(loaded, row))) for row in seen.query_selector_all("#strip .row")[:3]]
        assert counts[0] == 1
        assert 2 in counts
        tile = seen.query_selector(".sheet button.kept")
        tile.click()
        chosen = seen.inner_text(".member.chosen code")
        assert chosen == tile.get_attribute("data-find")
        assert len(seen.query_selector_all(".member.chosen img")) == 2
        tile = seen.query_selector(".sheet button.dropped")
        tile.click()
        assert "image_dup" in seen.inner_text(".member.chosen")
        assert seen.evaluate("getComputedStyle(document.querySelector('.member.chosen img.dropped')).filter") != "none"
        assert faults == []
        narrow = opened.new_page(viewport={"width": 360, "height": 720})
        narrow.goto(f"file://{(image / 'report.html').resolve()}")
        narrow.wait_for_function("document.documentElement.dataset.rows")
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
