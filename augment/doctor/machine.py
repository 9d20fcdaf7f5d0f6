"""The machine: Python, processors, memory, disk and GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import augment
from augment.doctor import OK, PROBLEM, WARNING, Finding
from augment.doctor.asking import ask
from augment.doctor.packages import version_of
from augment.places import RUNS, home

LEAST_MEMORY = 1 << 30
LEAST_DISK, LOW_DISK = 100 << 20, 2 << 30
"""Bytes: under the first is a problem, under the second a warning."""


def python() -> Iterator[Finding]:
    """Python's version, the system's, and augment's."""
    version = ".".join(map(str, sys.version_info[:3]))
    found = {"version": version, "executable": sys.executable, "platform": sys.platform}
    if sys.version_info < (3, 11):  # noqa: UP036  (a checkout starts in an older one too)
        yield Finding("python", PROBLEM, f"{version}, and augment needs 3.11", "install Python 3.11 or later", found)
    elif os.name != "posix":
        yield Finding("python", PROBLEM, f"{version} on {sys.platform}", "use Linux, macOS or WSL", found)
    else:
        yield Finding("python", OK, f"{version} on {sys.platform}, {sys.executable}", found=found)
    where = Path(augment.__file__).parent
    found = {"version": augment.__version__, "path": str(where)}
    yield Finding("augment", OK, f"{augment.__version__}, in {where}", found=found)


def cpu() -> Iterator[Finding]:
    """The cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cpu", OK, f"{cores} cores", found={"cores": cores})


def memory() -> Iterator[Finding]:
    """The memory that is free, or can be made so: the machine's, or what is left of a container's limit."""
    free = min((each for each in (_available(), _left_of_limit()) if each is not None), default=None)
    if free is None:
        yield Finding("memory", OK, "not told by this system")
        return
    low = free < LEAST_MEMORY
    fix = "end other programs, or give the container more" if low else ""
    yield Finding("memory", WARNING if low else OK, f"{size(free)} free", fix, {"free": free})


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _left_of_limit() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used) if limit.isdigit() else None


def disk() -> Iterator[Finding]:
    """Whether there is room, and may be written, where replies and runs lie."""
    for name, place in (("home", home()), ("runs", RUNS)):
        yield _place(name, place.absolute())


def _place(name: str, place: Path) -> Finding:
    """What a folder, or the nearest above it that exists, has room for; a file is written there and removed."""
    above = next(each for each in (place, *place.parents) if each.exists())
    fix = "set AUGMENT_HOME to a folder" if name == "home" else "go to a folder"
    try:
        with tempfile.NamedTemporaryFile(dir=above):
            pass
        free = shutil.disk_usage(above).free
    except OSError as error:
        said = f"{place} cannot be written to: {error.strerror}"
        return Finding(name, PROBLEM, said, f"{fix} that may be written to, with room", {"path": str(place)})
    said = f"{place}{'' if above == place else ' (not made yet)'}, writable, {size(free)} free"
    status = PROBLEM if free < LEAST_DISK else WARNING if free < LOW_DISK else OK
    return Finding(
        name, status, said, f"make room, or {fix}" if status != OK else "", {"path": str(place), "free": free}
    )


def gpus(timeout: float) -> Iterator[Finding]:
    """The GPUs that torch can use, or why it can use none of those that are there."""
    torch = version_of("torch")
    there = _listed()
    if torch is None:
        yield Finding("gpu", OK, f"{', '.join(there)}; torch is not installed" if there else "none")
        return
    answer = ask("gpus", None, timeout)
    told = answer.first
    if not told:
        yield Finding("gpu", WARNING, f"torch does not say: {answer.ended}", "see torch above")
        return
    devices = told["devices"]
    if devices:
        said = ", ".join(f"{each['name']}, {size(each['memory'])}{_left(each)}" for each in devices)
        broken = any("error" in each for each in devices)
        fix = "see nvidia-smi for who uses it" if broken else ""
        yield Finding("gpu", WARNING if broken else OK, said, fix, told)
    elif there and not told["built"]:
        said = f"{', '.join(there)}, unused: torch {torch} is a build for CPUs"
        yield Finding("gpu", WARNING, said, "install a CUDA build of the same torch", told)
    elif there:
        said = f"{', '.join(there)}, unused: torch {torch} for CUDA {told['built']} finds no device"
        yield Finding("gpu", WARNING, said, "check the driver's version and CUDA_VISIBLE_DEVICES", told)
    else:
        yield Finding("gpu", OK, "Apple's (mps)" if told["mps"] else "none: models run on the CPU", found=told)


def _left(device: dict[str, object]) -> str:
    free = device.get("free")
    return f" ({size(free)} free)" if isinstance(free, int) else f" (cannot be used: {device.get('error')})"


def _listed() -> list[str]:
    """The GPUs that the driver lists."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def size(count: int) -> str:
    """Bytes for people: "12.3 GiB"."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
