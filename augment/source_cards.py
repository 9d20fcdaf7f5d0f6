"""Source cards: a TOML file that says where a source's files are and what their columns mean.

Ours are in `data/sources` and called by name; a user's own is called by its path.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from augment.errors import SourceError
from augment.places import data_dir
from augment.registry import closest


class Card(BaseModel):
    """A source card: `data/sources/NAME.toml`, or a TOML file of the user's. Paths are relative to the card.

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


def is_own(name: str) -> bool:
    """Whether `name` is the path of a card of the user's."""
    return name.lower().endswith(".toml")


def is_card(name: str) -> bool:
    """Whether a source is told by a card: one of ours by its name, or the user's by its path."""
    return is_own(name) or name in card_names()


def card_path(name: str) -> Path:
    """The file of the card called `name`; what it names is relative to that file's folder."""
    return Path(name) if is_own(name) else data_dir() / "sources" / f"{name}.toml"


def read_card(name: str) -> Card:
    """The card called `name`, or in the TOML file `name`.

    Raises:
        SourceError: no such card, or one that does not validate.
    """
    path = card_path(name)
    if not path.is_file():
        if is_own(name):
            raise SourceError(f"no source card {path}; check the path")
        raise SourceError(
            f"no source called '{name}'; {closest(name, card_names())}; "
            "or give a file, a folder, or a Hugging Face dataset id (owner/name)"
        )
    try:
        card = Card.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceError(f"source card {path} is not valid: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise SourceError(f"source card {path} is not valid: {place}: {fault['msg'].lower()}") from None
    if not (card.folder or card.files or card.hub or card.directory_env):
        raise SourceError(f"source card {path} names no rows; give it files, a folder of pictures, or a hub id")
    return card
