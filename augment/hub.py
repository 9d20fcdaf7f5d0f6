"""The Hugging Face hub: fetching a card's files once, and reading a dataset by its id."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import orjson

from augment.errors import SourceError
from augment.readers import Table
from augment.source_cards import Card


def download(card: Card, folder: Path, name: str) -> Path:
    """The folder that holds the card's hub files; fetched when they are not there yet.

    `origin.json` beside them records the repository, and the size in bytes and SHA-256 of each.

    Raises:
        SourceError: the hub cannot be reached; the line names the ways to get the data.
    """
    record = folder / "origin.json"
    if record.is_file() and all((folder / each).is_file() for each in card.hub_files):
        return folder
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # our one line says what its retries would
    files = {}
    for each in card.hub_files:
        try:
            got = Path(hf_hub_download(card.hub, each, repo_type="dataset", local_dir=folder))
        except (OSError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            held = " and ".join(card.files or card.hub_files)
            ways = [f"connect once (it is kept in {folder})", f"pass --path FOLDER, with {held} in it"]
            if card.directory_env:
                ways.append(f"set {card.directory_env} to such a folder")
            raise SourceError(
                f"cannot fetch {card.hub} from the hub ({type(error).__name__}); to get {name}, {', or '.join(ways)}"
            ) from None
        raw = got.read_bytes()
        files[each] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    record.write_bytes(orjson.dumps({"repository": card.hub, "files": files}, option=orjson.OPT_INDENT_2))
    return folder


def load_split(name: str) -> tuple[Any, str]:
    """The dataset `owner/name` as `datasets` opens it, its `train` split or else its first, and a remark on which.

    Raises:
        SourceError: it does not exist or cannot be reached.
    """
    from datasets import load_dataset
    from huggingface_hub.errors import HfHubHTTPError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        splits = load_dataset(name)
    except (OSError, ValueError, HfHubHTTPError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SourceError(f"cannot load the dataset '{name}' from the hub: {first}") from None
    split = "train" if "train" in splits else next(iter(splits))
    return splits[split], f"read from its split {split}" if len(splits) > 1 else ""


def load_hub_dataset(name: str) -> tuple[Card, Table]:
    """The card and rows of the dataset `owner/name`, its `train` split or else its first.

    Raises:
        SourceError: it does not exist or cannot be reached, or holds pictures.
    """
    from augment.images.hub import has_pictures

    data, _ = load_split(name)
    if has_pictures(data):
        raise SourceError(f"'{name}' is a dataset of pictures; use augment image --source {name}, or augment paired")
    card = Card(title=name, licence=data.info.license or "unknown", citation=data.info.citation or "", hub=name)
    table = Table(columns=list(data.column_names))
    table.rows.extend((f"{name}#{i}", row) for i, row in enumerate(data, 1))
    return card, table
