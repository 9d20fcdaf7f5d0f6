"""A finished run in Python: its rows as frames, its counts, a row's story, and a trainer's format of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from augment.errors import RunError
from augment.lineage import REJECTED_ROWS, ROWS
from augment.manifest import manifest_of
from augment.places import RUNS
from augment.runs import run_folder

if TYPE_CHECKING:
    from augment.images.exports.write import Exported


@dataclass(frozen=True)
class Run:
    """A published run. `path` is its folder; frames and counts are read when first asked for, and stay."""

    path: Path

    @classmethod
    def open(cls, run: str | os.PathLike[str], runs: str | os.PathLike[str] = RUNS) -> Run:
        """The run in a folder, or the one of that name under `runs`.

        Raises:
            RunError: there is none, or it is not finished.
        """
        folder = run_folder(os.fspath(run), Path(runs))
        manifest_of(folder)
        return cls(folder)

    @cached_property
    def curated(self) -> pl.DataFrame:
        """What was published, a row each, seeds too: the columns of `curated/train.parquet`.

        Raises:
            RunError: the file is gone, or is no Parquet.
        """
        return self._rows(ROWS)

    @cached_property
    def rejected(self) -> pl.DataFrame:
        """What was not, with `dropped_by`, `reason` and every score.

        Raises:
            RunError: the file is gone, or is no Parquet.
        """
        return self._rows(REJECTED_ROWS)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The counts of `summary.json`, which the command prints.

        Raises:
            RunError: the file is gone or broken.
        """
        try:
            found: dict[str, Any] = orjson.loads((self.path / "summary.json").read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise self._broken("summary.json", error) from None
        return found

    def explain(self, id: str) -> dict[str, Any]:
        """A row's whole story, as `augment explain --json` tells it; `id` may be its first characters.

        Raises:
            RunError: no such row in this run, or several.
        """
        from augment.explain import story

        return story(id, self.path)

    def export(self, format: str, out: str | os.PathLike[str]) -> Exported:
        """Write the curated rows to the folder `out` in a trainer's format, as `augment export` does.

        Raises:
            RecipeError: unknown format, or one for other rows.
            RunError: no row that fits, or `out` cannot be written to.
        """
        from augment.export import export

        return export(self.path, format, Path(out))

    def _rows(self, name: str) -> pl.DataFrame:
        try:
            return pl.read_parquet(self.path / name, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise self._broken(name, error) from None

    def _broken(self, name: str, error: Exception) -> RunError:
        said = str(error).strip().partition("\n")[0]
        return RunError(f"cannot read {self.path / name}: {said}; augment verify {self.path} checks every file")
