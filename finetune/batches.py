"""Examples to batches: padded, or packed into rows of full length whose documents do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import DataCollatorWithFlattening, PreTrainedModel

from augment.errors import FinetuneError
from finetune.chat import Example
from finetune.objectives import IGNORED


class Packs(Dataset[list[Example]]):
    """Examples in groups, each group one row of a batch: of one example, or of several that fit `length` tokens."""

    def __init__(self, examples: Sequence[Example], length: int | None = None) -> None:
        groups = [[number] for number in range(len(examples))] if length is None else _packed(examples, length)
        self._groups = [[examples[number] for number in group] for group in groups]

    def __len__(self) -> int:
        return len(self._groups)

    def examples(self) -> list[Example]:
        """All of them, in the order of the groups."""
        return [example for group in self._groups for example in group]

    def __getitem__(self, index: int) -> list[Example]:
        return self._groups[index]


def _packed(examples: Sequence[Example], length: int) -> list[list[int]]:
    """Groups of examples with at most `length` tokens each: best fit, the longest first."""
    room: dict[int, list[int]] = {}  # tokens left -> groups that have so many
    groups: list[list[int]] = []
    for number in sorted(range(len(examples)), key=lambda each: -len(examples[each].ids)):
        size = len(examples[number].ids)
        left = min((each for each in room if each >= size), default=None)
        if left is None:
            groups.append([])
            place, left = len(groups) - 1, length
        else:
            place = room[left].pop()
            if not room[left]:
                del room[left]
        groups[place].append(number)
        room.setdefault(left - size, []).append(place)
    return groups


@dataclass(frozen=True)
class Padded:
    """Collates single examples: padded on the right to the longest, with labels -100 where nothing is learned."""

    pad: int

    def __call__(self, groups: Sequence[Sequence[Example]]) -> dict[str, Tensor]:
        examples = [example for group in groups for example in group]
        width = max(len(example.ids) for example in examples)
        ids = torch.full((len(examples), width), self.pad)
        mask = torch.zeros(len(examples), width, dtype=torch.long)
        labels = torch.full((len(examples), width), IGNORED)
        for row, example in enumerate(examples):
            size = len(example.ids)
            ids[row, :size] = torch.from_numpy(example.ids)
            mask[row, :size] = 1
            if example.learned is not None:
                labels[row, :size] = _labels(example)
        if examples[0].label is not None:
            labels = torch.tensor([example.label for example in examples])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@dataclass(frozen=True)
class Flattened:
    """Collates packed examples: one row (1, all tokens) whose `position_ids` begin anew with each of them."""

    def __call__(self, groups: Sequence[Sequence[Example]]) -> dict[str, Any]:
        features = [
            {"input_ids": example.ids.tolist(), "labels": _labels(example).tolist()}
            for group in groups
            for example in group
        ]
        batch: dict[str, Any] = DataCollatorWithFlattening()(features)  # type: ignore[no-untyped-call]
        return batch


def _labels(example: Example) -> Tensor:
    assert example.learned is not None
    ids = torch.from_numpy(example.ids).long()
    return ids.masked_fill(~torch.from_numpy(example.learned), IGNORED)


@torch.no_grad()
def check_packing(model: PreTrainedModel, examples: Sequence[Example]) -> None:
    """Refuse to pack for a model in which packed documents see each other.

    Raises:
        FinetuneError: a document's states change with what is packed before it.
    """
    short = [example for example in examples if len(example.ids) <= 64] or list(examples)
    first, second = short[0], short[-1]
    training = model.training
    model.train(False)
    try:
        alone = Padded(0)([[second]])
        together = Flattened()([[first, second]])
        keys = ("input_ids", "attention_mask", "position_ids")
        said, packed = (
            model(
                **{key: value.to(model.device) for key, value in batch.items() if key in keys}, use_cache=False
            ).logits
            for batch in (alone, together)
        )
    finally:
        model.train(training)
    said, packed = said[0].float(), packed[0, len(first.ids) :].float()
    if not torch.allclose(
        said, packed, rtol=0, atol=float(said.abs().max()) * (0.05 if model.dtype != torch.float32 else 1e-3)
    ):
        raise FinetuneError(f"{type(model).__name__} lets packed rows see each other; leave out --packing")
