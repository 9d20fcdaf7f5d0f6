"""Datasets of Hugging Face with pictures in them: of the hub by id, or saved to a folder by `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from augment.errors import SourceError
from augment.hub import load_split
from augment.images.entries import Entry, Fault, Listing, check_theirs, columns_of, entry_of, inside
from augment.source_cards import Card

SAVED = ("dataset_dict.json", "state.json")
"""What `save_to_disk` leaves in a folder."""


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved a dataset to this folder."""
    return any((folder / each).is_file() for each in SAVED)


def list_hub(name: str, told: Mapping[str, str]) -> tuple[Card, Listing]:
    """The card and the pictures of the dataset `owner/name`, its `train` split or else its first.

    Raises:
        SourceError: it does not exist, cannot be reached, or holds no pictures.
    """
    data, note = load_split(name)
    card = Card(title=name, licence=data.info.license or "unknown", citation=data.info.citation or "", hub=name)
    return card, list_dataset(data, name, told, note)


def list_saved(folder: Path, told: Mapping[str, str]) -> Listing:
    """The pictures of a dataset that was saved to `folder`, its `train` split or else its first.

    Raises:
        SourceError: it cannot be read, or holds no pictures.
    """
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SourceError(f"cannot load the dataset in {folder}: {first}") from None
    note = ""
    if isinstance(data, DatasetDict):
        split = "train" if "train" in data else next(iter(data))
        note = f"read from its split {split}" if len(data) > 1 else ""
        data = data[split]
    return list_dataset(data, folder.name, told, note)


def has_pictures(data: Any) -> bool:
    """Whether an opened dataset has a column of pictures."""
    from datasets import Image

    return any(isinstance(feature, Image) for feature in data.features.values())


def list_dataset(data: Any, name: str, told: Mapping[str, str], note: str = "") -> Listing:
    """The pictures of an opened dataset. Columns are found by their feature first (Image, ClassLabel), then by name.

    Raises:
        SourceError: no column holds pictures, or `told` names one that is not there.
    """
    from datasets import ClassLabel, Image

    check_theirs(told, data.column_names)
    features = dict(data.features)
    pictured = [each for each, feature in features.items() if isinstance(feature, Image)]
    classes = [each for each, feature in features.items() if isinstance(feature, ClassLabel)]
    usual = {"image": [each for each in pictured if "mask" not in each.lower()][:1], "label": classes[:1]}
    wanted = {ours: found[0] for ours, found in usual.items() if found}
    columns, notes = columns_of(data.column_names, {**wanted, **told})
    for each in pictured:
        data = data.cast_column(each, Image(decode=False))
    data = data.select_columns(list(dict.fromkeys(columns.values())))
    names = {ours: features[theirs].names for ours, theirs in columns.items() if theirs in classes}

    def entries() -> Iterator[Entry]:
        for number, record in enumerate(data, 1):
            boxes = _named_boxes(record.get(columns.get("boxes", "")), features.get(columns.get("boxes", "")))
            told_of = {**record, columns["boxes"]: boxes} if "boxes" in columns else record
            yield entry_of(f"{name}#{number}", told_of, columns, _cached, names)

    return Listing(entries(), columns, ((note,) if note else ()) + notes)


def _named_boxes(boxes: Any, feature: Any) -> Any:
    """Objects with the names of their classes instead of numbers."""
    inner = getattr(feature, "feature", feature)
    if not isinstance(boxes, dict) or not isinstance(inner, dict):
        return boxes
    named = dict(boxes)
    for key, values in boxes.items():
        kind = inner.get(key)
        names = getattr(kind, "names", None) or getattr(getattr(kind, "feature", None), "names", None)
        if names is not None and isinstance(values, list):
            named[key] = [names[each] if isinstance(each, int) and 0 <= each < len(names) else each for each in values]
    return named


def _cached(name: str) -> Path:
    """A file that a dataset names instead of holding it; only what `datasets` itself downloaded is opened."""
    from datasets import config
    from huggingface_hub import constants

    for folder in (config.HF_DATASETS_CACHE, constants.HF_HUB_CACHE):
        try:
            return inside(Path(folder), name)
        except Fault:
            continue
    raise Fault("path leads out of the folder")
