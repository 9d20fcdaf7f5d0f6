"""The equal-compute control: the seeds of a run, each repeated as often as it has variants, as a file to train on."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from augment.manifest import put
from finetune.lift.adapter import answered, conversation
from finetune.lift.arms import REPEATED, arms_of
from finetune.lift.pool import open_pool


def write_control(run: Path, path: Path | None, target: Path) -> int:
    """Write the control of the run in `run` to `target`, a conversation a line; how many rows it has.

    `path` is where the source's files are, if they are not where the source says.

    Raises:
        RunError: the run has no seed with an answer, or no variant, or the disk is full.
    """
    pool = answered(open_pool(run, path))
    variants = pool.variants.filter(pl.col("parents").list.first().is_in(pool.seeds["id"].implode()))
    arm = next(each for each in arms_of(pool.seeds, variants, ()) if each.name == REPEATED)
    put(target, "".join(conversation(*row) for row in arm.rows.select("prompt", "response").iter_rows()).encode())
    return len(arm.rows)
