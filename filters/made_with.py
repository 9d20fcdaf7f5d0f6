"""What a filter's scores were made with besides the rows and its settings: its code, the exam and the seeds.

A manifest holds it filter by filter, so that scores are read again only where all of it is as it was. Code is augment's
version, the source of the filter's module, of every module of its package that this imports, and the word lists that
they name: another filter's code is not asked. What is not in it: the weights in a model's folder, and other packages.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from augment import __version__
from augment.places import data_dir
from augment.records import fingerprint
from filters import Context

WHAT = {"code": "filter's code", "exam": "exam", "seeds": "seeds"}
"""The parts of what scores are made with, in words."""


def made_with(filter: Any, context: Context) -> dict[str, str]:
    """Digests of what the filter's scores depend on: `code`, and `exam` and `seeds` where it reads them as a whole."""
    told = {"code": code_of(type(filter).__module__)}
    if getattr(filter, "reads_exam", False):
        told["exam"] = fingerprint(context.exam["id"].to_list())
    if getattr(filter, "reads_seeds", False):
        told["seeds"] = fingerprint(sorted(context.seeds["id"]))
    return told


@cache
def code_of(module: str) -> str:
    """The digest of a module and of all that it imports of its own package; "" where it has no source to read."""
    package = module.partition(".")[0]
    found: dict[str, str] = {}
    lists: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or (path := _source(name)) is None:
            continue
        found[name] = path.read_text("utf-8")
        tree = ast.parse(found[name])
        # the package itself is the table of all filters, which says nothing of one
        waiting += [each for each in _imports(tree, name) if each.startswith(f"{package}.")]
        told = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        named = (data_dir() / each for each in told if each.endswith((".txt", ".toml")))
        lists |= {each.name: each.read_text("utf-8") for each in named if each.is_file()}
    return fingerprint(__version__, sorted(found.items()), sorted(lists.items())) if found else ""


def _source(module: str) -> Path | None:
    """The file that a module is written in, if it is one."""
    try:
        spec = find_spec(module)
    except (ModuleNotFoundError, ValueError):  # a name that is imported from a module, or a script
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _imports(tree: ast.AST, module: str) -> Iterator[str]:
    """Every name that may be a module and is imported in the tree."""
    spec = find_spec(module)
    package = module if spec is not None and spec.submodule_search_locations else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield source
            yield from (f"{source}.{each.name}" for each in node.names)
