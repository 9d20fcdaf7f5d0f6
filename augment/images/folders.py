"""A folder of pictures: the class is the subfolder, or is told by a table beside the pictures.

    pets/cat/1.jpg  pets/dog/2.png                 the label is the folder that a picture is in
    pets/train/cat/1.jpg  pets/test/…              train/ is read; test/ and val/ are left alone, and it is said
    pets/metadata.jsonl (or .csv, .parquet)        file_name, and any of label, caption, boxes, mask_file_name
    pets/1.jpg  pets/1.txt                         the caption is in a text file beside the picture
    pets/cat/1.jpg  pets/masks/cat/1.png           a mask of the same name in masks/ (also pets/cat/masks/1.png)

A table is any CSV, TSV, JSON, JSONL or Parquet file with a column for pictures; its paths are relative to its own
folder, as in the image folders of Hugging Face. Pictures that no table names are rows too. Links are followed inside of
the folder only, hidden files are left alone.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from augment.errors import SourceError
from augment.images.entries import GENERIC, TEXT_LIMIT, Entry, Fault, Listing, check_theirs, inside
from augment.images.pictures import SUFFIXES
from augment.images.tables import list_table
from augment.readers import FORMATS

TRAIN = ("train", "training")
OTHERS = ("test", "testing", "val", "valid", "validation", "dev", "eval")
MASKS = ("masks", "mask")
_NUMBERS = re.compile(r"[-+.\deE\s]+")
"""What is no caption: boxes in YOLO's form."""


@dataclass
class Contents:
    """What a folder holds, by relative path: pictures, masks, texts and tables."""

    pictures: list[Path] = field(default_factory=list)
    masks: dict[Path, Path] = field(default_factory=dict)
    texts: dict[Path, Path] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)
    archives: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def contents_of(folder: Path, without: Sequence[str] = ()) -> Contents:
    """What is in `folder` but in its subfolders `without`, sorted; masks and texts by the relative path of their
    picture, without its suffix."""
    found = Contents()
    for each in sorted(each for each in _files(folder) if each.parts[0] not in without):
        suffix, parts = each.suffix.lower(), [part.lower() for part in each.parts[:-1]]
        if suffix in SUFFIXES and any(part in MASKS for part in parts):
            found.masks[_stem(each)] = each
        elif suffix in SUFFIXES:
            found.pictures.append(each)
        elif suffix == ".txt":
            found.texts[_stem(each)] = each
        elif suffix in FORMATS:
            found.tables.append(each)
        elif suffix == ".tar" or each.name.lower().endswith((".tar.gz", ".tgz")):
            found.archives.append(each)
        else:
            found.others[suffix or each.name] += 1
    return found


def list_folder(folder: Path, told: Mapping[str, str]) -> Listing:
    """The pictures of a folder, with what its tables, its subfolders, and the files beside them say.

    Raises:
        SourceError: there is none, or a table cannot be read.
    """
    folder, without, notes = _train_of(folder)
    found = contents_of(folder, without)
    kinds = found.others + Counter(each.suffix for each in found.archives)
    notes += [f"files left alone: {', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}"] if kinds else []
    notes += [f"links to folders left alone: {', '.join(linked)}"] if (linked := _linked_folders(folder)) else []
    columns: dict[str, str] = {}
    listed: list[Entry] = []
    present: list[str] = []
    for each in found.tables:
        try:
            table = list_table(folder / each, told)
        except SourceError as error:
            if each.stem.lower() == "metadata":
                raise
            notes.append(f"{each} is left alone: {error}")
            continue
        columns = {**columns, **table.columns}
        present += table.present
        notes += table.notes
        listed += table.entries
    check_theirs(told, present)
    if not found.pictures and not listed:
        raise SourceError(f"no picture in {folder}; known: {', '.join(SUFFIXES)}")
    shelf = Shelf(folder, found)
    entries = [shelf.complete(each) for each in listed]
    named = {each.picture for each in entries} | {each.mask for each in entries}
    unnamed = (shelf.entry(each) for each in found.pictures)
    entries += [each for each in unnamed if each.picture is None or each.picture not in named]
    if any(each.captions for each in entries) and found.texts:
        entries += [Entry(str(path), fault="no picture") for path in shelf.texts_without_picture()]
    guessed = {"image": "the files"} if not listed else {}
    if "label" not in columns and any(each.label for each in entries):
        guessed["label"] = "the subfolder"
    if "caption" not in columns and any(each.captions for each in entries):
        guessed["caption"] = "the text files"
    if "mask" not in columns and any(each.mask for each in entries):
        guessed["mask"] = "the masks/ folder"
    return Listing(entries, {**columns, **guessed}, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class Shelf:
    """A folder's files, to be looked up by picture."""

    folder: Path
    found: Contents

    def entry(self, picture: Path) -> Entry:
        """The entry of a picture that no table names."""
        try:
            place: Path | None = inside(self.folder, str(picture))
        except Fault as fault:
            return Entry(str(picture), fault=str(fault))
        return self.complete(Entry(str(picture), place))

    def complete(self, entry: Entry) -> Entry:
        """The entry with what the files around its picture say, where it says nothing itself."""
        if not isinstance(entry.picture, Path) or entry.fault is not None:
            return entry
        try:
            picture = entry.picture.relative_to(os.path.realpath(self.folder))
        except ValueError:
            return entry
        try:
            return dataclasses.replace(
                entry,
                label=entry.label or _class_of(picture),
                mask=entry.mask or self._mask(picture),
                captions=entry.captions or self._caption(picture),
            )
        except Fault as fault:
            return dataclasses.replace(entry, fault=str(fault))

    def _mask(self, picture: Path) -> Path | None:
        stem = _stem(picture)
        mask = self.found.masks.get(stem)
        if mask is None and self._names[stem.name] == 1:
            mask = self.found.masks.get(Path(stem.name))
        return None if mask is None else inside(self.folder, str(mask))

    @cached_property
    def _names(self) -> Counter[str]:
        return Counter(each.stem for each in self.found.pictures)

    def _caption(self, picture: Path) -> tuple[str, ...]:
        text = self.found.texts.get(_stem(picture))
        if text is None:
            return ()
        try:
            caption = inside(self.folder, str(text)).read_text("utf-8-sig").strip()
        except (OSError, UnicodeDecodeError):
            raise Fault("caption cannot be read as UTF-8") from None
        if len(caption) > TEXT_LIMIT:
            raise Fault(f"caption over {TEXT_LIMIT:,} characters")
        return (caption,) if caption and not _NUMBERS.fullmatch(caption) else ()

    def texts_without_picture(self) -> list[Path]:
        """The text files that stand beside no picture."""
        pictures = {_stem(each) for each in self.found.pictures}
        return [path for stem, path in self.found.texts.items() if stem not in pictures]


def _files(folder: Path) -> Iterator[Path]:
    """Every file under `folder` by relative path; hidden ones, and folders behind links, are left alone."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith((".", "__MACOSX")))
        yield from (Path(place, each).relative_to(folder) for each in files if not each.startswith("."))


def _linked_folders(folder: Path) -> list[str]:
    return sorted(
        str(Path(place, each).relative_to(folder))
        for place, folders, _ in os.walk(folder)
        for each in folders
        if Path(place, each).is_symlink()
    )


def _train_of(folder: Path) -> tuple[Path, list[str], list[str]]:
    """The folder's training part where it is parted, the names of the other parts, and a remark on both."""
    inner = {each.name.lower(): each for each in sorted(folder.iterdir()) if each.is_dir()}
    train = next((inner[name] for name in TRAIN if name in inner), None)
    if train is None:
        return folder, [], []
    others = [inner[name].name for name in OTHERS if name in inner]
    notes = [f"{', '.join(f'{each}/' for each in others)} left alone (give one with --exam)"] if others else []
    if any(each.suffix.lower() in {*SUFFIXES, *FORMATS} for each in folder.iterdir()):
        return folder, others, notes  # a table beside the parts names what is in them
    return train, [], [f"read from {train.name}/", *notes]


def _stem(path: Path) -> Path:
    """A relative path without suffix, and without folders that say nothing: what a picture and its mask share."""
    kept = [part for part in path.parts[:-1] if part.lower() not in MASKS and part.lower() not in GENERIC]
    return Path(*kept, path.stem)


def _class_of(picture: Path) -> str | None:
    """The folder that names a picture's class."""
    skipped = {*GENERIC, *TRAIN, *OTHERS}
    return next((part for part in reversed(picture.parts[:-1]) if part.lower() not in skipped), None)
