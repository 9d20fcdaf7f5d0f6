"""What a name stands for, as pictures: a card, a folder, a table, an archive, or a dataset of the hub."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from augment.errors import SourceError
from augment.hub import load_split
from augment.images.entries import Entry, Listing, check_ours, check_theirs
from augment.images.folders import contents_of, list_folder
from augment.images.hub import has_pictures, is_saved, list_hub, list_saved
from augment.images.parts import parts_of, without_other_parts
from augment.images.pictures import SUFFIXES
from augment.images.tables import list_table
from augment.images.webdataset import ARCHIVES, list_archives
from augment.readers import FORMATS
from augment.source_cards import Card, card_path, is_card, read_card
from augment.sources import configured_directory


def list_source(name: str, path: Path | None, told: Mapping[str, str]) -> tuple[Card, Listing, str]:
    """The card of a source, its entries, and a phrase for where they come from. `told` maps our columns to its own.

    Raises:
        SourceError: it cannot be found or read, or holds no pictures.
    """
    check_ours(told)
    if is_card(name):
        card = read_card(name)
        if card.modality != "image":
            raise SourceError(f"'{name}' is a source of text; use augment text --source {name}")
        columns = {**card.columns, **told}
        directory = path or configured_directory(card)
        if directory is not None:
            return card, list_place(directory, columns), str(directory)
        if card.hub:
            return card, list_hub(card.hub, columns)[1], f"hub:{card.hub}"
        cards = card_path(name).parent
        if card.folder:
            return card, list_place(cards / card.folder, columns), name
        return card, _joined([list_place(cards / each, columns) for each in card.files]), name
    place = path or Path(name)
    if place.exists():
        return Card(), list_place(place, told), name
    suffix = place.suffix.lower()
    named = suffix in FORMATS or suffix in SUFFIXES or name.startswith((".", "/", "~")) or name.endswith("/")
    if named or _is_archive(place) or path is not None:
        raise SourceError(f"no file or folder {place}; check the path")
    if name.count("/") == 1:
        card, listing = list_hub(name, told)
        return card, listing, f"hub:{name}"
    return read_card(name), Listing((), {}), name  # raises: the name is none of these


def holds_pictures(name: str, path: Path | None, told: Mapping[str, str]) -> bool:
    """Whether the source called `name` is one of pictures, by its card, its files, its columns, or what is mapped.

    Raises:
        SourceError: a dataset of the hub cannot be reached.
    """
    if is_card(name):
        return read_card(name).modality == "image"
    if set(told) & {"image", "caption", "mask", "boxes"}:
        return True
    place = path or Path(name)
    if place.is_dir():
        parts = parts_of(place)
        found = contents_of(parts)
        return (
            bool(found.pictures or found.archives)
            or is_saved(place)
            or any(_pictured(parts.folder / each) for each in found.tables)
        )
    if place.is_file():
        return _is_archive(place) or place.suffix.lower() in SUFFIXES or _pictured(place)
    if path is None and name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/"):
        return has_pictures(load_split(name)[0])
    return False


def _pictured(table: Path) -> bool:
    """Whether a table's first row holds a picture, or names a file that would be one."""
    try:
        first = next(iter(list_table(table, {}).entries), None)
    except SourceError:
        return False
    picture = first and first.picture
    return isinstance(picture, bytes) or (isinstance(picture, Path) and picture.suffix.lower() in SUFFIXES)


def list_place(place: Path, told: Mapping[str, str]) -> Listing:
    """The entries of a file or folder.

    Raises:
        SourceError: it is not there, cannot be read, or holds no pictures.
    """
    if place.is_dir():
        if is_saved(place):
            return list_saved(place, told)
        parts = parts_of(place)
        found = contents_of(parts)
        if found.archives and not found.pictures:
            check_theirs(told, ())
            archives, notes = without_other_parts(found.archives)
            listing = list_archives([parts.folder / each for each in archives], parts.folder)
            return dataclasses.replace(listing, notes=(*parts.notes, *notes, *listing.notes))
        return list_folder(place, told)
    if not place.is_file():
        raise SourceError(f"no file or folder {place}; check the path")
    if _is_archive(place):
        check_theirs(told, ())
        return list_archives([place], place.parent)
    if place.suffix.lower() in SUFFIXES:
        raise SourceError(f"{place} is a single picture; give the folder that it is in")
    if place.suffix.lower() not in FORMATS:
        raise SourceError(f"{place} has no known format; use one of {', '.join([*sorted(FORMATS), *ARCHIVES])}")
    table = list_table(place, told)
    check_theirs(told, table.present)
    return table


def _is_archive(place: Path) -> bool:
    return place.name.lower().endswith(ARCHIVES)


def _joined(listings: list[Listing]) -> Listing:
    entries: Iterator[Entry] = chain.from_iterable(each.entries for each in listings)
    columns = {ours: theirs for each in listings for ours, theirs in each.columns.items()}
    return Listing(entries, columns, tuple(dict.fromkeys(note for each in listings for note in each.notes)))
