"""WebDataset: tar archives in which the members of one name make one sample, told apart by their endings.

    0001.jpg  0001.txt  0001.cls  0001.json  0001.mask.png

The name is what comes before the first dot of the file's name, with its folder (https://github.com/webdataset/webdataset).
A text is the caption, .cls the class, .json an object of anything that a table of pictures has. Nothing is unpacked to
disk; a pass over the headers finds the samples, whatever their order, and each is read when its turn comes.
"""

from __future__ import annotations

import dataclasses
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import orjson

from augment.errors import SourceError
from augment.images.entries import COMMON_NAMES, TEXT_LIMIT, Entry, Fault, Listing, columns_of, entry_of
from augment.images.pictures import SUFFIXES
from augment.images.reading import MOST_BYTES

ARCHIVES = (".tar", ".tar.gz", ".tgz")
CAPTIONS = ("txt", "text", "caption")
MASKS = ("mask", "seg", "segmentation")
_TOLD = {ours: names for ours, names in COMMON_NAMES.items() if ours not in ("image", "mask")}


def list_archives(files: Sequence[Path], folder: Path) -> Listing:
    """The samples of the archives, one after the other.

    Raises:
        SourceError: while they are read: an archive is broken or cut off.
    """
    columns = {"image": "jpg, png, …", "caption": "txt, json", "label": "cls, json"}
    return Listing((entry for each in files for entry in _entries(each, str(each.relative_to(folder)))), columns)


def _entries(file: Path, name: str) -> Iterator[Entry]:
    try:
        with tarfile.open(file) as archive:
            samples: dict[str, dict[str, list[tarfile.TarInfo]]] = {}
            for member in archive:
                path = PurePosixPath(member.name)
                if member.isdir() or path.name.startswith(".") or not path.name:
                    continue
                key, _, ending = path.name.partition(".")
                samples.setdefault(str(path.with_name(key)), {}).setdefault(ending.lower(), []).append(member)
            for key, members in samples.items():
                yield from _sample(archive, f"{name}:{key}", members)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise SourceError(f"{file} is no whole tar archive{why}; copy or download it again") from None


def _sample(archive: tarfile.TarFile, place: str, members: dict[str, list[tarfile.TarInfo]]) -> Iterator[Entry]:
    """The entry of a sample, and one for each picture that it has too many."""
    pictures = [(ending, each) for ending, several in members.items() if _is_picture(ending) for each in several]
    masks = [each for ending, each in pictures if _is_mask(ending)]
    shown = [each for ending, each in pictures if not _is_mask(ending)]
    try:
        entry = _told(archive, place, members)
        entry = dataclasses.replace(
            entry,
            picture=_raw(archive, shown[0], MOST_BYTES) if shown else None,
            mask=_raw(archive, masks[0], MOST_BYTES) if masks else None,
        )
    except Fault as fault:
        entry = Entry(place, fault=str(fault))
    if shown or entry.captions or entry.fault:
        yield entry
    yield from (
        Entry(f"{place}.{each.name.rpartition('.')[2]}", fault="second picture of a name") for each in shown[1:]
    )


def _told(archive: tarfile.TarFile, place: str, members: dict[str, list[tarfile.TarInfo]]) -> Entry:
    """What a sample's texts say of its picture."""
    record: dict[str, Any] = {}
    if "json" in members:
        try:
            told = orjson.loads(_raw(archive, members["json"][0], TEXT_LIMIT))
        except orjson.JSONDecodeError:
            raise Fault("not valid JSON") from None
        if not isinstance(told, dict):
            raise Fault("not a JSON object")
        columns, _ = columns_of(["image", *told], {"image": "image"}, guess=_TOLD)
        record = {ours: told.get(theirs) for ours, theirs in columns.items() if ours != "image"}
    for ours, endings in (("caption", CAPTIONS), ("label", ("cls",))):
        ending = next((each for each in endings if each in members), None)
        if ending is not None and not (ours == "label" and record.get(ours)):  # .cls is a number where .json has a name
            record[ours] = _text(archive, members[ending][0])
    return entry_of(place, record, {ours: ours for ours in record}, _no_files)


def _is_picture(ending: str) -> bool:
    return f".{ending.rpartition('.')[2]}" in SUFFIXES


def _is_mask(ending: str) -> bool:
    return ending.partition(".")[0] in MASKS


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    try:
        return _raw(archive, member, 4 * TEXT_LIMIT).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Fault("caption cannot be read as UTF-8") from None


def _raw(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise Fault("path leads out of the folder")
    if not member.isreg():
        raise Fault("not a file")
    if member.size > most:
        raise Fault(f"over {most >> 20} MB" if most >= 2**20 else f"over {most:,} bytes")
    opened = archive.extractfile(member)
    raw = opened.read() if opened is not None else b""
    if len(raw) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return raw


def _no_files(_: str) -> NoReturn:
    raise Fault("no path of a file")
