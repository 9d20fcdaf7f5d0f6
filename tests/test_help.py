"""Every verb's `--help` ends on an example, and the example runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer

from augment.cli import app
from augment.help import MORE, SECTIONS, parted
from tests.commands import Command, not_run

LAST = "  Example:\n"


def verbs(group: typer.core.TyperGroup, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Each verb, also of groups, as the words that call it."""
    for name, each in group.commands.items():
        words = (*before, name)
        if isinstance(each, typer.core.TyperGroup):
            yield from verbs(each, words)
        else:
            yield words, each


EVERY = dict(verbs(typer.main.get_command(app)))


def examples(help_text: str) -> list[str]:
    """The commands that a help text ends on."""
    return [line.strip() for line in help_text.partition(LAST)[2].splitlines() if line.strip()]


def help_of(command: object) -> str:
    return str(command.get_help(typer.Context(command, info_name="augment", terminal_width=80)))


SHOWN = [(words, example) for words, each in EVERY.items() for example in examples(help_of(each))]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_the_help_of_a_verb_ends_on_an_example_of_it(words):
    found = examples(help_of(EVERY[words]))
    assert found, f"augment {' '.join(words)} --help shows no example"
    for example in found:
        assert example.split()[: len(words) + 1] == ["augment", *words]


@pytest.mark.parametrize(("words", "example"), SHOWN, ids=lambda told: told if isinstance(told, str) else "")
def test_an_example_runs(stage, words, example):
    command = Command("help", f"{example} --dry-run" if not_run(example) else example)
    done = stage.run(command)
    assert done.code == 0, done.err[-3000:]


def test_the_first_help_has_the_verbs_in_the_order_of_the_work_and_an_example(augment):
    text = augment("--help").out
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line.strip()]
    wanted = [name for names in SECTIONS.values() for name in names if (name,) in EVERY or name == "adapter"]
    assert [name for name in listed if name in wanted] == wanted
    titles = [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert [title for title in titles if title in SECTIONS] == list(SECTIONS)
    assert MORE not in titles, "a verb is in no section of augment/help.py"
    assert examples(text) == ["augment text --source sample --n 5x"]


def test_a_docstring_is_parted_at_its_example():
    assert parted("One line.\n\nMore. Example:\naugment text\n--n 5x") == (
        "One line.\n\nMore.",
        ["augment text --n 5x"],
    )
    assert parted("Examples: augment a; augment b") == ("", ["augment a", "augment b"])
    assert parted("For example: nothing. An Example: of none") == ("For example: nothing. An Example: of none", [])
