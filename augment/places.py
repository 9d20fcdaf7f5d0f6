"""Where things live: the bundled data, and the user's own folder of replies and downloads."""

from __future__ import annotations

import os
from pathlib import Path

RUNS = Path("runs")
"""Where run folders are, unless the user names another place."""


def data_dir() -> Path:
    """The bundled `data/`: inside the package when installed, at the repository's root in a checkout."""
    installed = Path(__file__).parent / "data"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "data"


def home() -> Path:
    """`$AUGMENT_HOME`, or `.augment` in the current folder: the reply store and downloaded sources."""
    return Path(os.environ.get("AUGMENT_HOME") or ".augment")
