"""Names to objects: a table of "module:attribute" strings, imported when first asked for.

A newcomer is one file and one table line, or an entry point in a package of its own.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from augment.errors import RecipeError


def closest(name: str, known: list[str]) -> str:
    """A hint naming what exists: the nearest names when there are some, else all of them."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"


@dataclass(frozen=True)
class Table:
    """One kind of plugin: our own entries, and those that other packages declare as entry points."""

    kind: str
    entries: Mapping[str, str]

    def targets(self) -> dict[str, str]:
        """Every known name and its "module:attribute". Our own names win over entry points."""
        found = {point.name: point.value for point in entry_points(group=f"augment.{self.kind}s")}
        return {**found, **self.entries}

    def load(self, name: str) -> Any:
        """The object called `name`.

        Raises:
            RecipeError: no such name; the message offers the nearest ones.
        """
        targets = self.targets()
        if name not in targets:
            raise RecipeError(f"no {self.kind} called '{name}'; {closest(name, sorted(targets))}")
        module, _, attribute = targets[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Every known name with its object, in alphabetical order."""
        for name in sorted(self.targets()):
            yield name, self.load(name)

    def build(self, name: str, settings: Mapping[str, Any]) -> Any:
        """The frozen dataclass called `name`, made with `settings`; the others of its fields keep their defaults.

        Raises:
            RecipeError: no such name, a setting it does not have, or a value that makes no sense.
        """
        from pydantic import TypeAdapter, ValidationError

        kind = self.load(name)
        known = {each.name: str(each.type) for each in dataclasses.fields(kind)}
        for key, value in settings.items():
            if key not in known:
                listed = ", ".join(sorted(known)) or "none"
                raise RecipeError(f"{self.kind} '{name}' has no setting '{key}'; known: {listed}")
            if isinstance(value, float) and not math.isfinite(value):
                raise RecipeError(f"{name}.{key}: {value} is no number to compare with")
            if isinstance(value, bool) and not known[key].startswith("bool"):
                raise RecipeError(f"{name}.{key}: should not be {str(value).lower()}")
        try:
            return TypeAdapter(kind).validate_python(dict(settings))
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(str(part) for part in fault["loc"])
            message = fault["msg"][:1].lower() + fault["msg"][1:]
            raise RecipeError(f"{name}.{key}: {message} (got {fault['input']!r})") from None

    def summaries(self) -> Iterator[tuple[str, str]]:
        """Each name with the first line of its docstring, in alphabetical order."""
        for name, each in self.items():
            yield name, (inspect.getdoc(each) or "").partition("\n")[0]
