"""How long adapters take to start: `python -m tests.benchmarks.adapters [--smallest]`.

One layer through `get_peft_model`, as PEFT starts PiSSA in it (full SVD, and 16 rounds of `svd_lowrank`) and as ours
start. Then NLoRA over all 224 layers of LLaMA-2-7B, one at a time: the factors of a layer are dropped before the next,
and layers of one shape share a weight, so that it measures the starts and not the memory of the machine.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from finetune.adapters.attach import Starts, config_of
from finetune.adapters.nlora import NLoRA
from finetune.adapters.pissa import PiSSA
from tests.benchmarks.measure import Result, arguments, interleaved, median, peak_rss

SHAPES = {(4096, 4096): 4, (11008, 4096): 2, (4096, 11008): 1}  # a decoder layer's: q k v o, gate up, down
LAYERS = 32
RANK = 128
SIGMA = 0.02


def weight(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)) * SIGMA


def alone(kept: Tensor) -> nn.ModuleDict:
    """A model of one linear layer that holds `kept` itself."""
    layer = nn.Linear(kept.shape[1], kept.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(kept, requires_grad=False)
    return nn.ModuleDict({"linear": layer})


def start(config: LoraConfig, model: nn.ModuleDict) -> tuple[dict[str, float], PeftModel]:
    """CPU seconds stand beside the clock's because a machine that others use stretches only the latter."""
    began, cpu = time.perf_counter(), time.process_time()
    made = get_peft_model(model, config)
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}, made


def ours(adapter: Starts) -> LoraConfig:
    config = config_of(adapter)
    config.target_modules = {"linear"}
    return config


def peft(form: str, rank: int) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=rank, target_modules=["linear"], init_lora_weights=form)


@torch.no_grad()
def one(result: Result, name: str, config: LoraConfig, kept: Tensor) -> dict[str, Any]:
    mutates = name.startswith("PEFT")
    took, made = start(config, alone(kept.clone() if mutates else kept))
    layer = made.base_model.model["linear"]
    some = torch.randn(4, kept.shape[1], generator=torch.Generator().manual_seed(1))
    wanted, found = some @ kept.T, layer(some)
    off = float((found - wanted).norm() / wanted.norm())
    result.check(f"{name}, {tuple(kept.shape)}: the output is kept", off < 1e-4, off)
    if not mutates:
        result.check(f"{name}, {tuple(kept.shape)}: exactly", torch.equal(found, nn.functional.linear(some, kept)), off)
    up, down = layer.lora_B["default"], layer.lora_A["default"]
    left, right = (up.weight, down.weight) if mutates else (up.factor, down.factor)
    near = left @ right if getattr(up, "core", None) is None else left @ up.core @ right
    return {**took, "error": float((kept - near).norm() / kept.norm())}


@torch.no_grad()
def whole(result: Result, shapes: dict[tuple[int, int], int], layers: int, rank: int) -> dict[str, Any]:
    seconds, cpu, count = 0.0, 0.0, 0
    for shape, each in shapes.items():
        kept = weight(*shape)
        before = kept.clone()
        for _ in range(each * layers):
            took, made = start(ours(NLoRA(rank=rank)), alone(kept))
            seconds, cpu, count = seconds + took["seconds"], cpu + took["cpu"], count + 1
            del made
        result.check(f"{shape}: no start touched the weight", torch.equal(kept, before))
    result.check("every layer was started", count == layers * sum(shapes.values()), count)
    return {"layers": count, "seconds": seconds, "CPU s": cpu, "peak RSS MiB": peak_rss()}


def main(argv: list[str] | None = None) -> Result:
    parser = arguments(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rank", type=int, default=RANK)
    parser.add_argument("--no-svd", action="store_true", help="without the full SVD, which takes a minute")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    shapes, layers, rank = SHAPES, LAYERS, args.rank
    if args.smallest:
        shapes, layers, rank, args.repeats = {(64, 64): 4, (172, 64): 2, (64, 172): 1}, 1, 8, 1
    result = Result("adapters")
    for shape in list(shapes)[:2]:
        kept = weight(*shape)
        configs = {
            "PEFT pissa_niter_16": partial(peft, "pissa_niter_16", rank),
            "ours, pissa": lambda: ours(PiSSA(rank=rank)),
            "ours, nlora": lambda: ours(NLoRA(rank=rank)),
            "ours, nlora pinv": lambda: ours(NLoRA(rank=rank, core="pinv")),
            "ours, nlora copy": lambda: ours(NLoRA(rank=rank, core="copy")),
        }
        runs = {
            name: lambda name=name, make=make, kept=kept: one(result, name, make(), kept)
            for name, make in configs.items()
        }
        found = interleaved(runs, args.repeats)
        if not args.no_svd:
            found["PEFT pissa"] = [one(result, "PEFT pissa", peft("pissa", rank), kept)]
        middle = {
            name: {key: median(each[key] for each in all_of) or 0.0 for key in all_of[0]}
            for name, all_of in found.items()
        }
        peer = middle["PEFT pissa_niter_16"]
        for name, each in middle.items():
            row = {"start": name, "shape": f"{shape[0]} × {shape[1]}", "seconds": each["seconds"], "CPU s": each["cpu"]}
            row |= {f"niter_16 / this, {key}": peer[key] / (each[key] or 1) for key in ("seconds", "cpu")}
            result.rows.append({**row, "‖W − near‖ / ‖W‖": each["error"]})
        fitted = found["ours, nlora"][0]["error"]
        result.check(f"{shape}: Nyström's product is no farther from W than 0 is", fitted <= 1, fitted)
    row = whole(result, shapes, layers, rank)
    result.rows.append({"model": "LLaMA-2-7B's shapes" if not args.smallest else "tiny", **row})
    result.notes.append(
        f"rank {rank}, {args.threads} thread(s), fp32; targets: nlora 20 times as fast as niter_16, all in 60 s"
    )
    result.code = result.finish(args)
    return result


if __name__ == "__main__":
    sys.exit(main().code)
