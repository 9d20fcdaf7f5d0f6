"""What a dataset has to train on: conversations, or texts with a label, each with the family it belongs to.

A run of ours, a file or folder, a card or a dataset of the hub. Files may be question and answer columns, Alpaca,
ShareGPT (`conversations`) or ChatML (`messages`), which is also all that `augment export` writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from augment.errors import FinetuneError
from augment.export import turns_of
from augment.manifest import MANIFEST, digest_of, holds_pictures, manifest_of
from augment.readers import Table
from augment.records import fingerprint, row_id
from augment.sources import open_tables, source_of
from filters.fold import fold

Task = Literal["chat", "classify"]
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
TURNS = ("messages", "conversations")


@dataclass(frozen=True)
class Item:
    """One row. `turns` are (role, content), the last one the assistant's; a text to classify has a `label` instead.

    `family` is the same for all rows that descend from one seed or ask the same; `made` tells a generated row.
    """

    id: str
    family: str
    turns: tuple[tuple[str, str], ...]
    label: str | None = None
    made: bool = False


@dataclass(frozen=True)
class Rows:
    """A dataset, read. `identity` is over its rows; `manifest` is the hash of the run's manifest, if it is a run."""

    name: str
    task: Task
    items: tuple[Item, ...]
    rejected: Mapping[str, int]
    identity: str
    manifest: str | None = None
    notes: tuple[str, ...] = field(default=())


def open_rows(data: str, task: str = "auto", columns: Mapping[str, str] | None = None) -> Rows:
    """The rows of a run folder, a file or folder, a card or `owner/name`; of a card, those outside its exam.

    `task` "auto" trains answers where there are some, else labels.

    Raises:
        FinetuneError: there is nothing to train on.
        SourceError, RunError: it cannot be found or read.
    """
    path = Path(data)
    if path.is_dir() and ((path / MANIFEST).exists() or (path / "curated").exists()):
        if holds_pictures(manifest_of(path)):
            raise FinetuneError(
                f"{data} holds pictures, and adapters here learn texts; write it for a trainer of pictures with "
                f"augment export {data} --format diffusers (or llava, webdataset, imagefolder, coco) --out DIR"
            )
        frame = pl.read_parquet(path / "curated/train.parquet", glob=False)
        return _of_frame(frame, data, task, (), manifest=digest_of(path / MANIFEST)["sha256"])
    card, tables, origin = open_tables(data)
    if not columns and any(name in table.columns for table in tables for name in TURNS):
        return _of_turns(tables, data, task)
    source = source_of(data, card, [_alpaca(table) for table in tables], origin, columns=columns)
    notes = [*source.notes, *([f"{len(source.exam):,} rows are its exam and stay out"] if len(source.exam) else [])]
    return _of_frame(source.seeds, source.name, task, notes, lost=Counter(source.rejected["reason"].to_list()))


def _of_frame(
    frame: pl.DataFrame,
    name: str,
    task: str,
    notes: Iterable[str],
    *,
    manifest: str | None = None,
    lost: Mapping[str, int] | None = None,
) -> Rows:
    chosen = _task(task, name, frame["response"].is_not_null().any(), frame["label"].is_not_null().any())
    rejected = Counter(lost or {})
    families = families_of(frame)
    items = []
    columns = ["id", "prompt", "response", "label", "generator", *(each for each in ("messages",) if each in frame)]
    for row in frame.select(columns).iter_rows(named=True):
        made = row["generator"] != "seed"
        turns: tuple[tuple[str, str], ...] = (("user", row["prompt"]),)
        if chosen == "chat" and not row["response"]:
            rejected["no response"] += 1
        elif chosen == "classify" and not row["label"]:
            rejected["no label"] += 1
        elif chosen == "chat":
            items.append(Item(row["id"], families[row["id"]], tuple(turns_of(row)), None, made))
        else:
            items.append(Item(row["id"], families[row["id"]], turns, row["label"], made))
    return _rows(name, chosen, items, rejected, notes, manifest)


def _of_turns(tables: Sequence[Table], name: str, task: str) -> Rows:
    if task == "classify":
        raise FinetuneError(f"{name} holds conversations, which have no label; use --task chat")
    rejected: Counter[str] = Counter()
    items = []
    for table in tables:
        rejected.update(reason for _, reason, _ in table.bad)
        for _, record in table.rows:
            turns = _turns(next((record[name] for name in TURNS if record.get(name)), None))
            if isinstance(turns, str):
                rejected[turns] += 1
            else:
                asked = "\n".join(content for _, content in turns[:-1])
                items.append(Item(row_id(asked, turns[-1][1], None), asked, turns))
    folded = fold(pl.Series([item.family for item in items], dtype=pl.String)).to_list()
    items = [Item(item.id, fingerprint(key)[:16], item.turns) for item, key in zip(items, folded, strict=True)]
    return _rows(name, "chat", items, rejected, ())


def _turns(value: Any) -> tuple[tuple[str, str], ...] | str:
    """A record's conversation up to its last answer, or why it has none."""
    if not isinstance(value, list | tuple):
        return "no list of messages"
    turns: list[tuple[str, str]] = []
    for each in value:
        told = each if isinstance(each, Mapping) else {}
        role, content = ROLES.get(str(told.get("role", told.get("from")))), told.get("content", told.get("value"))
        if role is None:
            return "a message of no known role"
        if not isinstance(content, str) or not content.strip():
            return "a message without text"
        turns.append((role, content))
    while turns and turns[-1][0] != "assistant":
        turns.pop()
    if not any(role == "user" for role, _ in turns):
        return "no answer to a question"
    return tuple(turns)


def _alpaca(table: Table) -> Table:
    """A table whose instruction has an input beside it, with the two made one."""
    if not {"instruction", "input", "output"} <= set(table.columns):
        return table
    joined: list[tuple[str, Mapping[str, Any]]] = []
    for place, row in table.rows:
        parts = [row[key] for key in ("instruction", "input") if isinstance(row.get(key), str) and row[key].strip()]
        joined.append((place, {**row, "instruction": "\n\n".join(parts) or None}))
    return Table([name for name in table.columns if name != "input"], joined, table.bad)


def _task(task: str, name: str, answers: bool, labels: bool) -> Task:
    if task == "classify" or (task == "auto" and labels and not answers):
        if not labels:
            raise FinetuneError(f"no row of {name} has a label to learn; name its column with --map label=COLUMN")
        return "classify"
    if not answers:
        raise FinetuneError(
            f"no row of {name} has a response to learn; name its column with --map response=COLUMN, or --task classify"
        )
    return "chat"


def _rows(
    name: str,
    task: Task,
    items: Sequence[Item],
    rejected: Mapping[str, int],
    notes: Iterable[str],
    manifest: str | None = None,
) -> Rows:
    if not items:
        why = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items()) or "it is empty"
        raise FinetuneError(f"no row of {name} can be trained on ({why})")
    identity = fingerprint([(item.id, item.turns, item.label) for item in items])
    return Rows(name, task, tuple(items), dict(sorted(rejected.items())), identity, manifest, tuple(notes))


def families_of(frame: pl.DataFrame) -> dict[str, str]:
    """The family of each row: rows are kin through their parents, be these here or not, and by their prompt."""
    leader: dict[str, str] = {}

    def head(name: str) -> str:
        leader.setdefault(name, name)
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    prompts = fold(frame["prompt"]).to_list()
    for key, parents, prompt in zip(frame["id"], frame["parents"], prompts, strict=True):
        for other in (*(parents if parents is not None else ()), f"prompt {prompt}"):
            first, second = sorted((head(key), head(other)))
            leader[second] = first
    members: dict[str, list[str]] = {}
    for key in frame["id"]:
        members.setdefault(head(key), []).append(key)
    return {key: fingerprint(sorted(kin))[:16] for kin in members.values() for key in kin}
