"""The model table, `data/models.toml`: what a model's licence says of its outputs, and the gate before its use."""

from __future__ import annotations

import fnmatch
import tomllib
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.errors import EngineError
from augment.places import data_dir


class Entry(BaseModel):
    """A model that we know of, `[[model]]` in the table.

    `name` is its `owner/name`, a pattern as of a shell, in lower case; `pipeline` the class that diffusers has for it;
    `outputs_may_train` says whether its licence lets others be trained on what it draws. `steps` and `guidance` are
    what it is drawn with where nobody says; without them, what diffusers has for each of its pipelines.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[^A-Z]+$")
    pipeline: str = ""
    kinds: tuple[str, ...] = ()
    licence: str
    outputs_may_train: Literal["yes", "no", "unclear"]
    steps: int | None = None
    guidance: float | None = None
    note: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: list[Entry]


@cache
def table() -> tuple[Entry, ...]:
    """Every model that we know of.

    Raises:
        EngineError: the table does not validate.
    """
    path = data_dir() / "models.toml"
    try:
        return tuple(_File.model_validate(tomllib.loads(path.read_text("utf-8"))).model)
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise EngineError(f"the model table {path} is not valid: {error}") from None


def entry_of(name: str) -> Entry | None:
    """What we know of the model `owner/name`; None of a folder, whose name says nothing of what is in it."""
    return next((each for each in table() if fnmatch.fnmatchcase(name.lower(), each.name)), None)


def gate(name: str, accepted: bool, folder: bool = False) -> None:
    """Lets through a model whose outputs may train others; any other only where the user has read its terms.

    A `folder` may be called as it likes: its name opens nothing.

    Raises:
        EngineError: its licence forbids it, is unclear about it, or is not known to us, and nothing was accepted.
    """
    entry = None if folder else entry_of(name)
    if accepted or (entry is not None and entry.outputs_may_train == "yes"):
        return
    if entry is None:
        why = "is not in the model table: its licence is unknown, and whether others may be trained on what it draws"
    elif entry.outputs_may_train == "no":
        why = f"is under {entry.licence}, which does not let others be trained on what it draws"
    else:
        why = f"is under {entry.licence}; whether others may be trained on what it draws is unclear"
        why += f" ({entry.note})" if entry.note else ""
    raise EngineError(f"{name} {why}; read its terms, then give --accept-licence")
