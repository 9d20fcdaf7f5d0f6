"""The generators: each asks about one record and reads one answer. One file each, one line in `TABLE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeGuard

from augment.records import Rejected, Reply, Request, Row
from augment.registry import Table

TABLE = Table(
    "generator",
    {
        "annotate": "augment.generators.annotate:Annotate",
        "answer": "augment.generators.answer:Answer",
        "attribute_swap": "augment.generators.attribute_swap:AttributeSwap",
        "backtranslate": "augment.generators.backtranslate:Backtranslate",
        "classical": "augment.generators.classical:Classical",
        "control": "augment.generators.control:Control",
        "counterfactual": "augment.generators.counterfactual:Counterfactual",
        "dialogue": "augment.generators.dialogue:Dialogue",
        "document_qa": "augment.generators.document_qa:DocumentQA",
        "domains": "augment.generators.domains:Domains",
        "evolve": "augment.generators.evolve:Evolve",
        "img2img": "augment.generators.img2img:Img2Img",
        "inpaint": "augment.generators.inpaint:Inpaint",
        "instruct": "augment.generators.instruct:Instruct",
        "label": "augment.generators.label:Label",
        "mix": "augment.generators.mix:Mix",
        "mixgen": "augment.generators.mixgen:MixGen",
        "paraphrase": "augment.generators.paraphrase:Paraphrase",
        "persona": "augment.generators.persona:Persona",
        "promptmix": "augment.generators.promptmix:PromptMix",
        "recaption": "augment.generators.recaption:Recaption",
        "reference": "augment.generators.reference:Reference",
        "rules": "augment.generators.rules:Rules",
        "self_instruct": "augment.generators.self_instruct:SelfInstruct",
        "sketch": "augment.generators.sketch:Sketch",
        "subject": "augment.generators.subject:SubjectDriven",
        "text2image": "augment.generators.text2image:Text2Image",
    },
)


EXHAUSTED = "no further variant"
"""The reason a self-answering generator gives when it has no k-th variant, nor any after it."""


class Asking(Protocol):
    """What all generators are: a frozen dataclass whose prompts are module constants beside it.

    `needs` are the columns a record must have, `adds_facts` says that a variant may state numbers its parent
    did not (a persona's age), and `seed` is the recipe's seed, from which each request's seed derives.

    A generator may also say: `tasks`, what it is for ("qa", "classification", "pair", "documents"; without it "qa" and
    "pair"); `makes_new = True`, its rows are new examples, no rewrites, and are not held against their parent's text;
    `adds`, which columns of `augment.records.WRITTEN` its rows have; `looks_at`, which other seeds it is shown as
    `exemplars` (see `augment.asking.exemplars`); `relabels = True`, a variant's label may not be its parent's;
    `flips = True`, a variant says something else than its parent in nearly its words, and is no duplicate of it;
    `annotates = True`, it labels a row that has no label, once, and what it makes stands in the dataset in that row's
    place. And it may have a method `fits(seeds)` that raises RecipeError, in one line, for a source that lacks what it
    needs beyond columns.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    adds_facts: ClassVar[bool]
    seed: int

    def ask(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected:
        """The k-th request about `record` (k = 0, 1, …), or why there is none; a pure function of its arguments."""
        ...


class Generator(Asking, Protocol):
    """A generator that asks once about each variant."""

    def read(self, record: Row, reply: Reply) -> Row | Rejected:
        """The variant that `reply` holds, or why it holds none. A bad answer is data, not an exception.

        Whatever id the returned row has is replaced by one of its own.
        """
        ...


class Stepping(Asking, Protocol):
    """A generator that may ask in several steps, each after the replies to the one before; `ask` is the first.

    One that needs more than the reply to read it (its place among the variants, the exemplars) is of this kind too.

    A reply that failed or was cut off ends a candidate where it is. Both are pure functions of their arguments, called
    again whenever a row is read.
    """

    def then(
        self, record: Row, k: int, exemplars: Sequence[Row], replies: Sequence[Reply]
    ) -> tuple[Request, ...] | Rejected:
        """What is asked next, all at once, after the `replies` to everything before, in order; (): nothing more."""
        ...

    def conclude(self, record: Row, k: int, exemplars: Sequence[Row], replies: Sequence[Reply]) -> Row | Rejected:
        """The variant that the replies hold, once `then` asks nothing more, or why they hold none."""
        ...


class SelfAnswering(Generator, Protocol):
    """A generator that needs no engine: it answers its own requests, deterministically."""

    version: ClassVar[str]

    def answer(self, request: Request) -> Reply:
        """The reply to a request made by this generator's own `ask`."""
        ...


class Picturing(Generator, Protocol):
    """A generator of pictures, or of pairs of a picture and a caption.

    `modalities` are "image" and "paired", one or both: which verbs know it. `kind` is the `Drawing.kind` that it asks
    an engine for, "" where it answers itself or asks for words alone. `looks_at` says what `exemplars` are: "" none,
    "partner" one other seed, drawn anew for each variant, "corpus" some fixed seeds, the same for every record.
    `keeps_label` is false where what is drawn may no longer be what the label says, so that it has to be checked.

    `ask` of one that draws has `drawing` set, of one that answers itself `settings`, of one that asks for words
    alone neither. Fields called `size`, `steps`, `guidance` and `subjects` are filled from the recipe; every other
    field is a setting (`--set img2img.strengths=[0.3,0.5]`).
    """

    modalities: ClassVar[tuple[str, ...]]
    kind: ClassVar[str]
    looks_at: ClassVar[str]
    keeps_label: ClassVar[bool]


class Drafting(Picturing, Protocol):
    """A generator of pictures for which an LLM first writes: scenes, an edited caption. `needs_llm`: it must."""

    needs_llm: ClassVar[bool]

    def draft(self, record: Row, k: int, exemplars: Sequence[Row]) -> Request | Rejected | None:
        """What to ask the LLM, None where it is not needed; equal requests (scenes of a class) are asked once."""
        ...

    def drafted(self, record: Row, k: int, exemplars: Sequence[Row], draft: Reply | None) -> Request | Rejected:
        """The k-th request, with what the LLM wrote; `draft` is None where there is no LLM."""
        ...


def modalities_of(generator: Any) -> tuple[str, ...]:
    """ "text", "image", "paired": the verbs that a generator belongs to."""
    return tuple(getattr(generator, "modalities", ("text",)))


def tasks_of(generator: Any) -> tuple[str, ...]:
    """ "qa", "classification", "pair", "documents": what a generator of text is for."""
    return tuple(getattr(generator, "tasks", ("qa", "pair")))


def steps(generator: Generator) -> TypeGuard[Stepping]:
    """Whether a generator asks in several steps."""
    return hasattr(generator, "then")


def has(name: str, trait: str) -> bool:
    """Whether the generator called `name`, or a part of a chain (`paraphrase+answer`), says `trait = True`."""
    known = TABLE.targets()
    return any(bool(getattr(TABLE.load(part), trait, False)) for part in name.split("+") if part in known)


def drafts(generator: Generator) -> TypeGuard[Drafting]:
    """Whether an LLM, where there is one, writes something before a generator asks."""
    return hasattr(generator, "draft")


def answers_itself(generator: Asking) -> TypeGuard[SelfAnswering]:
    """Whether a generator needs no engine."""
    return hasattr(generator, "answer")
