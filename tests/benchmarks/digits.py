"""Whether drawing pictures helps, measured: `python -m tests.benchmarks.digits [--smallest]`.

Handwritten digits (scikit-learn, 8 × 8), a few real ones a class, and what they become by `classical`, by `img2img` as
a diffusion model draws it, by `img2img` after our label check, and by `classical` over what the check leaves; beside
them pseudo-labels on the unlabelled digits, for what it is worth to have a generator at all. Every arm trains the same
classifier for the same number of steps. The diffusion model learns from the unlabelled digits alone; what a digit is
"really" is told by a classifier of all of them, which no arm sees. The verdict is whatever comes out; what is checked is
that the label check raises the share of right labels, and that its arm beats the unchecked one.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from augment.images.pictures import read_picture
from augment.intervals import students
from augment.pipeline import curate
from augment.plan import make_plan
from augment.recipe import read_recipe
from tests.benchmarks.digit_models import (
    Digits,
    digit_of,
    picture_of,
    probabilities,
    train_classifier,
    train_noise,
)
from tests.benchmarks.measure import Result, arguments, workplace

TESTED = 597
CONFIDENT = 0.9
"""From this probability on a pseudo-label is believed."""
MINUTES = 5.0


@dataclass(frozen=True)
class Size:
    """How much is done: draws of `shots` real digits a class, variants a digit, and steps of each training."""

    draws: int
    shots: int
    times: int
    steps: int
    noise_steps: int


Set = tuple[NDArray[np.float32], NDArray[np.int64]]


def write(folder: Path, digits: NDArray[np.float32], labels: NDArray[np.int64]) -> Path:
    """The digits as a folder of pictures, a folder a class."""
    for number, (digit, label) in enumerate(zip(digits, labels, strict=True)):
        path = folder / f"digit {label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture_of(digit).save(path)
    return folder


def variants(source: Path, out: Path, engine: Digits | None, filters: str, times: int) -> tuple[Set, Any]:
    """What our pipeline keeps of `times` variants a picture, and its summary."""
    told = {
        "source": str(source), "out": out, "n": f"{times}x", "holdout": 0.0, "filters": filters, "size": 32,
        "generators": "img2img" if engine else "classical", "engine": "digits" if engine else None,
        "set": {"img2img": {"strengths": [0.5, 0.7, 0.8]}} if engine else {
            "classical": {"ops": ["affine"], "magnitude": 1.0, "flip": False}
        },
    }  # fmt: skip
    plan = make_plan(read_recipe(told, modality="image"), engine)
    done = curate(plan)
    rows = pl.read_parquet(out / "curated/train.parquet").filter(pl.col("generator") != "seed")
    digits = [digit_of(read_picture(out / "curated" / path)) for path in rows["image"]]
    labels = [int(each.removeprefix("digit ")) for each in rows["label"]]
    return (np.stack(digits), np.array(labels)), done.summary.to_dict()


def joined(*sets: Set) -> Set:
    return np.concatenate([x for x, _ in sets]), np.concatenate([y for _, y in sets])


def arms(folder: Path, real: Set, pool: NDArray[np.float32], engine: Digits, oracle: Any, size: Size, seed: int) -> Any:
    """The training set of each arm of one draw, and how right the labels of what was drawn are."""
    source = write(folder / "real", *real)
    classical, _ = variants(source, folder / "classical", None, "none", size.times)
    raw, _ = variants(source, folder / "raw", engine, "none", size.times)
    checked, summary = variants(source, folder / "checked", engine, "label_check", size.times)
    again, _ = variants(write(folder / "kept", *checked), folder / "again", None, "none", 1)
    teacher = train_classifier(*joined(real, classical), size.steps, seed)
    guessed = probabilities(teacher, pool)
    sure = guessed.max(1) >= CONFIDENT
    pseudo = pool[sure], guessed[sure].argmax(1)
    sets = {
        "real, equal compute": real,
        "classical": joined(real, classical),
        "img2img, unchecked": joined(real, raw),
        "img2img, label check": joined(real, checked),
        "classical and classical(checked img2img)": joined(real, classical, again),
        "pseudo-labels, no generator": joined(real, pseudo),
    }
    right = {
        name: float((probabilities(oracle, x).argmax(1) == y).mean())
        for name, (x, y) in {"img2img, unchecked": raw, "img2img, label check": checked}.items()
    }
    return sets, right, summary


def measure(result: Result, folder: Path, size: Size) -> None:
    """The table, its verdict, and the checks."""
    loaded = load_digits()
    digits, labels = (loaded.images / 16).astype(np.float32), loaded.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(digits))
    test, pool = order[:TESTED], order[TESTED:]
    oracle = train_classifier(digits, labels, max(size.steps, 500), 0)
    engine = Digits(train_noise(digits[pool], size.noise_steps))
    accuracy: dict[str, list[float]] = {}
    right: dict[str, list[float]] = {}
    turned_away = []
    for seed in range(size.draws):
        rng = np.random.default_rng(seed + 1)
        drawn = np.concatenate([rng.permutation(pool[labels[pool] == each])[: size.shots] for each in range(10)])
        unlabelled = np.setdiff1d(pool, drawn)
        real = digits[drawn], labels[drawn]
        sets, shares, summary = arms(folder / str(seed), real, digits[unlabelled], engine, oracle, size, seed)
        for name, each in sets.items():
            found = probabilities(train_classifier(*each, size.steps, seed), digits[test]).argmax(1)
            accuracy.setdefault(name, []).append(100 * float((found == labels[test]).mean()))
        for name, share in shares.items():
            right.setdefault(name, []).append(share)
        turned_away.append(summary["label_check"]["false_rejects"])
    base = np.array(accuracy["real, equal compute"])
    for name, found in accuracy.items():
        gain = students(np.array(found) - base)
        told = "" if name == "real, equal compute" else f"{gain.mean:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"
        kept = f"{100 * np.mean(right[name]):.0f} %" if name in right else None
        result.rows.append({"arm": name, "accuracy": float(np.mean(found)), "against real": told, "labels right": kept})
    unchecked, checked = "img2img, unchecked", "img2img, label check"
    gains = {name: students(np.array(accuracy[name]) - base) for name in (unchecked, checked)}
    result.notes.append(verdict(gains[unchecked], gains[checked], size.shots))
    result.notes.append(f"the check turns away {100 * np.mean(turned_away):.0f} % of real digits (out of fold)")
    result.check(
        "the check raises the share of right labels", np.mean(right[checked]) > np.mean(right[unchecked]), right
    )
    beats = np.mean(accuracy[checked]) > np.mean(accuracy[unchecked])
    result.check("checked beats unchecked", beats, {name: accuracy[name] for name in (unchecked, checked)})


def verdict(unchecked: Any, checked: Any, shots: int) -> str:
    """What came out, in a sentence."""

    def said(each: Any) -> str:
        if each.low > 0:
            return f"help by {each.mean:.1f} points"
        return (
            f"harm by {-each.mean:.1f} points"
            if each.high < 0
            else f"make no difference beyond chance ({each.mean:+.1f})"
        )

    return (
        f"With {shots} real digits a class, drawn variants {said(checked)} once their labels are checked; "
        f"unchecked they {said(unchecked)}."
    )


def main(argv: list[str] | None = None) -> Result:
    args = arguments(__doc__).parse_args(argv)
    result = Result("digits")
    torch.set_num_threads(1)
    begun = time.process_time()
    with workplace() as folder:
        os.environ["AUGMENT_HOME"] = str(folder / "home")
        if args.smallest:
            measure(result, folder, Size(draws=1, shots=5, times=4, steps=120, noise_steps=1500))
        else:
            measure(result, folder, Size(draws=5, shots=5, times=10, steps=400, noise_steps=4000))
    minutes = (time.process_time() - begun) / 60
    result.notes.append(f"{minutes:.1f} processor minutes (at most {MINUTES:g})")
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
