"""A diffusion model and what is added to it, found by name: its configuration and identity, no weights loaded.

`MODEL` is a folder as diffusers writes it, or `owner/name` of the hub. `MODEL+OTHER` adds a ControlNet (its folder or
`owner/name`) or an IP-Adapter (its `.safetensors` file, in a folder or as `owner/name/…/file.safetensors`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from augment.errors import EngineError
from augment.images.models import Entry, entry_of, gate
from augment.records import fingerprint

WHOLE = 4 * 2**30
"""Bytes of weights up to which all of them are read for a folder's identity; of larger ones the size and both ends."""
ENDS = 2**20
_IDENTITY = (".safetensors", ".json", ".txt", ".model", ".jinja")


@dataclass(frozen=True)
class Part:
    """A folder, or a repository of the hub at one commit. `inside`: a file in it, of an IP-Adapter."""

    name: str
    place: str
    commit: str | None
    identity: str
    inside: str = ""


@dataclass(frozen=True)
class Model:
    """What draws: `pipeline` is the diffusers class that its own index names, `index` that index."""

    main: Part
    pipeline: str
    index: dict[str, Any] = field(repr=False)
    control: Part | None = None
    look: Part | None = None
    entry: Entry | None = None

    @property
    def name(self) -> str:
        """How rows call it: without the folders that it lies in."""
        parts = [each for each in (self.main, self.control, self.look) if each is not None]
        return "+".join(Path(each.inside or each.name).name if _local(each) else each.name for each in parts)

    @property
    def identity(self) -> tuple[str, ...]:
        """What all of its files are known by."""
        return tuple(each.identity for each in (self.main, self.control, self.look) if each is not None)


def find(spec: str, accept_licence: bool) -> Model:
    """The model that `diffusers:SPEC` names, with what is added to it; of a folder the files are read for its identity.

    Raises:
        EngineError: there is no such model, it is not one that diffusers can load, or its licence is not cleared.
    """
    first, *added = [spec] if Path(spec).expanduser().is_dir() else spec.split("+")
    if not first:
        raise EngineError("diffusers names no model; write diffusers:FOLDER or diffusers:owner/name")
    local = Path(first).expanduser().is_dir()
    if not local and not _repository(first):  # whoever misspells a folder is not asked about its licence
        raise EngineError(_nowhere(first, "model_index.json"))
    for each in (first, *added):
        gate(each, accept_licence, folder=Path(each).expanduser().exists())
    main, index = _found(first, "model_index.json")
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise EngineError(f"{first} brings code of its own, which is not run; give a model of a pipeline in diffusers")
    control = look = None
    for each in added:
        if each.endswith(".safetensors"):
            look = _look(each)
        else:
            control, config = _found(each, "config.json")
            if "ControlNet" not in str(config.get("_class_name")):
                raise EngineError(f"{each} is no ControlNet, nor a file of an IP-Adapter; what follows + must be one")
    return Model(main, pipeline, index, control, look, None if local else entry_of(first))


def _repository(name: str) -> bool:
    """Whether a name can be a repository's on the hub, and is no path here."""
    return (
        not Path(name).expanduser().exists()
        and name[0] not in "./~"
        and not name.endswith("/")
        and name.count("/") == 1
    )


def _nowhere(name: str, file: str) -> str:
    return f"no model folder {name}; give a folder with a {file}, or owner/name of the hub"


def _local(part: Part) -> bool:
    return part.commit is None


def _found(name: str, file: str) -> tuple[Part, dict[str, Any]]:
    """The folder or repository called `name`, and what is in its `file`."""
    path = Path(name).expanduser()
    if path.is_dir():
        place = path.resolve()
        if not (place / file).is_file():
            raise EngineError(f"{name} holds no {file}; give a folder that diffusers wrote (save_pretrained)")
        part = Part(str(path), str(place), None, identity_of(place))
        return part, _json(place / file)
    if not _repository(name):
        raise EngineError(_nowhere(name, file))
    fetched = _fetch(name, file)
    return Part(name, name, _commit(fetched, file), _commit(fetched, file)), _json(fetched)


def _look(name: str) -> Part:
    """An IP-Adapter by its file; the image encoder is in `image_encoder` beside it."""
    path = Path(name).expanduser()
    if path.is_file():
        size, digest = _digest(path, whole=True)
        encoder = path.parent / "image_encoder"
        known = fingerprint(size, digest, identity_of(encoder) if encoder.is_dir() else None)
        return Part(str(path), str(path.parent.resolve()), None, known, path.name)
    owner, _, rest = name.partition("/")
    repository, _, inside = rest.partition("/")
    if not inside or name.startswith((".", "/", "~")):
        raise EngineError(f"no file {name}; give the .safetensors file of an IP-Adapter, or owner/name/…/file")
    commit = _commit(_fetch(f"{owner}/{repository}", inside), inside)
    return Part(name, f"{owner}/{repository}", commit, f"{commit} {inside}", inside)


def identity_of(folder: Path) -> str:
    """A digest over a folder's configuration and weights, in whatever order the disk has them."""
    files = sorted(each for each in folder.rglob("*") if each.suffix in _IDENTITY and each.is_file())
    whole = sum(each.stat().st_size for each in files) <= WHOLE
    return fingerprint([(each.relative_to(folder).as_posix(), *_digest(each, whole)) for each in files])


def _digest(path: Path, whole: bool) -> tuple[int, str]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if whole or size <= 2 * ENDS:
            return size, hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        found = hashlib.blake2b(file.read(ENDS), digest_size=16)
        file.seek(size - ENDS)
        found.update(file.read())
    return size, found.hexdigest()


def _fetch(name: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # our one line says what its retries would
    with one_line(f"cannot find the model {name}", "check its name, or connect once to fetch it"):
        return Path(hf_hub_download(name, file))


def _commit(fetched: Path, file: str) -> str:
    """The hub's cache keeps a file under snapshots/COMMIT/."""
    return fetched.parents[file.count("/")].name


def _json(path: Path) -> dict[str, Any]:
    with one_line(f"{path} cannot be read", "save the model again"):
        return dict(orjson.loads(path.read_bytes()))


@contextmanager
def one_line(what: str, fix: str) -> Iterator[None]:
    """Turns what finding and loading raise into one line; a model that needs torchvision gets a line of its own.

    Raises:
        EngineError: for any of them.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        if "alloc" in str(error) or "out of memory" in str(error):
            raise
        if "torchvision" in str(error).lower():
            raise EngineError(
                f"{what}: it needs torchvision, which is not installed; pip install torchvision"
            ) from None
        told = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise EngineError(f"{what}: {told}; {fix}") from None
