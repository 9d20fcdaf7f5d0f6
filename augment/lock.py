"""One process to a folder that is being written: the others are told who has it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import filelock

from augment.errors import RunError

LOCK = ".augment.lock"
"""The file that is locked while a folder is written; it also marks the folder as one of ours."""
HOLDER = ".holder"
"""The file that says which process holds the folder."""


@dataclass(frozen=True)
class Lock:
    """A folder held by this process until `release`."""

    folder: Path
    held: filelock.BaseFileLock

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Hold `folder`, which exists.

        Raises:
            RunError: another process holds it.
        """
        held = filelock.FileLock(folder / LOCK)
        holder = folder / HOLDER
        try:
            held.acquire(timeout=0)
        except filelock.Timeout:
            who = holder.read_text() if holder.is_file() else "another process"
            raise RunError(f"{folder} is being written by {who}; wait for it or choose another --out") from None
        return cls(folder, held)

    def sign(self) -> None:
        """Say who holds the folder, to those who come after."""
        (self.folder / HOLDER).write_text(f"pid {os.getpid()} on {socket.gethostname()}")

    def release(self) -> None:
        """Let the next one have it."""
        (self.folder / HOLDER).unlink(missing_ok=True)
        self.held.release()


@contextmanager
def holding(folder: Path, check: Callable[[Path], None] = lambda _: None) -> Iterator[None]:
    """`folder`, made where it is not there and held by this process while the block lasts.

    `check` looks at what is in it before anything is written, and raises what it objects to.

    Raises:
        RunError: another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check(folder)
        lock = Lock.take(folder)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}; choose another --out") from None
    try:
        lock.sign()
        yield
    finally:
        lock.release()
