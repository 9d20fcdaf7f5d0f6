"""A causal language model in this process with vLLM, with or without an adapter, on a GPU or the CPU.

Each request has a slot, as over HTTP, and vLLM batches what the slots hold anew at every step: a slow answer holds its
own slot, and the next request enters before the step after an answer. All of vLLM lives in one thread of its own, so
that the model works on while the caller reads what it said.

What is drawn for a request depends on its own seed and logits (vLLM keeps one generator a request). Its logits depend
on its neighbours by rounding, for the shape of a batch decides the order of sums: so may, rarely, a word. With
VLLM_BATCH_INVARIANT=1, where a GPU has the kernels for it, they do not. One model on one device: for more,
`vllm serve` and the engine `openai`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from augment.engines import EngineOptions, Keep, forget
from augment.engines.chat import complaint
from augment.engines.prompts import blind, prompt_ids, too_long, turn_end
from augment.engines.slots import Answer, Slots, Streams
from augment.engines.transformers import adapted, check_fit, parted
from augment.errors import AugmentError, EngineError, needs
from augment.records import Reply, Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.model import Base

log = logging.getLogger(__name__)

SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "4",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else the thread that loads is bound to cores, and all that it starts
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a process of its own would get the user's Ctrl-C and die of it
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
"""vLLM's environment where the user says nothing else."""

Asked = tuple[int, Request]
Answered = tuple[int, Reply]


@dataclass(eq=False)
class Vllm:
    """A model in this process with vLLM: vllm:FOLDER or vllm:owner/name, and +ADAPTER for a LoRA folder on it.

    `served` is the folder of plain LoRA that vLLM reads, which for a native adapter of ours lies in it.

    One engine may answer several `generate` calls, one after the other. After `drain()` it takes no request any more.
    """

    name: ClassVar[str] = "vllm"
    model: str
    revision: str
    base: Base
    served: Path | None = None
    options: EngineOptions = field(default_factory=EngineOptions)

    def __post_init__(self) -> None:
        self._streams = Streams()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="augment-vllm")
        self._loaded: _Loaded | None = None

    @classmethod
    def open(cls, model: str, options: EngineOptions, adapter: Path | None = None) -> Vllm:
        """The engine of a folder or of `owner/name` on the hub; only its configuration is read.

        Raises:
            RecipeError: vLLM is not installed.
            FinetuneError: there is no such model, or the adapter is none, of another model, or a classifier's.
            EngineError: vLLM cannot read an adapter of its kind.
        """
        with needs("vllm", "vllm"), needs("accelerate", "vllm"):
            if importlib.util.find_spec("vllm") is None:
                raise ModuleNotFoundError(name="vllm")
            from finetune.model import open_base
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from finetune.saved import read

        if adapter is None:
            model, adapter = parted(model)
        base = open_base(model)
        name, revision = Path(model).name if Path(model).is_dir() else model, base.revision
        if adapter is None:
            return cls(name, revision, base, None, options)
        check_fit(read(adapter), base)
        served = _served(adapter)
        return cls(f"{name}+{adapter.name}", adapted(revision, served), base, served, options)

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """Replies as they finish; at most twice as many requests as slots are drawn and not yet yielded.

        The first request loads the weights. Closing the iterator abandons what is in flight; after `drain()` requests
        that no slot had begun get no reply.

        Raises:
            EngineError: vLLM cannot load the model, or stopped; after the replies that had arrived.
            FinetuneError: the tokenizer cannot be read.
        """
        return self._streams.answer(Slots(self._most, self._opened, keep), requests)

    def drain(self) -> None:
        """Take no further request; those in flight are still answered. Callable from any thread."""
        self._streams.drain()

    def release(self) -> None:
        """Let go of the weights, so that another model has room; the next `generate` loads them again."""
        self._thread.submit(self._let_go).result()

    @property
    def _most(self) -> int:
        return max(1, self.options.concurrency)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Answer]:
        loop, numbers, news, halt = asyncio.get_running_loop(), itertools.count(), asyncio.Event(), threading.Event()
        inbox: deque[Asked] = deque()
        waiting: dict[int, asyncio.Future[Reply]] = {}

        async def answer(request: Request) -> Reply:
            number = next(numbers)
            waiting[number] = loop.create_future()
            inbox.append((number, request))
            news.set()
            return await waiting[number]

        async def work() -> None:
            try:
                while True:
                    if not waiting:
                        news.clear()
                        await news.wait()
                    for number, reply in await loop.run_in_executor(self._thread, self._turn, inbox, halt):
                        waiting.pop(number).set_result(reply)
                    await asyncio.sleep(0)  # the slots that were answered ask again before the next step
            except AugmentError as error:
                for each in waiting.values():
                    each.set_exception(error)

        worker = asyncio.create_task(work())
        try:
            yield answer
        finally:
            halt.set()
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            await loop.run_in_executor(self._thread, self._abandon)

    # In the engine's own thread:

    def _turn(self, inbox: deque[Asked], halt: threading.Event) -> list[Answered]:
        """Steps until somebody is answered; who asks meanwhile is let in before the next step."""
        with _one_line(self.model):
            self._loaded = loaded = self._loaded or _load(self.base, self.served, self._most)
            found: list[Answered] = []
            while not found and (inbox or loaded.asked) and not halt.is_set():
                while inbox:
                    found += loaded.add(*inbox.popleft())
                found += loaded.step()
            return found

    def _abandon(self) -> None:
        if self._loaded is not None:
            with _one_line(self.model):
                self._loaded.abandon()

    def _let_go(self) -> None:
        if self._loaded is not None:
            self._loaded.engine.engine_core.shutdown()
            self._loaded = None


@dataclass(eq=False)
class _Loaded:
    """The weights in memory. `context`: tokens it can see; `stops`: tokens that end an answer besides the model's own.

    `lora` is vLLM's name for the adapter; `prompted` are the schemas that its decoder cannot follow. `asked` are the
    requests that vLLM holds, each with whether its decoder is held to their schema.
    """

    engine: Any
    tokenizer: PreTrainedTokenizerBase
    context: int
    stops: list[int]
    lora: Any
    asked: dict[int, tuple[Request, bool]] = field(default_factory=dict)
    prompted: set[str] = field(default_factory=set)

    def add(self, number: int, request: Request) -> list[Answered]:
        """Hands it to vLLM; the reply if it cannot be answered."""
        from jinja2 import TemplateError
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        if request.pictures:
            return [(number, blind(request, Vllm.name))]
        schema = None if request.schema is None else orjson.dumps(request.schema, default=dict).decode()
        held = schema is not None and schema not in self.prompted
        try:
            ids = prompt_ids(request, self.tokenizer, told=not held)
        except (TemplateError, ValueError) as error:
            return [(number, _failed(request, f"refused by the chat template: {_told(error)}"))]
        if len(ids) >= self.context:
            return [(number, too_long(request, len(ids), self.context))]
        try:
            params = SamplingParams(
                temperature=request.temperature,
                top_p=request.top_p,
                seed=request.seed,
                max_tokens=min(request.max_tokens, self.context - len(ids)),
                stop_token_ids=self.stops,
                structured_outputs=StructuredOutputsParams(json=schema) if held else None,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            self.engine.add_request(str(number), tokens_input(ids), params, lora_request=self.lora)
        except (VLLMValidationError, ValueError) as error:
            if not held:
                return [(number, _failed(request, f"vLLM refuses it: {_told(error)}"))]
            return self._again(number, request, _told(error))
        self.asked[number] = request, held
        return []

    def step(self) -> list[Answered]:
        """One token more for all who are in the batch; those whose answer is complete."""
        found: list[Answered] = []
        for output in self.engine.step() if self.asked else ():
            if not output.finished:
                continue
            number = int(output.request_id)
            request, held = self.asked.pop(number)
            said = output.outputs[0]
            if said.finish_reason == "error":
                why = "its grammar does not compile" if held else "an error inside vLLM"
                found += self._again(number, request, why) if held else [(number, _failed(request, why))]
                continue
            rung = "" if request.schema is None else "schema" if held else "prompt"
            paid = len(output.prompt_token_ids), len(said.token_ids)
            finish = said.finish_reason or "stop"
            found.append((number, Reply(request.key, said.text.strip(), finish, *paid, rung=rung)))
        return found

    def abandon(self) -> None:
        """Forgets whom vLLM holds."""
        if self.asked:
            self.engine.abort_request([str(number) for number in self.asked])
            self.asked.clear()

    def _again(self, number: int, request: Request, why: str) -> list[Answered]:
        """Asks with the schema in the prompt, here and for whoever else has it."""
        schema = orjson.dumps(request.schema, default=dict).decode()
        if schema not in self.prompted:
            self.prompted.add(schema)
            log.warning("a schema of %s goes into the prompt: vLLM's decoder does not follow it (%s)",
                        request.generator, why)  # fmt: skip
        return self.add(number, request)


def _load(base: Base, adapter: Path | None, most: int) -> _Loaded:
    """vLLM with the weights, for at most `most` requests at once."""
    from vllm import EngineArgs
    from vllm.config import StructuredOutputsConfig
    from vllm.lora.request import LoRARequest
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    from finetune.chat import give_template
    from finetune.model import open_tokenizer, quiet

    quiet()
    tokenizer = open_tokenizer(base)
    give_template(tokenizer)
    more: dict[str, Any] = {}
    if adapter is not None:
        more = {"enable_lora": True, "max_loras": 1, "max_lora_rank": _rank(adapter)}
    cpu = current_platform.is_cpu()
    revision = None if Path(base.name).is_dir() else base.revision
    settings = EngineArgs(
        base.name,
        revision=revision,
        tokenizer_revision=revision,
        runner="generate",
        dtype="float32" if cpu else "auto",
        enforce_eager=cpu,
        max_model_len=-1,  # the model's own, or what of it fits into memory
        max_num_seqs=most,
        enable_prefix_caching=True,
        enable_chunked_prefill=not cpu,  # there a part of a prompt ends vLLM where a seed is given (0.32)
        # Compact JSON: where white space is free, a small model may write nothing else until its tokens are spent.
        structured_outputs_config=StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
        use_tqdm_on_load=False,
        disable_log_stats=True,
        **more,
    )
    engine = LLMEngine.from_engine_args(settings, UsageContext.LLM_CLASS)
    lora = None if adapter is None else LoRARequest("adapter", 1, str(adapter.resolve()))
    if lora is not None:
        engine.add_lora(lora)
    end = turn_end(tokenizer)
    return _Loaded(engine, tokenizer, int(engine.model_config.max_model_len), [] if end is None else [end], lora)


def _served(adapter: Path) -> Path:
    """The folder of plain LoRA that vLLM reads.

    Raises:
        EngineError: it is a native adapter of ours without one, or of a rank that vLLM does not take.
    """
    from finetune.saved import read

    found = adapter / "plain" if read(adapter).ours else adapter
    if not found.is_dir():
        raise EngineError(
            f"vLLM does not read {adapter}; write it as plain LoRA with: augment adapter export {adapter} --out PLAIN"
        )
    _rank(found)
    return found


def _rank(adapter: Path) -> int:
    """The smallest rank that vLLM can be set up for and that holds the adapter's.

    Raises:
        EngineError: there is none.
    """
    from finetune.export import SERVED
    from finetune.saved import read

    needed = max(layer.rank for layer in read(adapter).layers)
    found = next((rank for rank in SERVED if rank >= needed), None)
    if found is None:
        raise EngineError(f"vLLM serves no adapter of rank {needed}; export it with --rank {SERVED[-1]}")
    return found


@contextlib.contextmanager
def _one_line(model: str) -> Iterator[None]:
    """Turns what ends vLLM into one line."""
    import torch

    try:
        yield
    except AugmentError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        fix = "ask fewer at once with --concurrency, or take a smaller model"
        raise EngineError(f"{model} does not fit into memory with vLLM ({_told(error)}); {fix}") from None
    except Exception as error:
        log.debug("vLLM stopped", exc_info=True)
        raise EngineError(f"vLLM stopped with {model}: {_told(error)}; --llm transformers:MODEL is slower and takes "
                          "more models") from error  # fmt: skip


def _failed(request: Request, why: str) -> Reply:
    return Reply(request.key, "", "error", error=why)


def _told(error: BaseException) -> str:
    return complaint((str(error) or type(error).__name__).encode())
