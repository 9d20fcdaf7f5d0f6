"""Recipe and source to a Plan: everything resolved, nothing run yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from augment.asking import Ask, Seeds, asks, words
from augment.engines import Engine, EngineOptions, open_engine
from augment.errors import RecipeError
from augment.generators import Asking, Generator, answers_itself, tasks_of
from augment.generators.auto import AUTO, suited
from augment.images.exam import without_exam_pictures
from augment.lineage import Parent, newest
from augment.places import RUNS
from augment.recipe import ImageRecipe, Recipe
from augment.records import CONTENT, PICTURE, REVIEWED, WRITTEN, Reply, Request, fingerprint
from augment.reopen import sources_of
from augment.resolved import resolved
from augment.review.verdicts import Verdicts
from augment.sources import Source
from filters import Context
from filters.chain import Chain

RECORD = ("id", *CONTENT)
"""The columns that make a `Row` of text, in its order; one of pictures has those of `PICTURE` too."""
SHARD, PICTURE_SHARD = 1000, 200
"""Requests in a shard, of text and of pictures: some seconds of an engine's work, and one small file."""


@dataclass(frozen=True)
class Shard:
    """A stretch of one round's requests. `asks` are (record, number of its first candidate, how many).

    `turns` says of each candidate, in order, who makes it and which of its variants that is; () leaves it to the plan.
    """

    round: int
    index: int
    asks: tuple[tuple[int, int, int], ...]
    turns: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        """How many requests it holds."""
        return sum(count for _, _, count in self.asks)


@dataclass(frozen=True)
class Plan:
    """What will be done. `seeds` are the source's rows within `--limit`; targets count variants."""

    recipe: Recipe
    source: Source
    seeds: pl.DataFrame
    exam: pl.DataFrame
    generators: tuple[Generator, ...]
    turns: tuple[int, ...]
    chain: Chain
    engine: Engine | None
    per_seed: int | None
    total: int
    cap: int
    out: Path
    parent: Parent | None = None
    llm: Engine | None = None
    chosen_by_columns: bool = False

    @property
    def modality(self) -> str:
        """ "text", "image" or "paired"."""
        return self.recipe.modality

    @property
    def pictured(self) -> bool:
        """Whether its rows are pictures."""
        return self.modality != "text"

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Everyone who answers: the LLM of a plan of pictures first."""
        return tuple(each for each in (self.llm, self.engine) if each is not None)

    @property
    def made_with(self) -> dict[str, Any]:
        """What besides the requests decides the pixels of a plan of pictures, as its engine tells."""
        environment = getattr(self.engine, "environment", None)
        told: dict[str, Any] = environment() if environment else {}
        return {"pillow": version("pillow"), "numpy": version("numpy"), **told}

    @cached_property
    def records(self) -> Seeds:
        """The seeds as generators see them."""
        columns = [*RECORD, *PICTURE] if self.pictured else list(RECORD)
        return Seeds.of(self.seeds.select(columns), any(getattr(each, "looks_at", "") for each in self.generators))

    @property
    def annotates(self) -> bool:
        """Whether all that is made is labels, for rows that have none."""
        return all(getattr(each, "annotates", False) for each in self.generators)

    @property
    def name(self) -> str:
        """What the run is called: the recipe, or the source."""
        return (self.recipe.name or self.source.name).replace("/", "-")

    @property
    def fingerprint(self) -> str:
        """Identity of the run: the recipe's decisive keys, the source's and the exam's content, who answers."""
        parts = [self._what, self.source.fingerprint, self.exam["id"].to_list(), self._who]
        if self.parent is None:
            return fingerprint(*parts)
        return fingerprint(*parts, self.parent.digest, *([self.verdicts.digest] if self.verdicts else []))

    @property
    def line(self) -> str:
        """Identity of the line of versions: the recipe's decisive keys and who answers, whatever the rows."""
        return fingerprint(self._what, self._who)

    @property
    def content(self) -> str:
        """Identity of the rows that are augmented and held out, in whatever order."""
        return fingerprint(sorted(self.seeds["id"]), sorted(self.exam["id"]))

    @property
    def version(self) -> int:
        """Which version of its line the run will be: 1 when it grows from none."""
        return self.parent.version + 1 if self.parent else 1

    @property
    def nothing_new(self) -> bool:
        """Whether the parent already holds all that this plan would make, as its reviewers want it."""
        return self.parent is not None and self.parent.content == self.content and not self.verdicts.pending

    @property
    def verdicts(self) -> Verdicts:
        """What people decided about the rows that the run grows from."""
        return self.parent.verdicts if self.parent else Verdicts()

    @property
    def content_columns(self) -> dict[str, Any]:
        """What a row has besides the columns of every dataset: of pictures, or what generators of text add."""
        if self.pictured:
            return PICTURE
        added = {name for each in self.generators for name in getattr(each, "adds", ())}
        return {name: kind for name, kind in WRITTEN.items() if name in added}

    @property
    def columns(self) -> dict[str, Any]:
        """What a published row has besides the columns of every dataset: its scores, and marks of its reviewers."""
        return {**self.content_columns, **self.chain.scores, **(REVIEWED if self.verdicts else {})}

    @property
    def _what(self) -> dict[str, Any]:
        return {**self.recipe.decisive(), **({"modality": self.modality} if self.pictured else {})}

    @property
    def _who(self) -> tuple[str, ...] | None:
        told = [part for each in reversed(self.engines) for part in (each.name, each.model, each.revision)]
        return tuple(told) or None

    def context(self) -> Context:
        """What the filters may look at; with a fresh memory."""
        adds = frozenset(each.name for each in self.generators if each.adds_facts)
        keeps = frozenset(each.name for each in self.generators if getattr(each, "keeps_label", True))
        new = frozenset(each.name for each in self.generators if getattr(each, "makes_new", False))
        flips = frozenset(each.name for each in self.generators if getattr(each, "flips", False))
        return Context(seeds=self.seeds, exam=self.exam, adds_facts=adds, keeps_label=keeps, makes_new=new, flips=flips)

    def turn(self, candidate: int) -> tuple[Generator, int]:
        """Who makes a seed's candidate number `candidate`, and which of its own variants that is.

        The order repeats every `len(turns)` candidates, so asking for more never changes the first ones.
        """
        cycles, place = divmod(candidate, len(self.turns))
        which = self.turns[place]
        k = cycles * self.turns.count(which) + self.turns[:place].count(which)
        return self.generators[which], k

    def requests(self, shard: Shard, written: Mapping[str, Reply] | None = None) -> Iterator[Ask]:
        """Each request of the shard with the record it is about and the generator that asks, in order.

        `written` are the replies to the shard's `words`, by key.
        """
        return asks(self, shard, written or {})

    def words(self, shard: Shard) -> Iterator[Request]:
        """What the LLM of a plan of pictures is asked first: nothing where there is none."""
        return words(self, shard)

    def addressed(self, generator: Asking, request: Request) -> Request:
        """The request with the recipe's sampling, addressed to who answers it."""
        who = self.llm if self.pictured and request.drawing is None else self.engine
        return addressed(self.recipe, generator, request, (who.name, who.model, who.revision) if who else None)


def addressed(recipe: Recipe, generator: Asking, request: Request, who: tuple[str, str, str] | None) -> Request:
    """The request with the recipe's sampling, addressed to `who`, (engine, model, revision), or to the generator."""
    changes: dict[str, Any] = {}
    if recipe.temperature is not None:
        changes["temperature"] = recipe.temperature
    if recipe.max_tokens is not None:
        changes["max_tokens"] = recipe.max_tokens
    if answers_itself(generator):
        changes |= {"engine": generator.name, "model": generator.version}
    elif who is not None:
        changes |= dict(zip(("engine", "model", "revision"), who, strict=True))
    return dataclasses.replace(request, **changes)


def open_plan(recipe: Recipe) -> Plan:
    """The plan of a recipe, with its engine open.

    Raises:
        EngineError: the engine cannot be reached or used.
        AugmentError: as `make_plan`.
    """
    llm = open_engine(recipe.llm, EngineOptions.of(recipe)) if recipe.llm else None
    if not isinstance(recipe, ImageRecipe):
        return make_plan(recipe, llm)
    engine = open_engine(recipe.engine, EngineOptions.drawing(recipe), "--engine") if recipe.engine else None
    return make_plan(recipe, engine, llm)


def make_plan(recipe: Recipe, engine: Engine | None, llm: Engine | None = None) -> Plan:
    """Everything a run needs, resolved and checked; `llm` beside `engine` where that draws.

    Seeds that (nearly) repeat an exam row are taken out with the rejected rows (texts by `sources_of`): they would
    carry the exam into the training set, and so would their variants.

    Raises:
        RecipeError: unknown generator, filter or setting, or a generator without what it needs.
        SourceError: the source cannot be read.
        EngineError: the engine draws, and not what a generator asks for.
    """
    opened = None
    if recipe.modality == "text" and recipe.generators == AUTO:
        opened = sources_of(recipe)
        recipe = recipe.model_copy(update={"generators": suited(opened[0].seeds, recipe.llm is not None)})
    weights, chosen, chain = resolved(recipe)
    if all(tasks_of(each) == ("documents",) for each in chosen):  # passages train nobody by themselves
        recipe = recipe.model_copy(update={"without_seeds": True})
    source, exam = opened or sources_of(recipe)
    if recipe.modality != "text":
        source = without_exam_pictures(source, exam)
    seeds = source.seeds.head(recipe.limit) if recipe.limit else source.seeds
    if seeds.is_empty():
        raise RecipeError(f"no seed left in {source.name}: all {source.rows_in} rows are exam or rejected")
    for each in chosen:
        for column in each.needs:
            if seeds[column].null_count() == len(seeds):
                raise RecipeError(f"generator '{each.name}' needs the column '{column}', which {source.name} lacks")
        if (check := getattr(engine, "check", None)) and getattr(each, "kind", ""):
            check(each.kind)  # type: ignore[attr-defined]
        if fits := getattr(each, "fits", None):
            fits(seeds)
        if getattr(each, "looks_at", "") == "partner" and len(seeds) < 2:
            raise RecipeError(f"generator '{each.name}' mixes two rows, and {source.name} has one; give more rows")
    if recipe.allocate == "adaptive" and len(chosen) < 2:
        raise RecipeError(f"--allocate adaptive has nobody to choose from but '{chosen[0].name}'; name more generators")
    if recipe.allocate == "adaptive" and recipe.incremental:
        raise RecipeError("--allocate adaptive learns from a whole run; leave it out with --incremental")
    if recipe.balance is not None and seeds["label"].drop_nulls().n_unique() < 2:
        raise RecipeError(
            f"--balance {recipe.balance}: {source.name} has fewer than two labels; name their column with "
            "--map label=COLUMN, or leave it out"
        )
    per_seed = int(recipe.n[:-1]) if recipe.n.endswith("x") else None
    total = per_seed * len(seeds) if per_seed else int(recipe.n)
    for label, times in recipe.n_by_label.items():
        count = int((seeds["label"] == label).sum() or 0)
        if not count:
            known = ", ".join(sorted(seeds["label"].drop_nulls().unique())[:20]) or "none"
            raise RecipeError(f"--n-by-label {label}: no seed of {source.name} has that label; known: {known}")
        total += count * (int(times[:-1]) - (per_seed or 0))
    share = per_seed or -(-total // len(seeds))
    if annotating := all(getattr(each, "annotates", False) for each in chosen):  # each row without a label once
        total = min(total, seeds["label"].null_count())
        per_seed = 1 if per_seed else None
    plan = Plan(
        recipe=recipe,
        source=source,
        seeds=seeds,
        exam=exam,
        generators=chosen,
        turns=_turns(list(weights.values())),
        chain=chain,
        engine=engine,
        per_seed=per_seed,
        total=total,
        cap=1 if annotating else max(1, round(share * recipe.max_attempts)),
        out=Path(),
        llm=llm,
        chosen_by_columns=opened is not None,
    )
    if recipe.incremental:
        plan = dataclasses.replace(plan, parent=newest(RUNS, plan.line))
    return dataclasses.replace(plan, out=recipe.out or RUNS / f"{plan.name}-{plan.fingerprint[:8]}")


def _turns(weights: Sequence[int]) -> tuple[int, ...]:
    """The generators' positions in the order of their turns: each as often as its weight, evenly spread."""
    places = [((turn + 0.5) / weight, which) for which, weight in enumerate(weights) for turn in range(weight)]
    return tuple(which for _, which in sorted(places))
