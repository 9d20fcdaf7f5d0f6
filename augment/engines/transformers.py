"""A causal language model in this process, on the CPU or a GPU, with or without an adapter of ours.

Requests are answered in batches of similar length. What is drawn for a request depends on its own seed and logits,
never on its neighbours, so that a batch changes an answer by rounding at most.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from augment.engines import EngineOptions, Keep, batch_of, forget
from augment.engines.prompts import blind, prompt_ids, too_long, turn_end
from augment.errors import FinetuneError, needs
from augment.records import Reply, Request, fingerprint

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.model import Base
    from finetune.saved import Saved

log = logging.getLogger(__name__)

_ENDS = (("A.factor", 1), ("A.weight", 1), ("B.factor", 0), ("B.weight", 0))
"""Which side of an adapter's tensors is as wide as the layer that it is for."""


@dataclass(eq=False)
class Transformers:
    """A model in this process, CPU or GPU: transformers:FOLDER or owner/name, and +ADAPTER for an adapter on it."""

    name: ClassVar[str] = "transformers"
    model: str
    revision: str
    base: Base
    adapter: Path | None = None
    options: EngineOptions = field(default_factory=EngineOptions)

    def __post_init__(self) -> None:
        self._drained = False
        self._loaded: _Loaded | None = None

    @classmethod
    def open(cls, model: str, options: EngineOptions, adapter: Path | None = None) -> Transformers:
        """The engine of a folder or of `owner/name` on the hub; only its configuration is read.

        Raises:
            RecipeError: torch is not installed.
            FinetuneError: there is no such model, or `adapter` is no adapter, of another model, or a classifier's.
        """
        with needs("torch", "finetune"):
            from finetune.model import open_base
        from finetune.saved import read

        if adapter is None:
            model, adapter = parted(model)
        base = open_base(model)
        name, revision = Path(model).name if Path(model).is_dir() else model, base.revision
        if adapter is not None:
            check_fit(read(adapter), base)
            name, revision = f"{name}+{adapter.name}", adapted(revision, adapter)
        return cls(name, revision, base, adapter, options)

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """Replies batch by batch, each of at most `concurrency` requests.

        Raises:
            FinetuneError: the weights or the tokenizer cannot be read.
        """
        source = iter(requests)
        while not self._drained:
            drawn = batch_of(source, max(1, self.options.concurrency))
            if not drawn:
                return
            self._loaded = self._loaded or _load(self.base, self.adapter)
            for request, reply in self._loaded.answer(drawn):
                keep(request, reply)
                yield reply

    def release(self) -> None:
        """Let go of the weights, so that another model has room; the next `generate` loads them again."""
        self._loaded = None

    def drain(self) -> None:
        """Take no further batch. Callable from any thread."""
        self._drained = True


@dataclass(eq=False)
class _Loaded:
    """The weights in memory. `context`: tokens it can see; `stops`: tokens that end an answer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context: int | None
    stops: list[int]

    def answer(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Reply]]:
        asked = []
        for request in requests:
            if request.pictures:
                yield request, blind(request, Transformers.name)
                continue
            ids = prompt_ids(request, self.tokenizer, told=True)
            if self.context is not None and len(ids) >= self.context:
                yield request, too_long(request, len(ids), self.context)
            else:
                asked.append((request, ids))
        asked.sort(key=lambda each: len(each[1]))
        if self.context is not None and asked:
            longest = self.context - max(request.max_tokens for request, _ in asked)
            near = [each for each in asked if len(each[1]) > longest]
            asked = [each for each in asked if len(each[1]) <= longest]
            # what room they have for an answer is their own, not that of the longest beside them
            for _, same in itertools.groupby(near, key=lambda each: len(each[1])):
                yield from self._batch(list(same))
        yield from self._batch(asked)

    def _batch(self, asked: list[tuple[Request, list[int]]]) -> Iterator[tuple[Request, Reply]]:
        import torch

        if not asked:
            return
        try:
            replies = self._answered(asked)
        except torch.OutOfMemoryError:
            if len(asked) == 1:
                raise
            torch.cuda.empty_cache()
            log.info("a batch of %d did not fit into memory; halving it", len(asked))
            yield from self._batch(asked[: len(asked) // 2])
            yield from self._batch(asked[len(asked) // 2 :])
            return
        yield from ((request, reply) for (request, _), reply in zip(asked, replies, strict=True))

    def _answered(self, asked: list[tuple[Request, list[int]]]) -> list[Reply]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        width = max(len(ids) for _, ids in asked)
        pad = self.tokenizer.pad_token_id
        rows = [[pad] * (width - len(ids)) + ids for _, ids in asked]
        seen = [[0] * (width - len(ids)) + [1] * len(ids) for _, ids in asked]
        limits = [request.max_tokens for request, _ in asked]
        if self.context is not None:
            limits = [min(limit, self.context - width) for limit in limits]
        device = self.model.device
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max(max(limits), 1), do_sample=False, eos_token_id=self.stops, pad_token_id=pad
        )
        with torch.inference_mode():
            out = self.model.generate(  # type: ignore[operator]
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(seen, device=device),
                generation_config=settings,
                logits_processor=LogitsProcessorList([_sampler([request for request, _ in asked])]),
            )
        made = out[:, width:].tolist()
        return [
            self._reply(request, ids, tokens, limit)
            for (request, ids), tokens, limit in zip(asked, made, limits, strict=True)
        ]

    def _reply(self, request: Request, ids: list[int], tokens: list[int], limit: int) -> Reply:
        end = next((place for place, token in enumerate(tokens[:limit]) if token in self.stops), None)
        said = tokens[: limit if end is None else end]
        text = str(self.tokenizer.decode(said, skip_special_tokens=True)).strip()
        rung = "" if request.schema is None else "prompt"
        return Reply(request.key, text, "length" if end is None else "stop", len(ids), len(said), rung=rung)


def adapted(revision: str, adapter: Path) -> str:
    """The revision of a base with an adapter: over the base's and the adapter's files."""
    from finetune.saved import WEIGHTS

    with (adapter / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return fingerprint(revision, digest, (adapter / "adapter_config.json").read_text("utf-8"))[:16]


def parted(model: str) -> tuple[str, Path | None]:
    """MODEL and its ADAPTER of MODEL+ADAPTER; either may have a + in its own name."""
    if "+" not in model or Path(model).expanduser().is_dir():
        return model, None
    places = [place for place, letter in enumerate(model) if letter == "+"]
    found = next((each for each in places if Path(model[each + 1 :]).expanduser().is_dir()), places[0])
    return model[:found], Path(model[found + 1 :]).expanduser()


def check_fit(saved: Saved, base: Base) -> None:
    """By the layers' names and shapes alone, before anybody has waited for the base's answers.

    Raises:
        FinetuneError: the adapter is of another model, or a classifier's.
    """
    import torch

    from finetune.model import skeleton

    if saved.config.get("task_type") == "SEQ_CLS":
        raise FinetuneError(f"{saved.path} was trained to classify; give an adapter that was trained to answer")
    model = skeleton(base)
    modules = dict(model.named_modules())
    named = saved.config.get("base_model_name_or_path") or "another base"
    for layer in saved.layers:
        module = modules.get(layer.module)
        weight = tuple(getattr(module, "weight", torch.empty(0)).shape)
        ends = [layer.shapes[key][at] for key, at in _ENDS if key in layer.shapes]
        if module is None or (len(weight) == 2 and not set(ends) <= set(weight)):
            there = "no such layer" if module is None else " × ".join(map(str, weight))
            raise FinetuneError(
                f"{saved.path} does not fit {base.name} ({layer.module}: {there}): it was trained on {named}; "
                "give that with --base"
            )


def _load(base: Base, adapter: Path | None) -> _Loaded:
    import torch

    from finetune.chat import give_template
    from finetune.forecast import precision_of
    from finetune.model import load, open_tokenizer, quiet

    quiet()
    tokenizer = open_tokenizer(base)
    give_template(tokenizer)
    model = load(base, dtype=precision_of("auto"))
    if adapter is not None:
        from peft import PeftModel

        from finetune.adapters import tuner  # noqa: F401  (it makes our adapters known to PEFT)

        model = PeftModel.from_pretrained(model, str(adapter))  # type: ignore[assignment]
    model.config.use_cache = True
    model.eval()  # type: ignore[no-untyped-call]
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    return _Loaded(model, tokenizer, base.context, _stops(model, tokenizer))


def _stops(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: the model's own, the tokenizer's, and what its template closes a turn with."""
    told = model.generation_config.eos_token_id if model.generation_config is not None else None
    found = [*(told if isinstance(told, list) else [told]), tokenizer.eos_token_id, turn_end(tokenizer)]
    return sorted({int(each) for each in found if isinstance(each, int)})


def _sampler(requests: Sequence[Request]) -> Any:
    """A logits processor after which each row's own draw is the only token left; temperature 0 takes the likeliest.

    One uniform number a row and step, from the request's seed, picks the token by inversion of the distribution
    function over the nucleus (top-p; Holtzman et al., 2020).
    """
    import torch
    from transformers import LogitsProcessor

    generators = [random.Random(request.seed) for request in requests]

    class Drawn(LogitsProcessor):
        def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
            warm = [row for row, request in enumerate(requests) if request.temperature > 0]
            if not warm:
                return scores
            heat = scores.new_tensor([requests[row].temperature for row in warm])[:, None].float()
            top_p = scores.new_tensor([requests[row].top_p for row in warm])[:, None].float()
            chance, order = (scores[warm].float() / heat).softmax(-1).sort(-1, descending=True)
            reached = chance.cumsum(-1)
            chance = chance.masked_fill(reached - chance >= top_p, 0.0)
            reached = chance.cumsum(-1)
            draw = torch.tensor([[generators[row].random()] for row in warm], device=scores.device)
            place = torch.searchsorted(reached, draw * reached[:, -1:], right=True).clamp(max=chance.shape[-1] - 1)
            only = torch.full_like(scores[warm], -torch.inf).scatter(-1, order.gather(-1, place), 0.0)
            found = scores.clone()
            found[warm] = only
            return found  # type: ignore[return-value]

    return Drawn()
