"""A folder of pictures: the class is the subfolder, or is told by a table beside the pictures.

    pets/cat/1.jpg  pets/dog/2.png                 the label is the folder that a picture is in
    pets/train/cat/1.jpg  pets/test/…              train/ is read; test/ and val/ are left alone (augment.images.parts)
    pets/metadata.jsonl (or .csv, .parquet)        file_name, and any of label, caption, boxes, mask_file_name
    pets/1.jpg  pets/1.txt                         the caption is in a text file beside the picture
    pets/cat/1.jpg  pets/masks/cat/1.png           a mask of the same name in masks/ (also pets/cat/masks/1.png)

A table is any CSV, TSV, JSON, JSONL or Parquet file with a column for pictures; its paths are relative to its own
folder, as in the image folders of Hugging Face. Pictures that no table names are rows too. Links are followed inside of
the folder only, hidden files are left alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from augment.errors import SourceError
from augment.images.coco import together
from augment.images.entries import GENERIC, TEXT_LIMIT, Entry, Fault, Listing, check_theirs, inside
from augment.images.parts import MASKS, Parts, files_in, part_of, parts_of, without_other_parts
from augment.images.pictures import SUFFIXES
from augment.images.tables import list_table
from augment.readers import FORMATS

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


def contents_of(parts: Parts) -> Contents:
    """What is in a folder but in the parts that are left alone, sorted; masks and texts by the relative path of their
    picture, without its suffix."""
    found = Contents()
    for each in sorted(each for each in files_in(parts.folder) if not parts.left_alone(each)):
        suffix, above = each.suffix.lower(), [name.lower() for name in each.parts[:-1]]
        if suffix in SUFFIXES and any(name in MASKS for name in above):
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
    parts = parts_of(folder)
    folder, found, notes = parts.folder, contents_of(parts), list(parts.notes)
    tables, said = without_other_parts(found.tables)
    notes += said
    kinds = found.others + Counter(each.suffix for each in found.archives)
    notes += [f"files left alone: {', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}"] if kinds else []
    notes += [f"links to folders left alone: {', '.join(linked)}"] if (linked := _linked_folders(folder)) else []
    columns: dict[str, str] = {}
    listed: list[Entry] = []
    annotated: list[Entry] = []
    present: list[str] = []
    for each in tables:
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
        (annotated if table.coco else listed).extend(table.entries)
    check_theirs(told, present)
    shelf = Shelf(parts, found)
    listed = [each for each in (*listed, *together(annotated)) if not shelf.left_alone(each)]
    if not found.pictures and not listed:
        raise SourceError(f"no picture in {folder}; known: {', '.join(SUFFIXES)}")
    entries = [shelf.complete(each) for each in listed]
    named = {each.picture for each in entries} | {each.mask for each in entries}
    named |= _pictures_of([folder / each for each in found.tables if each not in tables], told)
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

    parts: Parts
    found: Contents

    @property
    def folder(self) -> Path:
        """What is read."""
        return self.parts.folder

    def left_alone(self, entry: Entry) -> bool:
        """Whether an entry of a table names a picture in a part that is left alone."""
        path = self._relative(entry)
        return path is not None and self.parts.left_alone(path)

    def _relative(self, entry: Entry) -> Path | None:
        if not isinstance(entry.picture, Path):
            return None
        root = os.path.realpath(self.folder)
        return entry.picture.relative_to(root) if entry.picture.is_relative_to(root) else None

    def entry(self, picture: Path) -> Entry:
        """The entry of a picture that no table names."""
        try:
            place: Path | None = inside(self.folder, str(picture))
        except Fault as fault:
            return Entry(str(picture), fault=str(fault))
        return self.complete(Entry(str(picture), place))

    def complete(self, entry: Entry) -> Entry:
        """The entry with what the files around its picture say, where it says nothing itself."""
        picture = self._relative(entry)
        if picture is None or entry.fault is not None:
            return entry
        try:
            return dataclasses.replace(
                entry,
                label=entry.label or _class_of(picture, self.parts.named),
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


def _pictures_of(tables: Iterable[Path], told: Mapping[str, str]) -> set[Path | bytes | None]:
    """The pictures that some tables name: those of another part are no rows just because no other table names them."""
    found: set[Path | bytes | None] = set()
    for each in tables:
        with contextlib.suppress(SourceError):
            found.update(entry.picture for entry in list_table(each, told).entries if isinstance(entry.picture, Path))
    return found


def _linked_folders(folder: Path) -> list[str]:
    return sorted(
        str(Path(place, each).relative_to(folder))
        for place, folders, _ in os.walk(folder)
        for each in folders
        if Path(place, each).is_symlink()
    )


def _stem(path: Path) -> Path:
    """A relative path without suffix, and without folders that say nothing: what a picture and its mask share."""
    kept = [part for part in path.parts[:-1] if part.lower() not in MASKS and part.lower() not in GENERIC]
    return Path(*kept, path.stem)


def _class_of(picture: Path, parted: bool) -> str | None:
    """The folder that names a picture's class; `parted`: train/ and test/ name none."""

    def told(folder: str) -> bool:
        return folder.lower() not in GENERIC and not (parted and part_of(folder))

    return next((folder for folder in reversed(picture.parts[:-1]) if told(folder)), None)
