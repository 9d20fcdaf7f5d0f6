"""Source cards: a TOML file that says where a source's files are and what their columns mean."""

from __future__ import annotations

import tomllib
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from augment.errors import SourceError
from augment.places import data_dir
from augment.registry import closest


class Card(BaseModel):
    """A source card: `data/sources/NAME.toml`. Paths are relative to the card.

    A card of modality image names a `folder` of pictures, or `files` that are tables or archives of them.
    """

    model_config = ConfigDict(extra="forbid")

    title: str = ""
    description: str = ""
    licence: str = "unknown"
    licence_note: str = ""
    citation: str = ""
    languages: list[str] = []
    holdout: float = 0.0
    modality: Literal["text", "image"] = "text"
    folder: str = ""
    files: list[str] = []
    hub: str = ""
    hub_files: list[str] = []
    directory_env: str = ""
    columns: dict[str, str] = {}
    file_values: dict[str, dict[str, str]] = {}


def card_names() -> list[str]:
    """The names of the bundled cards."""
    return sorted(path.stem for path in (data_dir() / "sources").glob("*.toml"))


def read_card(name: str) -> Card:
    """The card called `name`.

    Raises:
        SourceError: no such card, or one that does not validate.
    """
    path = data_dir() / "sources" / f"{name}.toml"
    if not path.is_file():
        raise SourceError(
            f"no source called '{name}'; {closest(name, card_names())}; "
            "or give a file, a folder, or a Hugging Face dataset id (owner/name)"
        )
    try:
        return Card.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise SourceError(f"source card {path} is not valid: {error}") from None
