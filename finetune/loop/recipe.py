"""What the user wrote about a loop: a table for each stage, with the keys of that stage's own verb."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from augment.errors import RecipeError
from augment.recipe import ImageRecipe, Model, PairedRecipe, Recipe, read_keys, share
from augment.tables import one_line
from finetune.evaluation.floor import BESIDE
from finetune.evaluation.recipe import EvaluationRecipe
from finetune.pretrain.recipe import PretrainRecipe
from finetune.recipe import FinetuneRecipe, read_finetune_recipe

BASE = "{base}"
"""Stands in any table for the folder of the base that `[pretrain]` makes."""
LOOPS = Path("loops")
"""Where loops go when the user names no place."""
TAKEN: dict[str, tuple[str, ...]] = {
    "text": ("out", "overwrite", "validation", "n_by_label", "incremental"),
    "image": ("out", "overwrite", "incremental"),
    "paired": ("out", "overwrite", "incremental"),
    "finetune": ("data", "out", "overwrite", "validation", "patience", "map", "task", "name"),
    "adapters": ("data", "out", "overwrite", "validation", "patience", "map", "task", "base", "revision"),
    "evaluate": ("base", "adapter", "answers", "out", "overwrite"),
    "pretrain": (),
}
"""What the loop itself decides in each table."""


class LoopRecipe(BaseModel):
    """A loop, as written: tables with the keys of `augment text`, `image`, `paired`, `finetune` and `evaluate`.

    `validation` is the share of the seeds that nothing is made of and nothing learns, by which the next round is
    steered. `adapters` are the fine-tunings, each with a `name` and what it has of its own beside `finetune`. `seed`
    is that of every table that names none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: Annotated[int, Field(ge=1, le=20)] = 1
    validation: Annotated[float, BeforeValidator(share), Field(ge=0, lt=1)] = 0.1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    pretrain: dict[str, Any] | None = None
    text: dict[str, Any]
    image: dict[str, Any] | None = None
    paired: dict[str, Any] | None = None
    finetune: dict[str, Any] = {}
    adapters: Annotated[list[dict[str, Any]], Field(min_length=1)]
    evaluate: dict[str, Any] = {}
    out: Path | None = None
    name: str | None = None

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return self.out or LOOPS / (self.name or "loop").replace("/", "-")

    @property
    def base(self) -> str:
        """The base model's name or folder."""
        return str(self._placed(str(self.finetune.get("base") or BASE)))

    def pretraining(self) -> PretrainRecipe | None:
        """How the base is made, where the recipe makes one."""
        if self.pretrain is None:
            return None
        return _read(PretrainRecipe, {"seed": self.seed, **self.pretrain}, "[pretrain]")

    def augmentation(self, out: Path, n_by_label: Mapping[str, str]) -> Recipe:
        """The text augmentation of a round."""
        ours = {"out": out, "overwrite": True, "validation": self.validation, "n_by_label": dict(n_by_label)}
        return _read(Recipe, {"name": self.name, "seed": self.seed, **self._table("text"), **ours}, "[text]")

    def pictures(self, out: Path, modality: str) -> tuple[ImageRecipe, str | None]:
        """The augmentation of images or pairs, and the format that it is exported in."""
        table = self._table(modality)
        format = table.pop("export", None)
        kind = ImageRecipe if modality == "image" else PairedRecipe
        ours = {"out": out, "overwrite": True}
        return _read(kind, {"seed": self.seed, **table, **ours}, f"[{modality}]"), format

    def names(self) -> list[str]:
        """What the adapters are called: their `name`, or else their method's.

        Raises:
            RecipeError: two have one name, or one is no name for a folder.
        """
        shared = str(self.finetune.get("adapter", "lora"))
        found = [str(each.get("name") or each.get("adapter", shared)) for each in self.adapters]
        for name in found:
            if found.count(name) > 1:
                raise RecipeError(f"two [[adapters]] are called '{name}'; give one another  name = …")
            if name.endswith(CONTROL) or {Path(name).name, one_line(name)} != {name} or name.startswith("."):
                raise RecipeError(f"[[adapters]] name '{name}' is no name for a folder of its own; write letters")
            if name in BESIDE or Path(self.base).name in (name, f"{name}{CONTROL}"):
                raise RecipeError(f"[[adapters]] name '{name}': the exam has another one of that name; choose another")
        return found

    def training(self, number: int, data: Path, out: Path, steps: int | None = None) -> FinetuneRecipe:
        """The fine-tuning of an adapter on the rows of `data`; of so many `steps`, where it has to take as many."""
        own = {key: value for key, value in self._table("adapters", number).items() if key != "name"}
        shared = self._table("finetune")
        table: dict[str, Any] = {**shared, **own, "set": {**shared.get("set", {}), **own.get("set", {})}}
        ours: dict[str, Any] = {"data": str(data), "out": out, "overwrite": True, "validation": 0.0, "task": "chat"}
        if steps is not None:
            ours |= {"epochs": float(steps), "max_steps": steps}  # an epoch has a step at least
        with _in(f"[[adapters]] {self.names()[number]}"):
            return read_finetune_recipe({"seed": self.seed, **table, "base": self.base, **ours})

    def evaluation(self, exam: Path | None, adapters: Sequence[Path], out: Path) -> EvaluationRecipe:
        """The exam for base and adapters; `exam` is a file with the rows of the twin, in the place of the recipe's."""
        table = self._table("evaluate")
        ours: dict[str, Any] = {"base": self.base, "adapter": list(adapters), "out": out, "overwrite": False}
        if exam is not None:
            columns = {"prompt": "prompt", "response": "response", "label": "label"}
            whole = {"path": None, "holdout": None, "everything": False, "limit": None}  # all of it: it has each label
            ours |= {"exam": str(exam), "map": columns, **whole}
        return _read(EvaluationRecipe, {"seed": self.seed, **table, **ours}, "[evaluate]")

    def _table(self, name: str, number: int | None = None) -> dict[str, Any]:
        """One table with the base in its place, without what the loop decides.

        Raises:
            RecipeError: it says what the loop decides.
        """
        found = getattr(self, name)
        table: dict[str, Any] = dict(found[number] if number is not None else found or {})
        where = f"[[{name}]]" if number is not None else f"[{name}]"
        if taken := [key for key in TAKEN[name] if key in table]:
            raise RecipeError(f"{where} {taken[0]}: the loop decides that itself; leave it out")
        placed: dict[str, Any] = self._placed(table)
        return placed

    def _placed(self, value: Any) -> Any:
        """A value with the base's folder where it says `{base}`."""
        if isinstance(value, str):
            if BASE in value and self.pretrain is None:
                raise RecipeError(
                    f"a recipe that says {BASE} makes that base itself; add a table [pretrain], or name a model: "
                    '[finetune] base = "Qwen/Qwen3-0.6B"'
                )
            return value.replace(BASE, str(self.folder / "base"))
        if isinstance(value, dict):
            return {key: self._placed(each) for key, each in value.items()}
        return [self._placed(each) for each in value] if isinstance(value, list) else value


def _read(model: type[Model], table: Mapping[str, Any], where: str) -> Model:
    with _in(where):
        return read_keys(model, table, None, "recipe")


@contextmanager
def _in(where: str) -> Iterator[None]:
    """Says in which table it is what is wrong in the block.

    Raises:
        RecipeError: with the table before what is wrong.
    """
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"{where} {error}") from None


CONTROL = "-control"
"""What the name of the adapter that learned the seeds repeated ends in."""


def read_loop_recipe(flags: Mapping[str, Any], file: Path, changes: Sequence[str] = ()) -> LoopRecipe:
    """The recipe in `file`, with `flags` (unset ones are None) and `changes` (`text.n=2x`) over its keys.

    Raises:
        RecipeError: the file is missing or broken, or a key or value is wrong; the key is named.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    if not changes:
        return read_keys(LoopRecipe, given, file, "recipe", "loop")
    written = read_keys(LoopRecipe, given, file, "recipe", "loop").model_dump(exclude_unset=True)
    for each in changes:
        _change(written, each)
    return read_keys(LoopRecipe, written, None, "recipe")


def _change(table: dict[str, Any], change: str) -> None:
    """Put one `text.n=2x`, `rounds=1` or `adapters.0.rank=4` in its place.

    Raises:
        RecipeError: it is none, or there is no such place.
    """
    path, equals, text = change.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set '{change}' is not TABLE.KEY=VALUE, for example text.n=2x")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    place: Any = table
    for key in keys[:-1]:
        if isinstance(place, list):
            if not key.isdigit() or int(key) >= len(place):
                raise RecipeError(f"--set '{change}': there are {len(place)} of these; write 0 to {len(place) - 1}")
            place = place[int(key)]
        elif isinstance(place, dict):
            if place.get(key) is None:
                place[key] = {}
            place = place[key]
    if not isinstance(place, dict):
        raise RecipeError(f"--set '{change}': {'.'.join(keys[:-1])} is no table; write TABLE.KEY=VALUE")
    place[keys[-1]] = value
