"""augment: a small dataset in, a larger and cleaner one that trains a better adapter out.

In Python, with the words of the command: `augment.text(source="sample", n="5x")` gives a `Run`, and so does
`augment.Run.open("runs/…")`. Both are imported when first asked for, so that importing `augment` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augment.called import image, paired, text
    from augment.errors import AugmentError
    from augment.opened import Run

__version__ = "0.1.0"
__all__ = ["AugmentError", "Run", "__version__", "image", "paired", "text"]

_WHERE = {
    "AugmentError": "augment.errors",
    "Run": "augment.opened",
    "image": "augment.called",
    "paired": "augment.called",
    "text": "augment.called",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'augment' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
