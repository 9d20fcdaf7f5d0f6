"""Requests that wait to be drawn, by what they can be drawn together with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from augment.drawing.calls import Asked
from augment.records import Request


@dataclass(eq=False)
class Waiting:
    """Requests in the order they came, in groups that one pipeline call can draw."""

    groups: dict[Asked, deque[Request]] = field(default_factory=dict)
    count: int = 0

    def __len__(self) -> int:
        return self.count

    def add(self, asked: Asked, request: Request) -> int:
        """One more; how many wait in its group now."""
        self.groups.setdefault(asked, deque()).append(request)
        self.count += 1
        return len(self.groups[asked])

    def fullest(self) -> Asked:
        """The group of which most wait, the oldest of several."""
        return max(self.groups, key=lambda each: len(self.groups[each]))

    def take(self, asked: Asked, most: int) -> list[Request]:
        """Up to `most` requests of a group, those that came first."""
        group = self.groups[asked]
        taken = [group.popleft() for _ in range(min(most, len(group)))]
        self.count -= len(taken)
        if not group:
            del self.groups[asked]
        return taken
