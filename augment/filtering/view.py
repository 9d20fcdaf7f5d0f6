"""What a person sees of a sifting, and of a comparison of thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from augment.filtering.edition import Filtered
from augment.sieve import harsh
from augment.summary import remarks, total_rejected
from augment.tables import one_line
from augment.terminal import print_dropped

_LONGEST = 110


def print_filtered(done: Filtered, console: Console) -> None:
    """The accounts, what was dropped by whom, and where it is."""

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    counts = done.summary
    if names := counts.get("columns"):
        say(f"columns: {', '.join(f'{theirs} is {ours} here' for ours, theirs in names.items())}")
    moved = counts["filtered"]
    lost = f" ({counts['source_rejected']:,} more could not be read)" if counts["source_rejected"] else ""
    say(
        f"{counts['candidates']:,} rows = {counts['kept']:,} kept + {total_rejected(counts):,} rejected"
        f" + {counts['failed']:,} failed{lost if not moved else ''}"
    )
    if moved:
        say(f"beside {moved['from']}: {moved['let_in']:,} let in, {moved['put_out']:,} put out")
    print_dropped(counts, console)
    for line in remarks(counts):
        say(line)
    for line in harsh(counts["sieve"]):
        console.print(f"! {line}", style="bold", highlight=False, soft_wrap=True, markup=False)
    say(f"{counts['seconds']} s:" if done.new else "it is there already:")
    say(str(done.path))


def print_compared(found: Mapping[str, Any], console: Console) -> None:
    """A line a value, then the rows at each edge."""
    table = Table(found["setting"], "kept", "dropped by it", "let in", "put out", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for each, note in ((found["now"], " (now)"), *((each, "") for each in found["values"])):
        counts = (f"{each[name]:,}" for name in ("kept", "dropped", "let_in", "put_out"))
        table.add_row(f"{each['value']}{note}", *counts)
    console.print(f"{found['rows']:,} rows", highlight=False)
    console.print(table)
    for each in found["values"]:
        if each["edge"]:
            console.print(f"\nat the edge of {found['setting']} = {each['value']}:", highlight=False, markup=False)
        for row in each["edge"]:
            own = {key: value for key, value in row.items() if key not in _TOLD}
            scores = ", ".join(
                f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in own.items()
            )
            console.print(f"  {row['verdict']:<8}{row['id']}  {scores}", highlight=False, markup=False, soft_wrap=True)
            for name in ("prompt", "response", "beside"):
                if row.get(name):
                    line = f"    {name}: {one_line(row[name], _LONGEST)}"
                    console.print(line, highlight=False, markup=False, soft_wrap=True)


_TOLD = ("id", "verdict", "prompt", "response", "beside")
