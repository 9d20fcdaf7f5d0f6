"""Whether this machine can do what a user may want of it, one line for each thing looked at.

Everything here is the standard library's: the doctor has to work where packages are absent or broken. What may hang,
crash or is not ours to import is asked of a process of its own (`augment.doctor.probe`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

OK, WARNING, PROBLEM = "ok", "warning", "problem"
SECRETS = ("OPENAI_API_KEY", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "HF_TOKEN", "RAY_AUTH_TOKEN")
"""What is never shown, wherever it turns up."""
AT_ONCE = 4


@dataclass(frozen=True)
class Finding:
    """What was found of one thing: `said` in words, `fix` what to do about it, `found` the numbers, for `--json`."""

    name: str
    status: str
    said: str
    fix: str = ""
    found: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `fix` and `found` only where there is something."""
        more = {name: value for name, value in (("fix", self.fix), ("found", self.found)) if value}
        return {"name": self.name, "status": self.status, "said": self.said, **more}


def examine(timeout: float = 60.0) -> list[Finding]:
    """Everything that is looked at, in the order in which it is shown; `timeout` is for an import, in seconds."""
    from augment.doctor import machine, packages, services

    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        machine.python,
        lambda: packages.installed(timeout),
        packages.together,
        lambda: machine.gpus(timeout),
        machine.cpu,
        machine.memory,
        machine.disk,
        lambda: services.store(timeout),
        lambda: services.llm(timeout),
        services.prefect,
        services.ray,
        services.hub,
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda look: list(look()), looks))
    return [_without_secrets(each) for some in found for each in some]


def _without_secrets(finding: Finding) -> Finding:
    return replace(finding, said=hidden(finding.said), fix=hidden(finding.fix), found=_hidden_in(finding.found))


def hidden(text: str) -> str:
    """`text` on one line, without the keys of the environment and without what stands before an address's @."""
    for name in SECRETS:
        if secret := os.environ.get(name, "").strip():
            text = text.replace(secret, "***")
    return re.sub(r"//[^/\s@]+@", "//***@", " ".join(text.split()))


def _hidden_in(value: Any) -> Any:
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, dict):
        return {key: _hidden_in(each) for key, each in value.items()}
    return [_hidden_in(each) for each in value] if isinstance(value, list) else value
