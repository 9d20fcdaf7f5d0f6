"""Rows of text made again: by generators that answer themselves, by echo, and by reading the replies of LLMs anew.

A row is right when what it is asked for is asked under its reply keys, and what its generator reads out of the answers
is the row. Where the reply store lacks an answer, or a generator's words are others today, that is told, no fault.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import orjson
import polars as pl

from augment.asking import Seeds, exemplars
from augment.engines.echo import Echo
from augment.errors import AugmentError, RunError
from augment.generators import Generator, answers_itself, steps
from augment.places import home
from augment.plan import addressed
from augment.recipe import Recipe, read_recipe
from augment.records import CONTENT, FINISHED, WRITTEN, Rejected, Reply, Request, Row, made_id
from augment.replies import ReplyStore
from augment.resolved import generators_of
from augment.verify.checks import Check, counted
from augment.verify.seeds import Known


class Uncheckable(Exception):
    """Why a row cannot be made again here."""


class Different(Exception):
    """In what a row is not what it is made again as."""


@dataclasses.dataclass
class Maker:
    """Makes rows again: the recipe's generators by name, the seeds, and the reply store if there is one."""

    recipe: Recipe
    generators: Mapping[str, Generator]
    known: Known
    store: ReplyStore | None
    echo: Echo = dataclasses.field(default_factory=Echo)

    def __post_init__(self) -> None:
        self.seeds = Seeds.of(self.known.frame, ringed=True)
        self._at = {id: at for at, id in enumerate(self.known.frame["id"].to_list())}

    def check(self, row: Mapping[str, Any]) -> None:
        """Make a row again and compare.

        Raises:
            Uncheckable, Different: as they say.
        """
        generator = self.generators.get(row["generator"] or "")
        if row.get("edited_from"):
            raise Uncheckable("edited by a reviewer")
        if generator is None:
            raise Uncheckable(f"the recipe has no generator '{row['generator']}'")
        at = self._at.get(next(iter(row["parents"] or ()), ""))
        if at is None:
            raise Uncheckable("the seed that it was made of is not in the run")
        record = self.seeds.record(at)
        if answers_itself(generator) and row["model"] != generator.version:
            raise Uncheckable(f"made by another version of {generator.name}")
        made = self._made(generator, record, row)
        if isinstance(made, Rejected):
            raise Different(f"is no row when it is made again: {made.reason}")
        self._compare(record, made, row)

    def _made(self, generator: Generator, record: Row, row: Mapping[str, Any]) -> Row | Rejected:
        """What the generator makes of the record; by the row's own replies where nobody knows what else it saw."""
        keys = [*_steps_of(row), row["reply_key"]]
        looks = getattr(generator, "looks_at", "")
        if looks and not self.known.whole:
            if steps(generator) or looks == "partner":
                raise Uncheckable("it was made beside other seeds, and not all of these are known")
            return generator.read(record, self._whole(self._stored(keys[0])))
        k = row["variant"]
        seen = exemplars(self.seeds, record, generator, k)
        asked = generator.ask(record, k, seen)
        templates: list[str] = []
        replies: list[Reply] = []
        batch: Sequence[Request] | Rejected = asked if isinstance(asked, Rejected) else (asked,)
        while not isinstance(batch, Rejected) and batch:
            for each in batch:
                request = addressed(self.recipe, generator, each, (row["engine"], row["model"], row["revision"] or ""))
                templates.append(request.template)
                self._same_key(request, keys, len(replies), templates, row)
                replies.append(self._whole(self._answer(generator, request)))
            if not steps(generator):
                return generator.read(record, replies[0])
            batch = generator.then(record, k, seen, replies)
        if isinstance(batch, Rejected):
            return batch
        if len(replies) != len(keys):
            raise Different(f"has {counted(len(keys), 'reply key')}, and is asked for in {len(replies)}")
        assert steps(generator)
        return generator.conclude(record, k, seen, replies)

    def _same_key(
        self, request: Request, keys: list[str], at: int, templates: list[str], row: Mapping[str, Any]
    ) -> None:
        if at < len(keys) and request.key == keys[at]:
            return
        told = str(row["template"]).split(" > ")
        if any(each not in told for each in templates):
            raise Uncheckable(f"asked for in other words than {'>'.join(told)} today")
        raise Different("its reply key is not that of what it is asked for with")

    def _answer(self, generator: Generator, request: Request) -> Reply:
        if answers_itself(generator):
            return generator.answer(request)
        if request.engine == Echo.name and request.model == self.echo.model:
            return next(iter(self.echo.generate([request])))
        return self._stored(request.key)

    def _stored(self, key: str) -> Reply:
        try:
            found = self.store.asked(key) if self.store else None
        except (RunError, orjson.JSONDecodeError):
            raise Uncheckable("the reply store cannot be read") from None
        if found is None:
            raise Uncheckable("its reply is not in the reply store")
        return found[1]

    def _whole(self, reply: Reply) -> Reply:
        if reply.error is not None or reply.finish not in FINISHED:
            raise Different("is no row when it is made again: its reply is not whole")
        return reply

    def _compare(self, record: Row, made: Row, row: Mapping[str, Any]) -> None:
        told = {name: getattr(made, name) for name in (*CONTENT, *(name for name in WRITTEN if name in row))}
        apart = [name for name, value in told.items() if row[name] != value]
        if [record.id, *made.partners] != list(row["parents"]):
            apart.append("parents")
        if made_id(record, row["generator"], row["variant"], made) != row["id"]:
            apart.append("id")
        if apart:
            raise Different(f"is made again with another {' and another '.join(apart)}")


def check_rows(manifest: Mapping[str, Any], rows: pl.DataFrame, known: Known) -> Check:
    """Make every generated row again that can be, and name those that come out different."""
    found = Check("rows")
    made = rows.filter(pl.col("generator") != "seed")
    why: Counter[str] = Counter()
    identical = 0
    twice = rows.filter(pl.col("id").is_duplicated())["id"].unique(maintain_order=True)
    with ExitStack() as stack:
        maker: Maker | None = None
        try:
            maker = _maker(manifest, known, stack)
        except AugmentError as error:
            why[" ".join(str(error).split())] = len(made)
        for row in made.iter_rows(named=True) if maker else ():
            assert maker is not None
            try:
                maker.check(row)
                identical += 1
            except Different as error:
                found.blame(str(row["id"]), str(error))
            except Uncheckable as error:
                why[str(error)] += 1
            except (AugmentError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                # a tampered column may hold anything, and a generator trusts what it asked itself
                found.blame(str(row["id"]), f"cannot be read as a row of {row['generator']} ({type(error).__name__})")
    different, left = len(found.faults), sum(why.values())
    for id in twice:
        found.blame(str(id), "is there more than once")
    found.counts = {"rows": len(made), "checked": len(made) - left, "identical": identical} | {
        "different": different,
        "not_checkable": left,
    }
    found.said = f"{len(made) - left:,} of {counted(len(made), 'generated row')} made again: {identical:,} identical"
    found.said += f", {different:,} different" if different else ""
    if left:
        found.said += "; not checkable here: " + ", ".join(f"{count:,} ({each})" for each, count in why.most_common(5))
    return found


def _maker(manifest: Mapping[str, Any], known: Known, stack: ExitStack) -> Maker:
    """Raises AugmentError where the recipe cannot be read, or a generator of it is not here."""
    recipe = read_recipe({**(manifest.get("recipe") or {})}, modality="text")
    named = {each.name: each for each in generators_of(recipe)}
    path = home() / "replies.sqlite"
    store = None
    if path.is_file():
        try:
            store = stack.enter_context(ReplyStore(path))
        except RunError:
            store = None
    return Maker(recipe, named, known, store)


def _steps_of(row: Mapping[str, Any]) -> list[str]:
    try:
        told = orjson.loads(row["params"] or "{}")
        return [str(each) for each in told.get("steps", ())]
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        raise Different("has parameters that are no JSON object") from None
