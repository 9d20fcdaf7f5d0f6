"""How `--help` is laid out: the verbs by what people do with them, and last in each verb's help its example.

A verb's docstring ends on `Example: augment …`, or `Examples:` with "; " between several. They are shown after the
flags, where a reader ends up, each on a line of its own that can be copied.
"""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

SECTIONS = {
    "Augment": ("text", "image", "paired", "serve"),
    "Curate": ("filter", "compare-thresholds", "review"),
    "Train": ("finetune", "adapter", "subject"),
    "Judge": ("evaluate", "lift", "loop"),
    "Look": ("report", "runs", "explain", "diff", "verify", "export", "sources", "list", "doctor"),
}
"""The verbs, in the order in which one comes to them; one that is not here is shown after them."""
MORE = "More"


class Verb(TyperCommand):
    """A command whose example comes last."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        text, examples = parted(help or "")
        lines = "\n".join(f"  {each}" for each in examples)
        if examples:
            settings["epilog"] = f"\b\nExample:\n{lines}"
        super().__init__(*args, help=text, **settings)


class Verbs(TyperGroup):
    """The verbs under the headings of `SECTIONS`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs, a line each."""
        known = [name for names in SECTIONS.values() for name in names]
        rest = tuple(name for name in self.list_commands(ctx) if name not in known)
        width = max(map(len, self.commands), default=0)
        for title, names in {**SECTIONS, MORE: rest}.items():
            shown = [self.commands[name] for name in names if name in self.commands]
            lines = [
                ((each.name or "").ljust(width), each.get_short_help_str(formatter.width - width - 6)) for each in shown
            ]
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


def parted(help: str) -> tuple[str, list[str]]:
    """A docstring without its examples, and the examples, each on one line."""
    text, _, told = re.sub(r"\bExamples?:\s+(?=augment )", "\0", help, count=1).partition("\0")
    return text.rstrip(), [" ".join(each.split()) for each in told.split(";") if each.strip()]
