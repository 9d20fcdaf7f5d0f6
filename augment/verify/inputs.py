"""The pictures that a request is made from: in the picture store, or brought back to it from the run itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from augment.images.pictures import Unreadable, read_picture
from augment.images.store import pictures
from augment.records import Request
from augment.verify.pictures import Hung, hung


@dataclass
class Inputs:
    """What a run can give back: its seeds by the digest of their pixels, and their masks."""

    run: Path
    _seeds: dict[str, Hung] = field(default_factory=dict)
    _read: bool = False
    _masks: bool = False

    def provide(self, request: Request) -> None:
        """See to it that the request's pictures are in the store.

        Raises:
            Unreadable: one of them is neither there nor in the run.
        """
        wanted = (*request.pictures, *(request.drawing.pictures if request.drawing else ()))
        for name in wanted:
            if name in pictures():
                continue
            self._bring(name)
            if name not in pictures():
                raise Unreadable("a picture that it was made from is neither in the picture store nor in the run")

    def _bring(self, name: str) -> None:
        if not self._read:
            self._read = True
            self._seeds = {row.pixels: row for row in hung(self.run) if not row.drawn}
        if name in self._seeds:
            self._add(self._seeds[name].image)
        elif not self._masks:  # a mask's row does not tell its digest, so all are brought at once
            self._masks = True
            for row in self._seeds.values():
                if row.mask is not None:
                    self._add(row.mask)

    def _add(self, place: str) -> None:
        """Keep a published picture under what its pixels say, whatever its row does."""
        try:
            pictures().add(read_picture(self.run / "curated" / place))
        except Unreadable:
            return
