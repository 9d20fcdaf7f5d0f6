"""A recipe to a training with everything decided and nothing run: rows read and split, tokens counted, costs told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from augment.errors import FinetuneError, RecipeError
from finetune.batches import Packs
from finetune.chat import Example, give_template, tokenise_chats, tokenise_texts
from finetune.forecast import Forecast, memory_of, precision_of, size_of, steps_of, widest
from finetune.model import Base, open_base, open_tokenizer, skeleton
from finetune.objectives.readout import Readout
from finetune.recipe import FinetuneRecipe, Method, identity_of, method_of, out_of, world_size
from finetune.rows import Item, Rows, open_rows
from finetune.split import Split, split


@dataclass(frozen=True)
class Prepared:
    """A training that can start. `lost` are rows that are not used, by reason; `notes` are for the user to read.

    `labels` are the classes of a classification, in the order of the head's outputs; none for conversations.
    """

    recipe: FinetuneRecipe
    base: Base
    tokenizer: PreTrainedTokenizerBase
    rows: Rows
    labels: tuple[str, ...]
    method: Method
    train: Packs
    validation: Packs
    aside: int
    lost: Mapping[str, int]
    length: int
    dtype: torch.dtype
    fused: bool
    forecast: Forecast
    identity: str
    out: Path
    notes: tuple[str, ...]

    @property
    def accumulate(self) -> int:
        """Micro-batches of an optimizer step on each device."""
        return self.forecast.batch // (self.forecast.micro_batch * world_size())


def prepare(recipe: FinetuneRecipe) -> Prepared:
    """Read, tokenise, split and count; load no weights.

    Raises:
        FinetuneError: the base, the rows or the adapter do not work together.
        RecipeError: a name or value that makes no sense.
        SourceError, RunError: the data cannot be found or read.
    """
    base = open_base(recipe.base, recipe.revision, recipe.trust_remote_code)
    rows = open_rows(recipe.data, recipe.task, recipe.map)
    method = method_of(recipe, rows.task)
    labels = _labels(rows)
    if recipe.packing and labels:
        raise RecipeError("--packing is for conversations; leave it out for a classification")
    model = method.adapter.attach(skeleton(base, labels))  # whatever does not fit is told before an hour of loading
    fused, notes = _fused(model, labels)
    tokenizer = open_tokenizer(base)
    if template := give_template(tokenizer) if not labels else None:
        notes.append(template)
    length = min(recipe.length, base.context or recipe.length)
    parts = split(rows.items, recipe.validation, recipe.seed)
    train, validation, lost = _tokenised(parts, tokenizer, length, labels)
    if not train:
        why = ", ".join(f"{count:,} {reason}" for reason, count in lost.items())
        raise FinetuneError(f"no row of {rows.name} is left to train on ({why}); raise --length{_context(base)}")
    _check_vocabulary(base, tokenizer, [*train, *validation])
    packs = Packs(train, length if recipe.packing else None)
    held = Packs(validation)
    batch, micro_batch = _batch(recipe)
    dtype = precision_of(recipe.precision)
    memory = memory_of(
        size_of(model),
        base.config,
        itemsize=dtype.itemsize,
        four_bit=recipe.quantize == "4bit",
        checkpointing=recipe.gradient_checkpointing,
        fused=fused,
        tokens=widest([packs[number] for number in range(len(packs))], micro_batch),
    )
    forecast = Forecast(
        size=size_of(model),
        examples=len(train),
        validation=len(validation),
        tokens=sum(len(each.ids) for each in train),
        learned=sum(int(each.learned.sum()) if each.learned is not None else 1 for each in train),
        steps=steps_of(len(packs), batch, recipe.epochs, recipe.max_steps),
        batch=batch,
        micro_batch=micro_batch,
        memory=memory,
    )
    identity = identity_of(recipe, rows.identity, base.revision)
    return Prepared(
        recipe=recipe,
        base=base,
        tokenizer=tokenizer,
        rows=rows,
        labels=labels,
        method=method,
        train=packs,
        validation=held,
        aside=parts.aside,
        lost=dict(sorted((Counter(rows.rejected) + lost).items())),
        length=length,
        dtype=dtype,
        fused=fused,
        forecast=forecast,
        identity=identity,
        out=out_of(recipe, identity),
        notes=(*rows.notes, *notes),
    )


def _labels(rows: Rows) -> tuple[str, ...]:
    if rows.task == "chat":
        return ()
    labels = tuple(sorted({item.label or "" for item in rows.items}))
    if len(labels) < 2:
        raise FinetuneError(f"all rows of {rows.name} have the label '{labels[0]}'; a classification needs two or more")
    return labels


def _fused(model: torch.nn.Module, labels: tuple[str, ...]) -> tuple[bool, list[str]]:
    if labels:
        return False, []
    try:
        Readout(model, hidden=True)
    except FinetuneError as error:
        return False, [f"the loss takes whole logits: {str(error).partition(';')[0]}"]
    return True, []


def _tokenised(
    parts: Split, tokenizer: PreTrainedTokenizerBase, length: int, labels: tuple[str, ...]
) -> tuple[list[Example], list[Example], Counter[str]]:
    items: tuple[Item, ...] = parts.train + parts.validation
    if labels:
        found, lost = tokenise_texts(items, tokenizer, length, labels)
    else:
        found, lost = tokenise_chats(items, tokenizer, length)
    border = len(parts.train)
    train, validation = ([each for each in half if each is not None] for half in (found[:border], found[border:]))
    return train, validation, lost


def _check_vocabulary(base: Base, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> None:
    known = int(base.config.get_text_config().vocab_size)
    largest = max(int(example.ids.max(initial=0)) for example in examples)
    if largest >= known:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise FinetuneError(
            f"the tokenizer says '{token}' as {largest:,}, but {base.name} knows {known:,} tokens; "
            "give it its own tokenizer"
        )


def _batch(recipe: FinetuneRecipe) -> tuple[int, int]:
    """Rows of an optimizer step, and of a micro-batch on each device."""
    devices = world_size()
    share, left = divmod(recipe.batch, devices)
    if left:
        raise RecipeError(f"--batch {recipe.batch} cannot be shared by {devices} processes; give a multiple of that")
    if recipe.micro_batch is None:
        return recipe.batch, max(size for size in range(1, min(share, 4) + 1) if share % size == 0)
    if share % recipe.micro_batch:
        raise RecipeError(
            f"--micro-batch {recipe.micro_batch} does not divide the {share} rows that each process has of --batch "
            f"{recipe.batch}; give one that does"
        )
    return recipe.batch, recipe.micro_batch


def _context(base: Base) -> str:
    return f" (the base sees {base.context:,} at most)" if base.context else ""
