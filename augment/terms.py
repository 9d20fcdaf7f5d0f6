"""Licence and terms of what a dataset was made with: its source's, and those of the models that wrote or drew it.

What is known of language models is in `data/llms.toml`, of those that draw in `data/models.toml`; all else is unknown,
and is said to be. They travel with the data: in the manifest, on the card, and in a line when it is exported.
"""

from __future__ import annotations

import fnmatch
import tomllib
import urllib.parse
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from augment.engines import Engine
from augment.errors import EngineError
from augment.images.models import entry_of
from augment.manifest import manifest_of
from augment.places import data_dir
from augment.published import run_named

if TYPE_CHECKING:
    from augment.plan import Plan

SEEDED = ("echo", "noise")
"""The engines that are no models."""
SAID = {
    "yes": "others may be trained on what it makes",
    "conditions": "others may be trained on what it makes, under conditions",
    "restricted": "not for training every other model",
    "no": "others may not be trained on what it makes",
    "unclear": "whether others may be trained on what it makes is unclear",
    "unknown": "its terms are not known here",
}


class Family(BaseModel):
    """Language models under the same terms, `[[llm]]` in the table: by the server's host, or by name and owner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hosts: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    licence: str
    outputs_may_train: Literal["yes", "conditions", "restricted"]
    note: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    llm: list[Family]


@cache
def families() -> tuple[Family, ...]:
    """Every family that we know of.

    Raises:
        EngineError: the table does not validate.
    """
    path = data_dir() / "llms.toml"
    try:
        return tuple(_File.model_validate(tomllib.loads(path.read_text("utf-8"))).llm)
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise EngineError(f"the table of language models {path} is not valid: {error}") from None


def family_of(model: str, *hosts: str) -> Family | None:
    """What we know of a language model called so, served by `hosts`; None of another owner's, which may be anything."""
    owner, _, name = model.lower().rpartition("/")
    for each in families():
        if any(host.lower() in each.hosts for host in hosts):
            return each
    for each in families():
        if (not owner or owner in each.owners) and any(fnmatch.fnmatchcase(name, one) for one in each.names):
            return each
    return None


def terms_of(plan: Plan) -> dict[str, Any]:
    """What a manifest says under `terms`: the source's licence and each model's; of a source that is a run, its own."""
    card = plan.source.card
    source = {"name": plan.source.name, "licence": card.licence, "note": card.licence_note}
    models: list[dict[str, str]] = []
    run = run_named(plan.recipe.source)
    before = manifest_of(run).get("terms") if run is not None else None
    if isinstance(before, dict):
        source, models = before.get("source", source), list(before.get("models", ()))
    specs = {id(plan.llm): plan.recipe.llm} if plan.pictured else {id(plan.engine): plan.recipe.llm}
    if plan.pictured:
        specs[id(plan.engine)] = getattr(plan.recipe, "engine", None)
    draws = plan.engine if plan.pictured else None
    for engine in plan.engines:
        for told in _models(engine, str(specs.get(id(engine)) or ""), engine is draws):
            if told not in models:
                models.append(told)
    return {"source": source, "models": models}


def _models(engine: Engine, spec: str, draws: bool) -> Iterator[dict[str, str]]:
    """The terms of an engine's model, and of what is added to it (`diffusers:MODEL+CONTROLNET`)."""
    if engine.name in SEEDED:
        return
    named = spec.partition(":")[2] or engine.model
    here = Path(named).expanduser().exists()
    parts = named.split("+") if draws and not here else [named]
    for part in parts:
        folder = engine.name not in ("openai", "openai-images") and Path(part).expanduser().exists()
        name = Path(part).name if folder else part
        hosts = _hosts(engine)
        found: Any = None if folder or (draws and not hosts) else family_of(part, *hosts)
        found = found or (entry_of(part) if draws and not folder else None)
        yield {
            "engine": engine.name,
            "model": name,
            "licence": found.licence if found else "unknown",
            "outputs_may_train": found.outputs_may_train if found else "unknown",
            "note": found.note if found else "",
        }


def _hosts(engine: Engine) -> list[str]:
    """The hosts of the servers that an engine asks; [] of one that asks none."""
    servers = getattr(engine, "servers", ()) or tuple(filter(None, (getattr(engine, "server", None),)))
    return [urllib.parse.urlsplit(each.url).hostname or "" for each in servers]


def terms_lines(terms: Mapping[str, Any]) -> list[str]:
    """The card's section."""
    source = terms["source"]
    note = f" ({source['note']})" if source["note"] else ""
    lines = ["## Licence and terms", "", f"* Source {_plain(source['name'])}: {_plain(source['licence'])}{note}"]
    for each in terms["models"]:
        lines.append(f"* Model {_plain(each['model'])}: {_said(each)}")
    return [*lines, *(["* No model was asked."] if not terms["models"] else []), ""]


def warning_of(terms: Any) -> str:
    """In one line what of a run's terms forbids or restricts training, or may; "" where nothing is known to."""
    if not isinstance(terms, dict):
        return ""
    source, told = terms.get("source") or {}, []
    licence = str(source.get("licence", ""))
    if limit := _limit(licence):
        told.append(f"source {source.get('name')} is under {licence}: {limit}")
    for each in terms.get("models") or ():
        if each.get("outputs_may_train") not in ("yes", "unknown"):
            told.append(f"{each.get('model')} is under {_said(each)}")
    return f"read the terms before you train on it: {'; '.join(map(_plain, told))}" if told else ""


def _said(model: Mapping[str, Any]) -> str:
    if model["outputs_may_train"] == "unknown":
        return "unknown"
    return f"{model['licence']}, {SAID[model['outputs_may_train']]}" + (f" ({model['note']})" if model["note"] else "")


def _limit(licence: str) -> str:
    """What the name of a licence says that it does not allow."""
    parts = licence.lower().replace(" ", "-").split("-")
    limits = {"nc": "not for commercial use", "noncommercial": "not for commercial use", "nd": "no derivatives"}
    return ", ".join(dict.fromkeys(limits[each] for each in parts if each in limits))


def _plain(text: str) -> str:
    """Foreign text on one line."""
    return " ".join(str(text).split()).replace("`", "'")
