"""Every fine-tuning method on one task, each at its own learning rate: `python -m tests.benchmarks.methods`.

A small Qwen3 is pretrained on arithmetic in words (tests/benchmarks/arithmetic.py), then fine-tuned on word problems of
another kind by each method, through `finetune.prepare` and `finetune.train`. A method's rate has the lowest mean
validation loss, over two seeds on a grid that grows while the best is at its edge, over four between the best two. Other
seeds at that rate are then judged on a test set: cross-entropy, and the share of answers that greedy decoding gets right
to the last token. Intervals are 95 % (t, over seeds) and differences to LoRA are paired by seed: the same rows, split
and order.

The probe of LoRA-GGPO's double descent trains growing ranks at LoRA's best rate and above it.

Runs are independent. What has finished is kept in --cache by its settings, so that an interrupted benchmark goes on;
after a change of finetune/ give a fresh one.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from augment.errors import FinetuneError
from augment.records import fingerprint
from finetune.prepare import prepare
from finetune.recipe import read_finetune_recipe
from finetune.split import split
from finetune.train import train
from tests.benchmarks.arithmetic import Size, judged, pretrain, problems
from tests.benchmarks.measure import Result, arguments, workplace

LADDER = tuple(step * 10.0**power for power in range(-5, 1) for step in (1, 2, 5))
"""The rates that are tried: 1e-5, 2e-5, 5e-5, 1e-4, …"""
LORA = "lora"
BETA1 = {"training": {"adam_beta1": 0.8}}
METHODS: dict[str, tuple[float, dict[str, Any]]] = {
    LORA: (1e-2, {"adapter": "lora"}),
    "pissa": (5e-3, {"adapter": "pissa"}),
    "slora": (1e-2, {"adapter": "slora"}),
    "nlora": (5e-3, {"adapter": "nlora"}),
    "nlora, released code": (5e-3, {"adapter": "nlora", "set": {"adapter": {"core": "copy", "anchored": False}}}),
    "inttune": (1e-1, {"adapter": "inttune"}),
    "inttune, svd": (5e-2, {"adapter": "inttune", "set": {"adapter": {"bases": "svd"}}}),
    "pissa + ba_lora B": (5e-3, {"adapter": "pissa", "objective": "ba_lora", "set": {"objective": {"version": "B"}}}),
    "pissa + ba_lora A": (5e-3, {"adapter": "pissa", "objective": "ba_lora", "set": {"objective": {"version": "A"}}}),
    "lora + ggpo": (1e-2, {"adapter": "lora", "perturb": "ggpo"}),
    "lora + mgpo": (1e-2, {"adapter": "lora", "perturb": "mgpo", "set": BETA1}),
}
"""Each with the middle of its first grid."""
PROBED = (LORA, "lora + ggpo", "lora + mgpo")
T95 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, 97.5 %, by degrees of freedom."""


@dataclass(frozen=True)
class Plan:
    """How much is done. `grid` are the places of the first rates on the ladder, from a method's own."""

    size: Size = field(default_factory=Size)
    methods: tuple[str, ...] = tuple(METHODS)
    rank: int = 16
    steps: int = 200
    batch: int = 8
    rows: int = 1200
    judged: int = 200
    grid: tuple[int, ...] = (-1, 0, 1)
    growths: int = 6
    tuned_on: tuple[int, ...] = (0, 100)
    confirmed_on: tuple[int, ...] = (101, 102)
    seeds: int = 5
    ranks: tuple[int, ...] = (16, 32, 64, 128)
    above: tuple[float, ...] = (2, 4)
    probed: tuple[str, ...] = PROBED
    probe_seeds: int = 1


SMALLEST = Plan(
    size=Size(hidden=32, inner=48, layers=1, steps=20, rows=16, tokens=48),
    methods=(LORA, "inttune"),
    rank=4,
    steps=4,
    rows=120,
    judged=20,
    grid=(0, 1),
    growths=0,
    tuned_on=(0,),
    confirmed_on=(),
    seeds=2,
    ranks=(4, 8),
    above=(4,),
    probed=(LORA,),
    probe_seeds=1,
)


def quiet() -> None:
    """One core for each process, and none of transformers' bars."""
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)


def run(settings: dict[str, Any], base: str, data: str, test: str) -> dict[str, Any]:
    """One fine-tuning by the product, judged: losses, accuracy, seconds. A loss that is not finite has diverged."""
    with tempfile.TemporaryDirectory(prefix="augment-benchmark-") as out:
        recipe = read_finetune_recipe({"base": base, "data": data, "out": Path(out) / "run", **settings})
        prepared = prepare(recipe)
        try:
            began = time.process_time()
            trained = train(prepared)
        except FinetuneError as error:
            if "the loss is" not in str(error):
                raise
            return dict.fromkeys(("validation", "train", "test"), math.inf) | {"accuracy": 0.0}
        record, seconds = trained.record, time.process_time() - began
        words = AutoTokenizer.from_pretrained(trained.path)
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), trained.path).eval()
        kept = split(prepared.rows.items, recipe.validation, recipe.seed).train
        learned = [(item.turns[0][1], item.turns[1][1]) for item in kept]
        rows = asked(Path(test))
        loss, accuracy = judged(model, words, rows)
        return {
            "before": record["validation"]["before"]["eval_loss"],
            "validation": record["validation"]["after"]["eval_loss"],
            "train": judged(model, words, learned[: len(rows)])[0],
            "test": loss,
            "accuracy": accuracy,
            "trainable": record["parameters"]["trainable"],
            "seconds": seconds,
        }


def asked(file: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    return [(row["question"], row["answer"]) for row in rows]


class Bench:
    """Runs by their settings, `jobs` at a time, each kept in the cache when it has finished."""

    def __init__(self, plan: Plan, cache: Path, jobs: int, tell: Callable[[str], None]) -> None:
        self.plan, self.cache, self.jobs, self.tell = plan, cache, jobs, tell
        self.pool = ProcessPoolExecutor(jobs, get_context("spawn"), quiet)  # starts none before its first run
        known = fingerprint("base", asdict(plan.size))[:12]
        self.base = cache / f"base-{known}"
        self.base.mkdir(parents=True, exist_ok=True)
        self.pretraining = pretrain(self.base, plan.size, tell)
        rows = problems(plan.rows + plan.judged, seed=1)
        self.train_rows, self.test_rows = rows[: plan.rows], rows[plan.rows :]
        self.data, self.test = (self._written(part) for part in (self.train_rows, self.test_rows))
        self.key = fingerprint(known, rows, plan.rows)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _written(self, rows: list[dict[str, str]]) -> Path:
        file = self.cache / f"rows-{fingerprint(rows)[:12]}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return file

    def settings(self, method: str, rate: float, seed: int, rank: int | None = None) -> dict[str, Any]:
        plan = self.plan
        steps = {"max_steps": plan.steps, "eval_every": plan.steps, "epochs": 100}
        steps |= {"batch": plan.batch, "micro_batch": plan.batch}
        placed = {"rank": rank or plan.rank, "learning_rate": rate, "seed": seed, "validation": 0.1, "length": 128}
        return {**METHODS[method][1], **steps, **placed}

    def all_of(self, wanted: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The outcome of each, from the cache or run now."""
        wanted = list(wanted)
        files = [self.cache / f"run-{fingerprint(self.key, each)[:20]}.json" for each in wanted]
        due = {file: each for file, each in zip(files, wanted, strict=True) if not file.exists()}
        if self.jobs == 1:
            for file, each in due.items():
                self._keep(file, each, self.fresh(each), len(due))
        else:
            under_way = {self.pool.submit(run, each, *self._places()): file for file, each in due.items()}
            for done in as_completed(under_way):
                file = under_way[done]
                self._keep(file, due[file], done.result(), len(due))
        return [json.loads(file.read_text("utf-8")) for file in files]

    def fresh(self, settings: dict[str, Any]) -> dict[str, Any]:
        return run(settings, *self._places())

    def _places(self) -> tuple[str, str, str]:
        return str(self.base), str(self.data), str(self.test)

    def _keep(self, file: Path, settings: dict[str, Any], found: dict[str, Any], count: int) -> None:
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps({**found, "settings": settings}), "utf-8")
        beside.replace(file)
        named = " ".join(str(settings[key]) for key in ("adapter", "objective", "perturb", "set") if key in settings)
        at = f"rank {settings['rank']}, rate {settings['learning_rate']:g}, seed {settings['seed']}"
        self.tell(f"{named}, {at}: test {found['test']:.4f}, right {found['accuracy']:.1%} ({count} in this round)")


def tuned(bench: Bench) -> tuple[dict[str, float], dict[str, dict[float, float]]]:
    """Each method's best rate, and the mean validation loss of each rate of its grid.

    Runs that start alike end far apart, so the two best rates are judged on more seeds before one is chosen.
    """
    plan = bench.plan
    grids = {name: [LADDER.index(METHODS[name][0]) + offset for offset in plan.grid] for name in plan.methods}
    for growth in range(plan.growths + 1):
        loss = _losses(bench, grids, plan.tuned_on)
        new = {name: _beyond(places, _best(loss[name])[0]) for name, places in grids.items()}
        if not any(new.values()) or growth == plan.growths:
            break
        grids = {name: [*places, *new[name]] for name, places in grids.items()}
    final = _losses(bench, {name: _best(each)[:2] for name, each in loss.items()}, plan.tuned_on + plan.confirmed_on)
    rates = {name: LADDER[_best(each)[0]] for name, each in final.items()}
    shown = {name: dict(sorted((loss[name] | final[name]).items())) for name in loss}
    return rates, {name: {LADDER[place]: value for place, value in each.items()} for name, each in shown.items()}


def _losses(bench: Bench, grids: dict[str, list[int]], seeds: Sequence[int]) -> dict[str, dict[int, float]]:
    """The mean validation loss over the seeds, by method and place on the ladder."""
    wanted = [(name, place, seed) for name in grids for place in grids[name] for seed in seeds]
    found = bench.all_of(bench.settings(name, LADDER[place], seed) for name, place, seed in wanted)
    of = {key: each["validation"] for key, each in zip(wanted, found, strict=True)}
    return {
        name: {place: statistics.fmean(of[name, place, seed] for seed in seeds) for place in places}
        for name, places in grids.items()
    }


def _best(loss: dict[int, float]) -> list[int]:
    """Places on the ladder, the best first."""
    return sorted(loss, key=loss.__getitem__)


def _beyond(places: list[int], best: int) -> list[int]:
    """The next place on the ladder, where the best one is at an edge."""
    found = [place for edge, place in ((min(places), best - 1), (max(places), best + 1)) if best == edge]
    return [place for place in found if 0 <= place < len(LADDER)]


def interval(values: Sequence[float]) -> str:
    """Mean ± half of the 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) < 2 or not math.isfinite(mean):
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {T95[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values)):.4f}"


def compared(bench: Bench, result: Result, rates: dict[str, float]) -> None:
    """Seeds that were not tuned on, judged on the test set."""
    seeds = range(1, bench.plan.seeds + 1)
    wanted = [(method, seed) for seed in seeds for method in rates]
    found = bench.all_of(bench.settings(method, rates[method], seed) for method, seed in wanted)
    by = {method: [each for (name, _), each in zip(wanted, found, strict=True) if name == method] for method in rates}
    for method, runs in by.items():
        row: dict[str, Any] = {"method": method, "rate": rates[method], "× LoRA's": rates[method] / rates[LORA]}
        row["trainable"] = runs[0].get("trainable")
        for name, key in (("test loss", "test"), ("accuracy", "accuracy")):
            row[name] = interval([each[key] for each in runs])
            differences = [each[key] - beside[key] for each, beside in zip(runs, by[LORA], strict=True)]
            row[f"{name} − LoRA's"] = interval(differences) if method != LORA else None
        row["training loss"] = statistics.fmean(each["train"] for each in runs)
        row["CPU s"] = statistics.median(each.get("seconds", math.nan) for each in runs)
        result.rows.append(row)
        falls = [each.get("before", 0.0) - each["validation"] for each in runs]
        result.check(f"{method}: the validation loss fell on every seed", min(falls) > 0, falls)
    settings = bench.settings(LORA, rates[LORA], 1)
    again, once = bench.fresh(settings), by[LORA][0]
    same = {key: (once[key], again[key]) for key in ("validation", "train", "test", "accuracy")}
    result.check("the same settings give the same numbers", all(a == b for a, b in same.values()), same)


def probe(bench: Bench, result: Result, rate: float) -> None:
    """Loss by rank at LoRA's best rate and above. A bump is what the worst inner rank loses more than both ends do."""
    plan = bench.plan
    wanted = [
        (seed, method, above, rank)
        for seed in range(1, plan.probe_seeds + 1)
        for method in plan.probed
        for above in plan.above
        for rank in plan.ranks
    ]
    found = bench.all_of(bench.settings(method, rate * above, seed, rank) for seed, method, above, rank in wanted)
    of = dict(zip(wanted, found, strict=True))
    for title, key in (
        ("test loss by rank", "test"),
        ("training loss by rank", "train"),
        ("accuracy by rank", "accuracy"),
    ):
        for above in plan.above:
            for method in plan.probed:
                runs = {
                    rank: [of[seed, method, above, rank][key] for seed in range(1, plan.probe_seeds + 1)]
                    for rank in plan.ranks
                }
                row: dict[str, Any] = {title: method, "rate": rate * above}
                row |= {str(rank): " ".join(f"{each:.3f}" for each in values) for rank, values in runs.items()}
                if key != "accuracy" and len(plan.ranks) > 2:
                    mean = [statistics.fmean(values) for values in runs.values()]
                    row["bump"] = max(mean[1:-1]) - max(mean[0], mean[-1])
                result.rows.append(row)
    result.check("every run of the probe has a loss", all("test" in each for each in found), len(found))


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__, repeats=5)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "augment-benchmarks" / "methods")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core")
    parser.add_argument("--probe-repeats", type=int, default=1, help="seeds of the probe; 0 leaves it out")
    args = parser.parse_args(argv)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    quiet()
    plan = SMALLEST if args.smallest else Plan(seeds=args.repeats, probe_seeds=args.probe_repeats)
    result = Result("methods")
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)

    with ExitStack() as stack:
        cache = stack.enter_context(workplace()) if args.smallest else args.cache
        cache.mkdir(parents=True, exist_ok=True)
        bench = stack.enter_context(Bench(plan, cache, args.jobs, tell))
        pretrained(bench, result)
        rates, grids = tuned(bench)
        tried = sorted({rate for grid in grids.values() for rate in grid})
        for method, grid in grids.items():
            row: dict[str, Any] = {"validation loss by rate": method}
            result.rows.append(row | {f"{rate:g}": grid.get(rate) for rate in tried})
            if rates[method] in (min(grid), max(grid)) and not args.smallest:
                result.notes.append(f"{method}: the best rate, {rates[method]:g}, is at the edge of its grid")
        compared(bench, result, rates)
        if plan.probe_seeds:
            probe(bench, result, rates[LORA])
    result.code = result.finish(args)
    return result


def pretrained(bench: Bench, result: Result) -> None:
    """What the base knows: questions as it was pretrained on, over numbers kept out; and the task before tuning."""
    known, vocabulary = bench.pretraining, bench.pretraining["vocabulary"]
    model = AutoModelForCausalLM.from_pretrained(bench.base).eval()
    loss, accuracy = judged(model, AutoTokenizer.from_pretrained(bench.base), asked(bench.test))
    row = {"parameters": known["parameters"], "vocabulary": vocabulary, "steps": known["steps"]}
    row |= {"seconds": known["seconds"], "held-out loss": known["loss"], "held-out accuracy": known["accuracy"]}
    result.rows.append({**row, "task's loss before": loss, "task's accuracy before": accuracy})
    result.check("the base does better than chance", known["loss"] < math.log(vocabulary), known["loss"])
    if known["steps"] == Size().steps:
        result.check("the base answers most questions of its pretraining", known["accuracy"] > 0.5, known["accuracy"])
    both = {row["question"] for row in bench.train_rows} & {row["question"] for row in bench.test_rows}
    result.check("no problem is trained on and tested", not both, sorted(both)[:3])


if __name__ == "__main__":
    sys.exit(main().code)
