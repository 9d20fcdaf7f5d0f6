"""The filters: each scores rows, then says which to drop. One file each, one line in `TABLE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import polars as pl

from augment.registry import Table
from filters.spread import Here, Spread

TABLE = Table(
    "filter",
    {
        "blank": "filters.pictures.blank:Blank",
        "caption_match": "filters.pictures.caption_match:CaptionMatch",
        "class_balance": "filters.pictures.class_balance:ClassBalance",
        "cluster": "filters.cluster:Cluster",
        "consistency": "filters.consistency:Consistency",
        "contamination": "filters.contamination:Contamination",
        "coverage": "filters.coverage:Coverage",
        "diversity": "filters.diversity:Diversity",
        "encoding_damage": "filters.encoding_damage:EncodingDamage",
        "exact_dup": "filters.exact_dup:ExactDup",
        "exam_image": "filters.pictures.exam_image:ExamImage",
        "facts": "filters.facts:Facts",
        "grounded": "filters.grounded:Grounded",
        "image_band": "filters.pictures.image_band:ImageBand",
        "image_dup": "filters.pictures.image_dup:ImageDup",
        "judge": "filters.judge:Judge",
        "label_check": "filters.pictures.label_check:LabelCheck",
        "label_kept": "filters.label_kept:LabelKept",
        "language": "filters.language:Language",
        "length": "filters.length:Length",
        "near_dup": "filters.near_dup:NearDup",
        "outside_mask": "filters.pictures.outside_mask:OutsideMask",
        "perplexity": "filters.perplexity:Perplexity",
        "pii": "filters.pii:Pii",
        "refusal": "filters.refusal:Refusal",
        "repetition": "filters.repetition:Repetition",
        "reward": "filters.reward:Reward",
        "secrets": "filters.secrets:Secrets",
        "semantic_dup": "filters.semantic_dup:SemanticDup",
        "sharpness": "filters.pictures.sharpness:Sharpness",
        "similarity": "filters.similarity:Similarity",
        "special_chars": "filters.special_chars:SpecialChars",
        "top_k": "filters.top_k:TopK",
        "unsafe": "filters.unsafe:Unsafe",
        "unsafe_image": "filters.pictures.unsafe_image:UnsafeImage",
    },
)
DEFAULT = (
    "pii",
    "secrets",
    "length",
    "encoding_damage",
    "special_chars",
    "language",
    "repetition",
    "refusal",
    "unsafe",
    "facts",
    "similarity",
    "contamination",
    "exact_dup",
    "near_dup",
)
"""The default chain of texts: cheap row filters first, then those that look at the whole corpus. Those that look for
leaks come before all: such a row is named for that, whatever else is wrong with it, and a page withholds its text."""

_WORDS = ("pii", "secrets")
_PICTURES = (
    "blank",
    "unsafe_image",
    "exam_image",
    "image_dup",
    "sharpness",
    "image_band",
    "outside_mask",
    "label_check",
)
DEFAULTS = {"text": DEFAULT, "image": (*_WORDS, *_PICTURES), "paired": (*_WORDS, *_PICTURES, "caption_match")}
"""The default chain of each modality. A filter that only does something with a model (`only_when_set`) is left out
until it has settings."""


@dataclass
class Context:
    """What a filter may look at besides the rows it scores.

    `seeds` are the source rows that are augmented and `exam` those held out (columns id, prompt, response,
    label; of pictures all of `augment.records.SCHEMA` and `PICTURE`); `adds_facts` names the generators whose variants
    may state new numbers, `keeps_label` those after which a picture is still what its label says, `makes_new` those
    that make new examples, whose rows count as rows without a parent, `flips` those whose variants say something else
    in nearly the parent's words, and so are no duplicates of it. `memory` is where a
    corpus filter keeps its index from one batch to the next, under its own name, and `spread` maps the work of models
    over batches: in this process, or over workers (`augment.executors.spreading`).
    """

    seeds: pl.DataFrame
    exam: pl.DataFrame
    adds_facts: frozenset[str] = frozenset()
    keeps_label: frozenset[str] = frozenset()
    makes_new: frozenset[str] = frozenset()
    flips: frozenset[str] = frozenset()
    memory: dict[str, Any] = field(default_factory=dict)
    spread: Spread = field(default_factory=Here)


COSTS = ("row", "corpus", "model", "selection")
"""What a filter costs and looks at, in the order in which a chain applies them: each row by itself, cheaply; rows
beside earlier ones; an LLM or another model; all rows that every other filter left, once."""


class Filter(Protocol):
    """A frozen dataclass of settings: scores first, verdict second.

    `cost` is one of `COSTS`; a filter without one is taken for "corpus". `limits` says of score columns by which
    settings the verdict judges them: {"length_prompt": (">= min_prompt", "<= max_prompt")}, or a setting's name
    alone where it is a switch. Settings named there are read by `verdict` only (of a corpus filter they also decide
    which rows count as kept); all others change scores and never the verdict. So a chain with other limits is decided
    anew without being scored anew. A filter may have a `check()` that raises RecipeError for settings that do not go
    together; it is called when a chain is made. One whose scores depend on the exam says `reads_exam = True`, one that
    compares rows with the seeds as a whole (not with their own parents) `reads_seeds = True`: beside another exam or
    other seeds, rows are scored anew, and so they are when the filter's code changed (`filters.made_with`).

    The frame has the dataset's columns (`augment.records.SCHEMA`) and these working columns, which are not
    published:

    * `parent_prompt`, `parent_response`: the parent's texts, null for a row without a parent;
    * `changed_fields`: "prompt", "response" or "prompt+response", whichever differ from the parent's, and ""
      when none does; a row without a parent has those of its fields that are not null;
    * `changed`, `parent_changed`: the text of those fields and the parent's text of the same fields, joined
      by a newline ("" when nothing changed; `parent_changed` null without a parent); of a row with a conversation
      (`messages`) followed by what is said between the prompt and the response.

    A frame of pictures has the columns of `augment.records.PICTURE` too, and `parent_image`, `parent_mask`,
    `parent_label`, `parent_caption`, null for a row without a parent among the seeds. Pictures and masks are names in
    the picture store (`augment.images.store`).

    `modalities` are "text", "image", "paired", those that it is for; a filter without them is for text.
    """

    name: ClassVar[str]
    cost: ClassVar[str]
    limits: ClassVar[dict[str, tuple[str, ...]]]
    scores: ClassVar[dict[str, Any]]  # the columns that `score` adds, called NAME_something, with types

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """The same rows in the same order with the columns of `scores` added.

        A row filter gets all rows, also those that another row filter drops: it is cheap, and tells all that is
        wrong with a row. A corpus filter gets the rows that earlier filters kept, in order, batch after batch, and
        compares each only with seeds and earlier rows that it kept itself. A model filter gets what is left then; a
        selection filter all that is left in the end, in one frame with every score.
        """
        ...

    def verdict(self) -> pl.Expr:
        """Over the score columns: why to drop the row, one of a few fixed phrases; null keeps it."""
        ...


def cost_of(filter: Any) -> str:
    """One of `COSTS`."""
    return str(getattr(filter, "cost", "corpus"))


def limits_of(filter: Any) -> dict[str, tuple[str, ...]]:
    """The bounds of a filter's scores, by score column."""
    return dict(getattr(filter, "limits", {}))


def modalities_of(filter: Any) -> tuple[str, ...]:
    """ "text", "image", "paired": what a filter is for."""
    return tuple(getattr(filter, "modalities", ("text",)))
