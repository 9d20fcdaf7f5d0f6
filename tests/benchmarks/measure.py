"""What every benchmark shares: the command line, a table, JSON, and the machine it ran on."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def arguments(doc: str | None, *, repeats: int = 3, peers: bool = False) -> argparse.ArgumentParser:
    """The flags that every benchmark has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", action="store_true", help="the smallest size: correctness only")
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument("--repeats", type=int, default=repeats, help="interleaved runs of each; the median counts")
    if peers:
        parser.add_argument("--with-peers", action="store_true", help="install and run the peers too")
        parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "augment-benchmarks")
    return parser


@dataclass
class Result:
    """A benchmark's outcome: rows of a table, and every check with what was found."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    code: int = 0

    def check(self, what: str, holds: bool, found: Any = None) -> None:
        """A statement about correctness; all of them must hold."""
        self.checks.append({"check": what, "holds": bool(holds), "found": found})

    @property
    def correct(self) -> bool:
        """Whether every check holds, and there was one."""
        return bool(self.checks) and all(each["holds"] for each in self.checks)

    def finish(self, args: argparse.Namespace) -> int:
        """Print the table and the checks, write the JSON; the exit code."""
        for _, rows in itertools.groupby(self.rows, key=lambda row: next(iter(row))):
            print(table(list(rows)) + "\n")
        failed = [each for each in self.checks if not each["holds"]]
        print(f"{len(self.checks) - len(failed)} of {len(self.checks)} checks hold")
        for each in failed:
            print(f"  FAILED: {each['check']}: {each['found']}")
        for note in self.notes:
            print(f"  note: {note}")
        if args.json:
            written = {"benchmark": self.name, "machine": machine(), "rows": self.rows, "checks": self.checks}
            args.json.write_text(json.dumps({**written, "notes": self.notes}, indent=1, ensure_ascii=False), "utf-8")
        return 0 if self.correct else 1


def machine() -> dict[str, Any]:
    """Where it ran."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"cpus": os.cpu_count(), "load": load, "python": platform.python_version(), "when": now}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table; a missing value is a dash."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in [names, *lines]) for i in range(len(names))]
    made = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in [names, ["-" * width for width in widths], *lines]]  # fmt: skip
    return "\n".join(made)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def interleaved(runs: dict[str, Callable[[], dict[str, Any]]], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Each run `repeats` times, in turn, so that a noisy minute hits all of them."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run())
    return found


def median(values: Iterable[float | None]) -> float | None:
    """The median of those that there are."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="augment-benchmark-") as folder:
        yield Path(folder)


def peak_rss() -> float:
    """The most memory this process ever had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
