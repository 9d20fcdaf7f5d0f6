"""One way to train a small Qwen3-shaped model, in a process of its own: `python -m tests.benchmarks.training_step`.

Reads what to do as JSON on standard input and writes seconds a step, the losses and the peak memory as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from finetune import adapters, objectives, perturbations
from finetune.objectives.original import Original
from finetune.objectives.readout import Readout
from tests.benchmarks.measure import peak_rss

WARM_UP = 1


@dataclass(frozen=True)
class Shape:
    """A model and a batch; `prompt` tokens of each row are not learned."""

    vocabulary: int = 151_936
    hidden: int = 512
    layers: int = 4
    rows: int = 1
    tokens: int = 512
    prompt: int = 0
    rank: int = 16
    steps: int = 3


@dataclass(frozen=True)
class Way:
    """An adapter, an objective ("stock" is the model's own loss) and perhaps a perturbation."""

    adapter: str = "pissa"
    objective: str = "stock"
    fused: bool = True
    perturbation: str | None = None


def model_of(shape: Shape, way: Way) -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // 64,
        num_key_value_heads=max(1, shape.hidden // 128),
        head_dim=64,
        tie_word_embeddings=True,
    )
    adapter = adapters.TABLE.load(way.adapter)(rank=shape.rank)
    return adapter.attach(Qwen3ForCausalLM(config)).train()


def loss_of(model: Any, way: Way, shape: Shape) -> Callable[[dict[str, Tensor], int], Tensor]:
    if way.objective == "stock":
        return lambda batch, step: model(**batch).loss
    # Half way, as the schedules have it, so that every term pulls.
    objective = objectives.TABLE.load(way.objective)()
    original, readout = Original(model), Readout(model, hidden=way.fused)

    def loss(batch: dict[str, Tensor], step: int) -> Tensor:
        teacher = lambda: original.run(lambda: readout(model, batch))  # noqa: E731
        found, _ = objective(readout(model, batch), batch["labels"], teacher=teacher, step=500 + step, steps=1000)
        return found

    return loss


def run(shape: Shape, way: Way) -> dict[str, Any]:
    model = model_of(shape, way)
    loss_at = loss_of(model, way, shape)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-3)
    perturbed = perturbations.TABLE.load(way.perturbation)().attach(model) if way.perturbation else None
    generator = torch.Generator().manual_seed(1)
    seconds, cpu, losses = [], [], []
    for step in range(WARM_UP + shape.steps):
        ids = torch.randint(0, shape.vocabulary, (shape.rows, shape.tokens), generator=generator)
        labels = ids.clone()
        labels[:, : shape.prompt] = -100
        batch = {"input_ids": ids, "labels": labels}
        start, busy = time.perf_counter(), time.process_time()
        if perturbed is None:
            loss = loss_at(batch, step)
            loss.backward()
        else:
            with perturbed.micro_batch(optimizer):
                loss = loss_at(batch, step)
                loss.backward()
            perturbed.before_step()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        del loss
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    middle = {"seconds": statistics.median(seconds[WARM_UP:]), "cpu": statistics.median(cpu[WARM_UP:])}
    return {**middle, "losses": losses, "rss": peak_rss()}


def asked(shape: Shape, way: Way) -> str:
    return json.dumps({"shape": asdict(shape), "way": asdict(way)})


if __name__ == "__main__":
    work = json.loads(sys.stdin.read())
    print(json.dumps(run(Shape(**work["shape"]), Way(**work["way"]))))
