"""Whether augmenting helps, measured: `python -m tests.benchmarks.lift [--smallest]`.

Low-shot classification of the bundled sample (16 topics) and of CHBench (mental or physical; where
$AUGMENT_CHBENCH_DIR is set), by `augment lift`, for variants by `rules`, and by `rules` and the seeded fake `echo`,
which shuffles clauses and adds words, unfiltered and filtered. Whatever comes out is reported; what is checked is that the command
finds the truth where it is known (variants that know more, that are mislabelled, that are copies), and that its
intervals hold the true difference about as often as they say, on pools from a population that is known.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from augment.intervals import Interval, students
from finetune.lift.uncertainty import crossed
from tests.benchmarks.measure import ROOT, Result, arguments, workplace
from tests.finetune.lifts import copied, helpful, make_run, mislabelled, write_rows

MAKERS = {
    "rules": [],
    "rules and echo, unfiltered": ["--llm", "echo", "--generators", "rules,paraphrase", "--filters", "none"],
    "rules and echo": ["--llm", "echo", "--generators", "rules,paraphrase"],
}
KNOWN = (("know more", helpful, "The variants help"), ("mislabelled", mislabelled, "The variants harm"))
LIMIT = 120.0
"""Seconds that a lift may take."""
POOLS = ((57, 16, 2, 5), (57, 16, 2, 20), (8, 2, 16, 3), (8, 2, 16, 5))
"""Seeds a label, exam rows a label, labels, shots: CHBench's extract and the sample's."""


def augment(folder: Path, *words: object) -> str:
    """What the command prints."""
    env = {**os.environ, "AUGMENT_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "augment.cli", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"augment {words[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


def sources(result: Result, folder: Path, shots: list[int], draws: int, makers: list[str]) -> None:
    """A row for each source, maker and number of shots: every arm's accuracy, and the difference with its interval."""
    names = ["sample", *(["chbench"] if os.environ.get("AUGMENT_CHBENCH_DIR") else [])]
    if len(names) == 1:
        result.notes.append("CHBench was left out: AUGMENT_CHBENCH_DIR is not set")
    compared = len(names) * len(makers) * len(shots)
    result.notes.append(
        f"of {compared} verdicts with nothing to find, {compared / 20:.1f} would be beyond chance by chance"
    )
    for name in names:
        for maker in makers:
            run = folder / f"{name}-{maker.replace(' ', '-').replace(',', '')}"
            augment(folder, "text", "--source", name, "--n", "5x", "--no-prefect", "--out", run, *MAKERS[maker])
            for count in shots:
                begun = time.perf_counter()
                record = json.loads(augment(folder, "lift", run, "--shots", count, "--seeds", draws, "--json"))
                seconds = time.perf_counter() - begun
                result.rows.append({"source": name, "variants by": maker, "shots": count, **_cells(record, seconds)})
                result.check(f"{name}, {maker}, {count} shots: under {LIMIT:.0f} s", seconds < LIMIT, seconds)


def _cells(record: dict[str, Any], seconds: float) -> dict[str, Any]:
    arms = {arm["name"]: f"{arm['mean']:.3f}" for arm in record["arms"] if "without" not in arm["name"]}
    first = record["differences"][0]
    span = f"{first['mean']:+.3f} ({first['low']:+.3f} to {first['high']:+.3f})"
    return {**arms, "augmented − oversampled": span, "verdict": record["verdict"].partition(":")[0], "s": seconds}


def known(result: Result, folder: Path, draws: int) -> None:
    """The verdict where the truth is known."""
    file = write_rows(folder)
    for name, vary, verdict in (*KNOWN, ("copies", copied, "No difference beyond chance")):
        run = make_run(folder / name.replace(" ", "-"), file, vary)
        record = json.loads(augment(folder, "lift", run, "--shots", 2, "--seeds", draws, "--json"))
        found = record["verdict"].partition(":")[0]
        row = {"variants": name, "verdict": found, "difference": record["differences"][0]["mean"]}
        result.rows.append(row)
        result.check(f"{name}: {verdict}", found == verdict, record["verdict"])


def coverage(result: Result, pools: int, draws: int) -> None:
    """How often each interval holds the difference of two classifiers, one of which sees more features."""
    for seeds, exam, labels, shots in POOLS[:1] if pools < 100 else POOLS:
        rng = np.random.default_rng(0)
        means = 0.45 * rng.normal(size=(labels, 24))
        truth = float(np.mean([np.nanmean(_paired(rng, means, 400, 0, shots, 4)) for _ in range(pools)]))
        held: dict[str, list[bool]] = {"Student": [], "Nadeau and Bengio": [], "lift": []}
        half: dict[str, list[float]] = {name: [] for name in held}
        for _ in range(pools):
            scores = _paired(rng, means, seeds, exam, shots, draws)
            mean = np.nanmean(scores, axis=1)
            ratio = np.isfinite(scores).sum() / draws / (shots * labels)
            intervals = {
                "Student": students(mean),
                "Nadeau and Bengio": _corrected(mean, ratio),
                "lift": crossed(scores, np.arange(scores.shape[1]), shots / seeds),
            }
            for name, each in intervals.items():
                held[name].append(each.low <= truth <= each.high)
                half[name].append((each.high - each.low) / 2)
        row: dict[str, Any] = {"pool": f"{labels} × {seeds}", "shots": shots, "truth": f"{truth:+.3f}"}
        for name in held:
            row[name] = f"{np.mean(held[name]):.2f}, ± {np.mean(half[name]):.3f}"
        result.rows.append(row)
        least = 0.9 if pools >= 100 else 0.8
        result.check(f"{row['pool']}, {shots} shots: the interval holds the truth", np.mean(held["lift"]) >= least, row)


def _paired(
    rng: np.random.Generator, means: NDArray[np.float64], seeds: int, exam: int, shots: int, draws: int
) -> NDArray[np.float64]:
    """Differences in being right, (draws, rows), of nearest-centroid classifiers on 24 features and on 18."""
    labels, size = means.shape
    label = np.repeat(np.arange(labels), seeds + exam)
    rows = means[label] + rng.normal(size=(len(label), size))
    free = np.flatnonzero(np.tile(np.arange(seeds + exam) < seeds, labels))
    found = np.full((draws, len(label)), np.nan)
    for draw in found:
        drawn = np.concatenate([rng.permutation(free[label[free] == each])[:shots] for each in range(labels)])
        asked = np.setdiff1d(np.arange(len(label)), drawn)
        right = []
        for width in (size, size - 6):
            centres = np.stack([rows[drawn[label[drawn] == each], :width].mean(axis=0) for each in range(labels)])
            apart = ((rows[asked, None, :width] - centres) ** 2).sum(axis=2)
            right.append(apart.argmin(axis=1) == label[asked])
        draw[asked] = right[0].astype(float) - right[1]
    return found


def _corrected(means: NDArray[np.float64], ratio: float) -> Interval:
    """Nadeau and Bengio's interval as it stands, with `ratio` test rows to a training row."""
    count = len(means)
    half = float(stats.t.ppf(0.975, count - 1) * means.std(ddof=1) * np.sqrt(1 / count + ratio))
    return Interval(float(means.mean()), float(means.mean()) - half, float(means.mean()) + half, count)


def main(argv: list[str] | None = None) -> Result:
    args = arguments(__doc__).parse_args(argv)
    result = Result("lift")
    with workplace() as folder:
        if args.smallest:
            sources(result, folder, [1], 5, ["rules"])
        else:
            sources(result, folder, [1, 3, 5], 20, list(MAKERS))
        known(result, folder, 10)
    coverage(result, 40 if args.smallest else 300, 10 if args.smallest else 20)
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
