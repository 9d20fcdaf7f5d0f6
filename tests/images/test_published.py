"""What is done with a published run of pictures besides training on it: compared, listed, explained, loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from augment.errors import FinetuneError
from augment.images.pictures import pixels_of
from finetune.rows import open_rows
from tests.images.files import save
from tests.test_pipeline import seeds

WORDS = ("--filters", "none", "--holdout", "0", "--generators", "classical")


@pytest.fixture
def sample(augment, place) -> Path:
    """Eight sample pictures and two variants of each."""
    ran = augment("image", "--source", "sample-images", "--limit", 8, "--n", "2x", *WORDS, "--out", "runs/s")
    assert ran.code == 0, ran.err
    return place / "runs/s"


def rows_of(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "curated/train.parquet", glob=False)


def pets(place: Path, count: int = 6, **captions: str) -> Path:
    """A folder of pictures, told apart by their colours, with a metadata file: cats and dogs."""
    folder = place / "pets"
    lines = []
    for number in range(count):
        name = f"{number}.png"
        save(folder / name, number)
        caption = captions.get(f"c{number}", f"a pet with the number {number}")
        lines.append({"file_name": name, "label": "cat" if number % 2 else "dog", "caption": caption})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def relabel(place: Path, number: int, **changes: str) -> None:
    """Other words about one picture."""
    path = place / "pets/metadata.jsonl"
    lines = [json.loads(each) for each in path.read_text().splitlines()]
    lines[number] |= changes
    path.write_text("\n".join(map(json.dumps, lines)))


def compared(augment: Any, *words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(augment("diff", *words, "--json").out)
    return found


def made(augment: Any, place: Path, name: str, *words: object, modality: str = "image") -> None:
    ran = augment(modality, "--source", "pets", "--n", "1x", *WORDS, *words, "--out", f"runs/{name}")
    assert ran.code == 0, ran.err


def test_the_same_pictures_are_the_same(augment, place):
    pets(place)
    made(augment, place, "a")
    made(augment, place, "b")
    assert augment("diff", "a", "b").out.startswith("nothing differs between a and b: the same 12 rows")


def test_a_picture_with_another_label_is_a_changed_seed_and_its_variants_are_matched(augment, place):
    pets(place)
    made(augment, place, "a")
    relabel(place, 2, label="hamster")
    made(augment, place, "b")
    found = compared(augment, "a", "b")
    assert {name: found["seeds"][name] for name in ("unchanged", "changed", "added", "removed")} == {
        "unchanged": 5,
        "changed": 1,
        "added": 0,
        "removed": 0,
    }
    assert (found["variants"]["changed"], found["variants"]["added"], found["variants"]["removed"]) == (1, 0, 0)
    seed = next(each for each in found["examples"]["changed"] if each["new"]["generator"] == "seed")
    assert seed["fields"] == ["label"]
    assert seed["old"]["pixels"] == seed["new"]["pixels"]
    assert "label     dog → hamster" in augment("diff", "a", "b").out


def test_a_picture_with_another_caption_is_a_changed_seed(augment, place):
    pets(place)
    made(augment, place, "a")
    relabel(place, 2, caption="a small pet with the number 2")
    made(augment, place, "b")
    found = compared(augment, "a", "b")
    assert (found["seeds"]["changed"], found["seeds"]["added"]) == (1, 0)
    assert "caption   a {+small +}pet with" in augment("diff", "a", "b").out
    assert found["lengths"]["caption"]["by"]["n"] == 0
    assert set(found["lengths"]) == {"caption"}


def test_a_picture_that_was_touched_up_under_its_caption_is_a_changed_seed(augment, place):
    pets(place)
    made(augment, place, "a")
    picture = Image.open(place / "pets/2.png").convert("RGB")
    picture.paste("red", (0, 0, 9, 9))
    picture.save(place / "pets/2.png")
    made(augment, place, "b")
    found = compared(augment, "a", "b")
    assert (found["seeds"]["changed"], found["seeds"]["added"]) == (1, 0)
    seed = next(each for each in found["examples"]["changed"] if each["new"]["generator"] == "seed")
    assert seed["fields"] == ["image"]


def test_a_picture_that_went_and_one_that_came_are_two(augment, place):
    pets(place)
    made(augment, place, "a")
    relabel(place, 2, caption="something else")
    save(place / "pets/2.png", 40)
    made(augment, place, "b")
    found = compared(augment, "a", "b")
    assert (found["seeds"]["changed"], found["seeds"]["added"], found["seeds"]["removed"]) == (0, 1, 1)


def test_a_box_that_moved_under_the_same_id_is_a_change(augment, place):
    pets(place)
    made(augment, place, "a")
    made(augment, place, "b")
    rows = rows_of(place / "runs/b")
    moved = pl.when(pl.col("generator") != "seed").then(pl.lit('[{"label":"cat","box":[1,2,9,9]}]'))
    rows.with_columns(boxes=moved).write_parquet(place / "runs/b/curated/train.parquet")
    found = compared(augment, "a", "b")
    assert found["variants"]["changed"] == 6
    assert found["examples"]["changed"][0]["fields"] == ["boxes"]
    assert 'boxes     (none) → [{"label":"cat","box":[1,2,9,9]}]' in augment("diff", "a", "b").out


def test_sizes_are_no_scores(augment, place, sample):
    pets(place)
    made(augment, place, "a")
    assert compared(augment, "s", "a")["scores"]["columns"] == {}


def test_runs_of_text_and_of_pictures_are_compared_by_what_they_share(augment, place, sample):
    augment("text", "--source", seeds(place, 5), "--llm", "echo", "--n", "1x", "--filters", "none", "--out", "runs/t")
    for pair in (("t", "s"), ("s", "t")):
        found = compared(augment, *pair)
        assert found["relation"]["kind"] == "different sources"
        assert found["rows"]["unchanged"] == 0
    assert augment("diff", "t", "s").code == 0


def test_runs_are_listed(augment, place, sample):
    line = augment("runs").out.splitlines()[1].split()
    assert line[:4] == ["s", "1", "-", "sample-images"]
    assert "16/16" in line


def test_a_row_is_explained_with_its_pictures(augment, place, sample):
    row = rows_of(sample).filter(pl.col("generator") != "seed").row(0, named=True)
    told = json.loads(augment("explain", row["id"], "--json").out)
    assert Path(told["content"]["image"]).is_file()
    assert Path(told["content"]["mask"]).is_file()
    assert told["parents"][0]["id"] == row["parents"][0]
    assert Path(told["parents"][0]["image"]).is_file()
    assert told["made by"]["params"]["ops"]
    assert "pixels" in augment("explain", row["id"]).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lift", "s"], "runs/s holds pictures, and a lift is measured on texts"),
        (["review", "s"], "runs/s holds pictures, and the review page shows texts; look at them with augment report"),
        (["review", "s", "--publish"], "runs/s holds pictures, and the review page shows texts"),
        (["evaluate", "--exam", "runs/s", "--base", "nobody/nothing"], "runs/s holds pictures, and an exam asks"),
    ],
)
def test_what_is_for_texts_alone_says_so_in_one_line(augment, sample, words, said):
    ran = augment(*words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_adapters_of_language_models_do_not_learn_pictures(sample):
    with pytest.raises(FinetuneError, match=r"holds pictures.*augment export \S+runs/s --format diffusers"):
        open_rows(str(sample))


@pytest.fixture
def load(place) -> Any:
    """`datasets.load_dataset`, with its cache in the test's folder."""
    import datasets

    return lambda *words, **more: datasets.load_dataset(*words, cache_dir=str(place / "cache"), **more)


def shown(dataset: Any) -> list[tuple[str, str, list[Any], list[str]]]:
    return [
        (
            row["id"],
            pixels_of(row["image"].convert("RGB")),
            [[*map(float, box)] for box in row["objects"]["bbox"]],
            row["objects"]["categories"],
        )
        for row in dataset
    ]


def test_datasets_loads_a_run_as_it_is(augment, place, sample, load):
    found = load(str(sample))
    assert list(found) == ["train"]
    train = found["train"]
    rows = rows_of(sample)
    boxes = {id: json.loads(cell) if cell else [] for id, cell in rows.select("id", "boxes").iter_rows()}
    assert sorted(shown(train)) == sorted(
        (
            id,
            pixels,
            [each["box"] for each in boxes[id]],
            [each["label"] for each in boxes[id]],
        )
        for id, pixels in rows.select("id", "pixels").iter_rows()
    )
    kinds = {name: str(kind) for name, kind in train.features.items()}
    assert "null" not in str(kinds)
    assert kinds["image"].startswith("Image")
    assert kinds["mask"].startswith("Image")
    assert all(each["mask"].size == each["image"].size for each in train)
    assert {"label", "caption", "generator", "parents", "params", "width", "height"} <= set(kinds)
    assert sorted(shown(load("imagefolder", data_dir=str(sample / "curated/train"))["train"])) == sorted(shown(train))


def test_a_run_without_masks_or_boxes_or_with_some_has_typed_columns(augment, place, load):
    pets(place)
    made(augment, place, "a")
    train = load(str(place / "runs/a"))["train"]
    assert "null" not in str(train.features).lower().replace("nullable", "")
    assert len(train) == 12
    words = ("--source", "sample-images", "--limit", 6, "--n", "2x", "--filters", "none", "--holdout", "0")
    augment("image", *words, "--generators", "img2img", "--engine", "noise", "--size", 64, "--out", "runs/b")
    train = load(str(place / "runs/b"))["train"]
    masks = [each["mask"] is None for each in train]
    assert 0 < sum(masks) < len(masks)
    assert sum(masks) == rows_of(place / "runs/b")["mask"].null_count()


def test_the_card_says_what_the_dataset_is(sample):
    import yaml

    _, front, card = (sample / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["license"] == "apache-2.0"
    assert told["size_categories"] == ["n<1K"]
    assert told["task_categories"] == ["image-classification", "object-detection"]
    assert told["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "curated/train/**"}]}
    ]
    assert "DigitalSourceType" in card


def test_the_card_of_pairs_says_what_they_are_for(augment, place):
    import yaml

    pets(place)
    made(augment, place, "p", modality="paired")
    _, front, _ = (place / "runs/p/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["task_categories"] == ["image-to-text", "text-to-image"]
