"""Pictures made again from the recipes in their own files, and compared pixel by pixel.

Generators that need no engine draw the same everywhere; an engine draws the same with the same weights, batch, data
type and versions, and otherwise within a rounding: a difference of 1 of 255 is told, and is no fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from augment import __version__, generators
from augment.engines import Engine, open_engine
from augment.errors import AugmentError, RunError
from augment.generators import answers_itself
from augment.images.pictures import Unreadable, decode
from augment.images.stamp import recipe_of
from augment.records import Drawing, Reply, Request
from augment.verify.checks import Check, counted
from augment.verify.inputs import Inputs
from augment.verify.pictures import Hung, hung

USUAL = 200
"""Pictures that are made again where the user does not say how many: of those that need no engine."""
ROUNDING = 1
"""Of 255: what another batch size or another machine may change."""

RECIPE = ("generator", "variant", "parent", "engine", "model", "revision", "template", "seed", "key", "params")


@dataclass
class Count:
    """How pictures compare with what they were made again as."""

    identical: int = 0
    rounded: int = 0
    different: int = 0
    impossible: int = 0
    worst: int = 0

    @property
    def whole(self) -> int:
        """All that were tried."""
        return self.identical + self.rounded + self.different + self.impossible


def check_redrawn(run: Path, manifest: Mapping[str, Any], most: int | None) -> tuple[Check, tuple[str, ...]]:
    """Make pictures of the run again, `most` of them (-1: all; None: some of those that need no engine).

    A picture that cannot be made again, because what it was made of is gone, is a fault where the user asks for it.

    Raises:
        AugmentError: an engine is needed, and cannot be opened.
    """
    found, count = Check("redrawn"), Count()
    try:
        rows = [row for row in hung(run) if row.drawn]
    except RunError as error:
        found.blame("curated/train.parquet", str(error))
        found.said = "the rows cannot be read, so nothing was made again"
        return found, ()
    chosen = [row for row in rows if most is not None or _alone(row)]
    left_out = len(rows) - len(chosen)
    limit = USUAL if most is None else most
    if 0 <= limit < len(chosen):  # ids are hashes: the smallest are a fair sample, the same each time
        chosen = sorted(chosen, key=lambda row: row.id)[:limit]
    inputs, blamed = Inputs(run), most is not None
    asked: list[tuple[Hung, Request]] = []
    for row in chosen:
        try:
            request = request_of(run / "curated" / row.image)
        except Unreadable as error:
            _impossible(found, count, row, str(error))
            continue
        try:
            inputs.provide(request)
            asked.append((row, request))
        except Unreadable as error:
            _impossible(found, count, row, str(error), blamed)
    engine = _engine(manifest, [request for _, request in asked])
    for row, reply in _answers(asked, engine):
        _compare(found, count, row, run / "curated" / row.image, reply, blamed)
    found.counts = {**vars(count), "not_tried": len(rows) - count.whole}
    found.said = _said(count, len(rows), left_out)
    return found, tuple(_differences(manifest, engine)) if count.whole else ()


def request_of(path: Path) -> Request:
    """What was asked for a published picture, by the recipe in its file.

    Raises:
        Unreadable: there is none, or it leads to another picture.
    """
    try:
        recipe, _ = recipe_of(path.read_bytes())
        if not isinstance(recipe, dict) or not set(RECIPE) <= recipe.keys():
            raise Unreadable("it carries no recipe")
        params = recipe["params"]
        drawing = _drawing(params) if not answers_itself(generators.TABLE.load(recipe["generator"])) else None
        request = Request(
            record=recipe["parent"],
            generator=recipe["generator"],
            k=recipe["variant"],
            messages=(),
            template=recipe["template"],
            seed=recipe["seed"],
            engine=recipe["engine"],
            model=recipe["model"],
            revision=recipe["revision"],
            drawing=drawing,
            settings=None if drawing else params,
            pictures=tuple(recipe.get("pictures", ())),
        )
    except (OSError, SyntaxError, ValueError, TypeError, AugmentError) as error:
        raise Unreadable(f"its recipe cannot be read ({error})") from None
    if request.key != recipe["key"]:
        raise Unreadable("its recipe is not the one that its key names")
    return request


def _drawing(params: Mapping[str, Any]) -> Drawing:
    told: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in params.items()}
    return Drawing(**told)


def _alone(row: Hung) -> bool:
    """Whether a picture was made without an engine."""
    try:
        return answers_itself(generators.TABLE.load(row.generator))
    except AugmentError:  # a generator of a package that is not here
        return False


def _engine(manifest: Mapping[str, Any], requests: Sequence[Request]) -> Engine | None:
    """The engine that drew, as the manifest tells; None where none of these needs it.

    Raises:
        AugmentError: it cannot be opened, or the manifest holds no recipe.
    """
    from augment.engines import EngineOptions
    from augment.recipe import ImageRecipe, read_recipe

    if all(request.drawing is None for request in requests):
        return None
    made_with = manifest.get("made_with") or {}
    same = {name: made_with[name] for name in ("batch", "dtype") if made_with.get(name) is not None}
    recipe = read_recipe({**(manifest.get("recipe") or {}), **same}, modality=str(manifest.get("modality")))
    if not isinstance(recipe, ImageRecipe) or recipe.engine is None:
        raise RunError("the manifest names no engine that drew; make the run again")
    options = dataclasses.replace(EngineOptions.drawing(recipe), accept_licence=True)  # no row is made
    return open_engine(recipe.engine, options, "--engine")


def _answers(asked: Iterable[tuple[Hung, Request]], engine: Engine | None) -> Iterator[tuple[Hung, Reply]]:
    """Every picture's row with what it is made again as."""
    drawn: dict[str, list[tuple[Hung, Request]]] = {}
    for row, request in asked:
        if request.drawing is not None:
            drawn.setdefault(request.key, []).append((row, request))
            continue
        generator = generators.TABLE.build(request.generator, {})
        if generator.version != request.model:
            why = f"other version: {request.generator} {request.model} drew it, and {generator.version} is here"
            yield row, Reply(request.key, "", error=why)
        else:
            yield row, _followed(generator, request)
    if engine is None:
        return
    ready = []
    for rows in drawn.values():
        row, request = rows[0]
        who = (engine.name, engine.model, engine.revision)
        if who != (request.engine, request.model, request.revision):
            told = " ".join(filter(None, (request.engine, request.model, request.revision)))
            why = f"other model: {told} drew it, and {' '.join(filter(None, who))} is here"
            for row, _ in rows:
                yield row, Reply(request.key, "", error=why)
        else:
            ready.append(request)
    for reply in engine.generate(ready):
        for row, _ in drawn[reply.key]:
            yield row, reply


def _followed(generator: Any, request: Request) -> Reply:
    """What a generator that needs no engine makes of a recipe; whoever wrote the file may have written anything."""
    try:
        reply: Reply = generator.answer(request)
    except (AugmentError, KeyError, IndexError, TypeError, ValueError, ArithmeticError, MemoryError) as error:
        return Reply(request.key, "", error=f"its recipe cannot be followed ({type(error).__name__}: {error})")
    return reply


def _compare(found: Check, count: Count, row: Hung, path: Path, reply: Reply, blamed: bool) -> None:
    import numpy as np

    try:
        if reply.error is not None or not reply.picture:
            raise Unreadable(reply.error or f"ended by {reply.finish}")
        again, here = decode(reply.picture), decode(path.read_bytes())
    except (Unreadable, OSError) as error:
        _impossible(found, count, row, str(error), blamed)
        return
    if again.size != here.size:
        count.different += 1
        found.blame(f"{row.id}.png", f"is {here.width} × {here.height}, and is made {again.width} × {again.height}")
        return
    apart = np.abs(np.asarray(again, np.int16) - np.asarray(here, np.int16))
    most_apart = int(apart.max())
    count.worst = max(count.worst, most_apart)
    if most_apart == 0:
        count.identical += 1
    elif most_apart <= ROUNDING:
        count.rounded += 1
    else:
        count.different += 1
        places = int((apart.max(axis=2) > ROUNDING).sum())
        found.blame(f"{row.id}.png", f"differs by up to {most_apart}/255, in {counted(places, 'pixel')}")


def _impossible(found: Check, count: Count, row: Hung, why: str, blamed: bool = True) -> None:
    """Count a picture that cannot be made again, and blame it for that or not."""
    count.impossible += 1
    if blamed:
        found.blame(f"{row.id}.png", f"cannot be made again: {why}")


def _said(count: Count, rows: int, left_out: int) -> str:
    if not rows:
        return "no picture of this run was generated"
    parts = [f"{count.identical:,} identical"]
    parts += [f"{count.rounded:,} within 1/255"] if count.rounded else []
    parts += [f"{count.different:,} different (by up to {count.worst}/255)"] if count.different else []
    parts += [f"{count.impossible:,} cannot be made again"] if count.impossible else []
    told = f"{count.whole:,} of {counted(rows, 'generated picture')} made again: {', '.join(parts)}"
    if not count.whole:
        told = f"none of {counted(rows, 'generated picture')} made again"
    return told + (f"; {left_out:,} need their model (--redraw all)" if left_out else "")


def _differences(manifest: Mapping[str, Any], engine: Engine | None) -> Iterator[str]:
    """In one line, what made the pictures and is another here."""
    made_with = manifest.get("made_with") or {}
    environment = getattr(engine, "environment", None)
    here: dict[str, Any] = {"pillow": version("pillow"), "numpy": version("numpy")}
    here |= environment() if environment else {}
    pairs = [("augment", manifest.get("augment"), __version__)]
    pairs += [(name, made_with.get(name), now) for name, now in here.items()]
    other = [f"{name} {then}, here {now}" for name, then, now in pairs if then != now]
    if other:
        yield f"made with {'; '.join(other)}: pixels may differ"
