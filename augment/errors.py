"""What can go wrong that a user can put right: one line each, printed without a traceback, exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class AugmentError(Exception):
    """Base of every error a user can fix. The message says what, the value, and the fix."""


class SourceError(AugmentError):
    """A source cannot be found, read or mapped to our columns."""


class RecipeError(AugmentError):
    """A flag or a recipe key is unknown or holds a value that makes no sense."""


class EngineError(AugmentError):
    """An engine cannot be reached, or refuses every request (wrong key, wrong model)."""


class RunError(AugmentError):
    """A run folder is held by another process, incomplete, or not one of ours."""


class Interrupted(AugmentError):
    """The user or the system asked to stop; what was answered is kept and the run can go on."""


class BudgetSpent(Interrupted):
    """What one run may spend is spent; what was answered is kept and the run can go on."""


class FinetuneError(AugmentError):
    """An adapter does not fit the model, or a folder is not an adapter that can be read."""


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Turns the lack of an optional package, imported in the block, into one line.

    Raises:
        RecipeError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        what = {"vllm": "vLLM"}.get(package, package.capitalize())
        raise RecipeError(f"this needs {what}, which is not installed; pip install 'augment[{extra}]'") from None
