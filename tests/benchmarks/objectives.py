"""What an objective or a perturbation adds to a step: `python -m tests.benchmarks.objectives [--smallest]`.

Training steps of a small Qwen3-shaped model with a vocabulary of 152k, on fp32 and one core. Each way runs in a process
of its own, the ways in turn; PiSSA (or LoRA) with the model's own loss is what the others are measured by.
On a busy machine compare CPU seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.benchmarks.measure import ROOT, Result, arguments, interleaved, median

WAYS: dict[str, dict[str, Any]] = {
    "PiSSA, stock loss": {},
    "PiSSA, ce fused": {"objective": "ce"},
    "PiSSA, ba_lora naive": {"objective": "ba_lora", "fused": False},
    "PiSSA, ba_lora fused": {"objective": "ba_lora"},
    "LoRA, stock loss": {"adapter": "lora"},
    "LoRA, ggpo": {"adapter": "lora", "perturbation": "ggpo"},
    "LoRA, mgpo": {"adapter": "lora", "perturbation": "mgpo"},
}
BASELINES = {"PiSSA": "PiSSA, stock loss", "LoRA": "LoRA, stock loss"}
SMALLEST = {"vocabulary": 5000, "hidden": 128, "layers": 1, "tokens": 48, "rank": 4, "steps": 2}


def run_way(shape: dict[str, Any], way: dict[str, Any]) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "tests.benchmarks.training_step"]
    work = json.dumps({"shape": shape, "way": way})
    done = subprocess.run(command, cwd=ROOT, env=environment, input=work, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def far(one: list[float], other: list[float]) -> float:
    """The largest relative difference of two series of losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(one, other, strict=True))


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    for name, default in (("hidden", 512), ("layers", 4), ("tokens", 512), ("prompt", 0), ("rank", 16), ("steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    args = parser.parse_args(argv)
    shape = {
        name: getattr(args, name) for name in ("vocabulary", "hidden", "layers", "tokens", "prompt", "rank", "steps")
    }
    if args.smallest:
        shape, args.repeats = {**shape, **SMALLEST}, 1
    result = Result("objectives")
    found = interleaved({name: lambda way=way: run_way(shape, way) for name, way in WAYS.items()}, args.repeats)
    losses = {name: each[0]["losses"] for name, each in found.items()}
    for name, each in found.items():
        result.check(f"{name}: the same losses every time", all(one["losses"] == losses[name] for one in each))
    pairs = (
        ("ce: fused is naive to 1e-5", "PiSSA, ce fused", "PiSSA, stock loss"),
        ("ba_lora: fused is naive to 1e-5", "PiSSA, ba_lora fused", "PiSSA, ba_lora naive"),
    )
    for what, one, other in pairs:
        result.check(what, far(losses[one], losses[other]) < 1e-5, far(losses[one], losses[other]))
    for name in ("LoRA, ggpo", "LoRA, mgpo"):
        plain, changed = losses["LoRA, stock loss"], losses[name]
        result.check(
            f"{name}: the first step is plain, later ones are not", changed[0] == plain[0] != changed[-1] != plain[-1]
        )
    middle = {
        name: {key: median(one[key] for one in each) for key in ("seconds", "cpu", "rss")}
        for name, each in found.items()
    }
    for name in WAYS:
        base = BASELINES[name.partition(",")[0]]
        row: dict[str, Any] = {"way": name}
        for what, key in (("s/step", "seconds"), ("CPU s/step", "cpu"), ("peak RSS MiB", "rss")):
            row |= {what: middle[name][key], f"{key} / baseline": middle[name][key] / middle[base][key]}
        result.rows.append(row)
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
