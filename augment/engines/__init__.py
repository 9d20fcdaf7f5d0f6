"""The engines: each answers many requests. One file each, one line in `TABLE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from augment.errors import RecipeError
from augment.images.subjects import read_subjects
from augment.records import Reply, Request
from augment.registry import Table

if TYPE_CHECKING:
    from augment.recipe import ImageRecipe, Recipe

TABLE = Table(
    "engine",
    {
        "diffusers": "augment.engines.diffusers:Diffusers",
        "echo": "augment.engines.echo:Echo",
        "noise": "augment.engines.noise:Noise",
        "openai": "augment.engines.openai:OpenAI",
        "openai-images": "augment.engines.openai_images:OpenAIImages",
        "transformers": "augment.engines.transformers:Transformers",
        "vllm": "augment.engines.vllm:Vllm",
    },
)


Keep = Callable[[Request, Reply], None]
"""Makes a reply durable; called as soon as it has arrived, from whichever thread it arrives in."""


def forget(request: Request, reply: Reply) -> None:
    """Keep nothing: for those who only want the replies."""


SERVED_AT_ONCE = 8
"""Pictures that a server is asked for at once unless the user says more: many draw one after the other, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What a user may say about an engine besides its model; `timeout` in seconds for one answer.

    `base_url` may be several addresses with commas between them; `rpm` and `tpm` are the most requests and tokens that
    it is asked for a minute, over all of them.

    Of those that draw: `batch` pictures are drawn at once (None: as many as fit), in `dtype` ("auto": bfloat16 on a
    GPU, else float32); `adapters` are digests and folders of what `Drawing.adapters` names; `accept_licence`: the user
    has read the terms of a model that is not known to allow training on what it draws. `setting` is the filter for
    which it is opened: its `base_url` and `llm` are what a user would change, instead of the flags.
    """

    base_url: str | None = None
    rpm: float | None = None
    tpm: float | None = None
    concurrency: int = 64
    timeout: float = 300.0
    retries: int = 8
    batch: int | None = None
    dtype: str = "auto"
    adapters: tuple[tuple[str, str], ...] = ()
    accept_licence: bool = False
    setting: str = field(default="", compare=False)

    @property
    def url_flag(self) -> str:
        """How a user names the server."""
        return f"--set {self.setting}.base_url" if self.setting else "--base-url"

    @property
    def model_flag(self) -> str:
        """How a user names a served model."""
        return f"--set {self.setting}.llm=openai:MODEL" if self.setting else "--llm openai:MODEL"

    @classmethod
    def of(cls, recipe: Recipe) -> EngineOptions:
        """What a recipe says about who answers in words."""
        return cls(
            base_url=recipe.base_url,
            rpm=recipe.rpm,
            tpm=recipe.tpm,
            concurrency=recipe.concurrency,
            timeout=recipe.timeout,
        )

    def shared(self, count: int) -> EngineOptions:
        """Those of each of `count` engines that answer side by side: limits are divided."""
        parts = {name: value / count for name in ("rpm", "tpm") if (value := getattr(self, name)) is not None}
        return dataclasses.replace(self, **parts)

    @classmethod
    def drawing(cls, recipe: ImageRecipe) -> EngineOptions:
        """What a recipe says about who draws."""
        served, told = (recipe.engine or "").startswith("openai-images"), "concurrency" in recipe.model_fields_set
        return cls(
            base_url=recipe.engine_url,
            concurrency=min(SERVED_AT_ONCE, recipe.concurrency) if served and not told else recipe.concurrency,
            timeout=recipe.timeout,
            batch=recipe.batch,
            dtype=recipe.dtype,
            adapters=tuple((each.digest, str(each.folder)) for each in read_subjects(recipe.subjects)),
            accept_licence=recipe.accept_licence,
        )


class Engine(Protocol):
    """Answers requests; `name`, `model` and `revision` go into each row's provenance and reply key.

    One that draws has a class variable `draws` that is true, and answers requests with a `drawing`, no others.
    """

    name: ClassVar[str]
    model: str
    revision: str

    @classmethod
    def open(cls, model: str, options: EngineOptions) -> Engine:
        """An engine ready to answer; cheap, for it is opened where a run is planned and again on each worker.

        It finds out model and revision. Weights are loaded by the first `generate`.

        Raises:
            EngineError: it cannot be reached or used; one line with the address and the fix.
        """
        ...

    def generate(self, requests: Iterable[Request | None], keep: Keep = forget) -> Iterator[Reply]:
        """One reply a request, in the order they finish; requests are drawn in the caller's thread, as slots come free.

        None among the requests is a pause: there is nothing to ask until another reply was yielded. It comes only while
        replies are outstanding: an engine that answers in batches answers what it has then.

        `keep` is called with each reply before anything else is done with it, so that what is paid for is safe
        while the caller is busy. A request that fails for good yields a Reply with `error` set.

        Up to twice `concurrency` requests may be drawn before the first reply; drawing one more may block until
        a reply was kept. So an engine that answers in batches draws at most `concurrency` for one.

        Raises:
            EngineError: every further request would fail too (wrong key, unknown model).
        """
        ...

    def drain(self) -> None:
        """Take no further request; those in flight are still answered. Callable from any thread."""
        ...


def batch_of(source: Iterator[Request | None], most: int) -> list[Request]:
    """The next requests for an engine that answers in batches: `most`, or fewer before a pause; none at the end."""
    found: list[Request] = []
    while len(found) < most:
        each = next(source, _END)
        if each is _END or (each is None and found):
            break
        if isinstance(each, Request):
            found.append(each)
    return found


_END = object()


def draws(engine: Engine | type[Engine]) -> bool:
    """Whether an engine draws pictures; the others answer in words."""
    return bool(getattr(engine, "draws", False))


def open_engine(spec: str, options: EngineOptions, flag: str = "--llm") -> Engine:
    """The engine that `--llm NAME[:MODEL]` (or `--engine`) names.

    Raises:
        RecipeError: no engine of that name.
        EngineError: it cannot be reached or used.
    """
    name, _, model = spec.partition(":")
    if not name:
        example = "diffusers:Tongyi-MAI/Z-Image" if flag == "--engine" else "openai:Qwen3-8B"
        raise RecipeError(f"{flag} '{spec}' names no engine; write NAME:MODEL, for example {example}")
    engine: Engine = TABLE.load(name).open(model, options)
    return engine
