"""Runs whose lift is known: questions made of words that belong to a label, and variants that know more of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
import polars as pl

from augment.manifest import digest_of
from augment.plan import make_plan
from augment.recipe import read_recipe
from augment.records import SCHEMA, variant_id

LABELS = ("skin", "sleep", "heart", "lungs")
Vary = Callable[[dict[str, str], random.Random, int], Iterable[dict[str, object]]]


def words_of(label: str, count: int = 40) -> list[str]:
    """The words that only questions of `label` have."""
    rng = random.Random(label)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(count)]


def question(label: str, rng: random.Random) -> str:
    """Two words of the label among six that all labels have."""
    told = rng.sample(words_of(label), 2) + rng.sample(words_of("anything", 60), 6)
    rng.shuffle(told)
    return " ".join(told)


def write_rows(folder: Path, per_label: int = 20, labels: Iterable[str] = LABELS) -> Path:
    """A source file with `per_label` rows of each label, each with an answer."""
    rng = random.Random(7)
    rows = [
        {"question": question(label, rng), "answer": f"{' '.join(words_of(label)[:3])}.", "topic": label}
        for _ in range(per_label)
        for label in labels
    ]
    file = folder / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return file


def make_run(folder: Path, file: Path, vary: Vary, *, holdout: str = "20%", seeds: bool = True) -> Path:
    """A run on `file` with the variants that `vary` makes of each seed, as `augment text` would have written it."""
    recipe = read_recipe({"source": str(file), "holdout": holdout})
    plan = make_plan(recipe, None)
    rng = random.Random(11)
    rows: list[dict[str, object]] = []
    for place, seed in enumerate(plan.seeds.iter_rows(named=True)):
        rows += [{**seed, "parents": []}] if seeds else []
        for k, made in enumerate(vary(seed, rng, place)):
            whole = {**seed, "parents": [seed["id"]], "generator": "rules", "variant": k, **made}
            rows.append({**whole, "id": variant_id(seed["id"], str(whole["generator"]), k, str(whole["prompt"]), None)})
    (folder / "curated").mkdir(parents=True)
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(folder / "curated/train.parquet")
    manifest = {
        "fingerprint": plan.fingerprint,
        "source": {"name": plan.source.name, "fingerprint": plan.source.fingerprint},
        "recipe": recipe.decisive(),
        "files": {"curated/train.parquet": digest_of(folder / "curated/train.parquet")},
    }
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    return folder


def helpful(seed: dict[str, str], rng: random.Random, _place: int) -> Iterable[dict[str, object]]:
    """Variants that ask about the same label in its other words."""
    return [{"prompt": question(seed["label"], rng)} for _ in range(5)]


def mislabelled(seed: dict[str, str], rng: random.Random, _place: int) -> Iterable[dict[str, object]]:
    """Variants of the same kind that carry another label."""
    others = [label for label in LABELS if label != seed["label"]]
    return [{"prompt": question(seed["label"], rng), "label": rng.choice(others)} for _ in range(5)]


def copied(seed: dict[str, str], _rng: random.Random, _place: int) -> Iterable[dict[str, object]]:
    """Variants that say what the seed says."""
    return [{"prompt": seed["prompt"]} for _ in range(5)]


def two_makers(seed: dict[str, str], rng: random.Random, _place: int) -> Iterable[dict[str, object]]:
    """Three helpful variants by `persona`, two copies by `rules`."""
    good = [{"prompt": question(seed["label"], rng), "generator": "persona"} for _ in range(3)]
    return [*good, *({"prompt": seed["prompt"]} for _ in range(2))]
