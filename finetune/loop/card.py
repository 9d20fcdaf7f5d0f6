"""The loop's report: a README.md that compares the rounds and says whether the variants helped."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.evaluation.tables import markdown, plain
from finetune.loop.recipe import CONTROL


def loop_card(record: Mapping[str, Any], failed: Sequence[tuple[str, str]], command: str) -> str:
    """The report's text, from what loop.json holds; `command` is the one that goes on."""
    rows, rounds = record["rows"], record["rounds"]
    lines = [f"# {plain(record['name'])}", "", *verdicts(record), ""]
    if failed:
        lines += ["## Not done", "", *(f"* {plain(name)}: {plain(why, 500)}" for name, why in failed), ""]
        lines += ["Everything else is as below. Mend that, and go on with", "", "```sh", command, "```", ""]
    lines += [
        "## Round by round",
        "",
        f"{rows['source']}: {rows['seeds']:,} seeds; {rows['validation']:,} rows held out to steer by and "
        f"{rows['exam']:,} as the exam, none of which was made more of or learnt.",
        "",
    ]
    lines += [*markdown(*_made(rounds)), ""]
    if any(each["exam"] for each in rounds):
        lines += [*_measured(record), ""]
    if any(each["labels"] for each in rounds):
        lines += _steering(rounds)
    if record["pictures"]:
        lines += ["## Pictures", ""]
        lines += [
            f"* {name}: {told['kept']:,} variants in {plain(told['path'])}/"
            + (f", for trainers in {plain(told['export'])}/" if told.get("export") else "")
            for name, told in record["pictures"].items()
        ]
        lines.append("")
    return "\n".join([*lines, *_folders(record), "```sh", command, "```", ""])


def command(file: Path | None, words: Sequence[str] = ()) -> str:
    """The command that makes this loop, or goes on with it: the recipe's file and what was said besides."""
    return shlex.join(["augment", "loop", "--recipe", str(file or "RECIPE.toml"), *words])


def verdicts(record: Mapping[str, Any]) -> list[str]:
    """What the last round comes to, a sentence an adapter, and whether it is more than chance."""
    last = next((each for each in reversed(record["rounds"]) if each["exam"]), None)
    if last is None:
        return ["No adapter sat the exam."]
    exam, said = last["exam"], []
    controls = {each["model"]: each for each in exam["over_control"]}
    bases = {each["model"]: each for each in exam["over_base"]}
    for told in (each for each in last["adapters"] if not each["control"]):
        name = told["name"]
        parts = [f"{_change(bases[name])} on the base"]
        if name in controls:
            parts.append(f"{_change(controls[name])} on the same seeds repeated ({told['steps']:,} steps each)")
        mean = _mean(exam["means"].get(name))
        said.append(f"* **{plain(name)}**: {exam['metric']} {mean} on {exam['rows']:,} questions; {'; '.join(parts)}.")
    return [f"After round {last['round']}:", "", *said]


def _change(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return "not to be compared"
    if found["low"] is None:
        return f"{found['mean']:+.3f}, by one question,"
    told = f"{found['mean']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"
    return told if found["sure"] else f"{told}, no more than chance,"


def _made(rounds: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """What each round made of what: variants kept of those wanted, and candidates."""
    rows = []
    for each in rounds:
        run, amount = each["run"], each["amount"]
        times = sorted({amount["n"], *amount["labels"].values()}) if "n" in amount else []
        span = " to ".join(f"{each}x" for each in dict.fromkeys((times[0], times[-1]))) if times else ""
        wanted = span or f"{amount['total']:,}"
        cells = [f"{run['kept']:,} of {run['target']:,}", f"{run['candidates']:,}"]
        cells.append("-" if each["control"] is None else f"{each['control']:,}")
        rows.append([str(each["round"]), wanted, *cells])
    return ["round", "a seed", "variants kept", "candidates", "rows of the control"], rows


def _measured(record: Mapping[str, Any]) -> list[str]:
    asked = [each for each in record["rounds"] if each["exam"]]
    metric = asked[0]["exam"]["metric"]
    apart = {(each["rounds"][1], each["model"]): each for each in record["rounds_apart"]}
    steered = any(each["validation"] for each in asked)
    headings = ["round", "adapter", "steps", "base", "seeds repeated", "with variants", "more than the base"]
    headings += ["more than repeated", *(["more than a round before", "validation"] if steered else [])]
    rows = []
    for each in asked:
        exam = each["exam"]
        controls = {told["model"]: told for told in exam["over_control"]}
        bases = {told["model"]: told for told in exam["over_base"]}
        for told in (one for one in each["adapters"] if not one["control"]):
            name = told["name"]
            cells = [_mean(exam["means"].get(model)) for model in (exam["base"], f"{name}{CONTROL}", name)]
            cells += [_cell(bases.get(name)), _cell(controls.get(name))]
            if steered:
                cells += [_cell(apart.get((each["round"], name))), _mean((each["validation"] or {}).get(name))]
            rows.append([str(each["round"]), name, f"{told['steps']:,}", *cells])
    said = (
        f"{metric.capitalize()} before the exam; in brackets 95 % intervals, of differences question by question "
        "(paired bootstrap). “Seeds repeated” learned each seed as often as it has variants, in as many steps: what "
        "variants are worth is what is more than that. ✓ is more than chance."
    )
    return [said, "", *markdown(headings, rows), "", "![Round by round](rounds.svg)"]


def _mean(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None or found["mean"] is None else f"{found['mean']:.3f}"


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None or found["mean"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['mean']:+.3f}"
    return f"{found['mean']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f}){' ✓' if found['sure'] else ''}"


def _steering(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each label's validation score round by round, and what a seed of it gets in the next one."""
    told = [each for each in rounds if each["labels"] and each["labels"][0]["label"] is not None]
    if not told:
        return ["No label's rows have a score, so that the next round makes as many more of every seed.", ""]
    names = [each["label"] for each in told[0]["labels"]]
    headings = ["label", "seeds", "rows"]
    for each in told:
        headings += [f"score, round {each['round']}", f"a seed, round {each['round']}"]
    by_round = [{each["label"]: each for each in one["labels"]} for one in told]
    rows = []
    for name in names:
        first = by_round[0][name]
        cells = [name, f"{first['seeds']:,}", f"{first['rows']:,}"]
        for one, labels in zip(told, by_round, strict=True):
            score = labels[name]["score"] if name in labels else None
            amount = one["amount"]
            cells += ["-" if score is None else f"{score:.3f}", f"{amount['labels'].get(name, amount['n'])}x"]
        rows.append(cells)
    return [
        "## Where the variants went",
        "",
        "The mean score of each label's validation rows, over the adapters. A round's variants go to the labels below "
        "the mean, by how far they are below it; a label's mean is drawn towards that of all rows, the more the fewer "
        "rows it has.",
        "",
        *markdown(headings, rows),
        "",
    ]


def _folders(record: Mapping[str, Any]) -> list[str]:
    runs = ", ".join(f"{plain(each['run']['path'])}/" for each in record["rounds"])
    return [
        "## What is where",
        "",
        f"* the curated sets: {runs or 'none'} (`augment verify` checks one, `augment explain` tells a row's story)",
        "* the adapters: round-N/adapters/, each with `plain/`, which vLLM and stock PEFT read",
        "* the answers and their scores: round-N/exam/ and round-N/validation/",
        "* report.html: one page with every row, what was dropped and why, and the curves of all trainings",
        "",
        "The same command does nothing again that is there already:",
        "",
    ]
