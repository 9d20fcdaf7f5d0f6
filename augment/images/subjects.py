"""A subject that `augment subject` taught a diffusion model: its folder, its token, and the class that it is of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from augment.errors import RecipeError

CARD = "subject.json"
WEIGHTS = {"dreambooth-lora": "pytorch_lora_weights.safetensors", "textual-inversion": "learned_embeds.safetensors"}
"""The methods, and the file that each writes: names that diffusers loads."""


@dataclass(frozen=True, slots=True)
class Subject:
    """`token` stands for it in a prompt ("sks"), `noun` is what it is ("dog"), `label` the class of its rows if it has
    one; `digest` is over the weights' bytes and names them in `Drawing.adapters`."""

    digest: str
    folder: Path
    method: str
    token: str
    noun: str
    label: str | None = None

    @property
    def name(self) -> str:
        """How a prompt calls it: "sks dog" (DreamBooth), or the learned token alone."""
        return f"{self.token} {self.noun}" if self.method == "dreambooth-lora" else self.token


def read_subjects(folders: Sequence[Path]) -> tuple[Subject, ...]:
    """The subjects in folders that `augment subject` wrote.

    Raises:
        RecipeError: a folder holds none.
    """
    return tuple(read_subject(each) for each in folders)


def read_subject(folder: Path) -> Subject:
    """The subject in one folder.

    Raises:
        RecipeError: it holds none, or a broken one.
    """
    try:
        card = orjson.loads((folder / CARD).read_bytes())
        weights = folder / WEIGHTS[card["method"]]
        digest = hashlib.blake2b(weights.read_bytes(), digest_size=16).hexdigest()
        return Subject(digest, folder, card["method"], card["token"], card["noun"], card.get("label"))
    except (OSError, KeyError, TypeError, orjson.JSONDecodeError):
        raise RecipeError(f"{folder} holds no subject (no whole {CARD}); make one with augment subject") from None
