"""Training and validation rows: whole families go one way, so that no variant of a validation seed is trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from augment.records import fingerprint
from finetune.rows import Item


@dataclass(frozen=True)
class Split:
    """`validation` are the real rows of its families; their generated ones are `aside` and used for nothing."""

    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    aside: int


def split(items: Iterable[Item], share: float, seed: int) -> Split:
    """About `share` of the families for validation, by the hash of their name; at least one where there are two.

    A family without a real row (a dataset published without its seeds) is judged on its generated ones.
    """
    families: dict[str, list[Item]] = {}
    for item in items:
        families.setdefault(item.family, []).append(item)
    place = {name: int(fingerprint("validation", name, seed)[:8], 16) / 2**32 for name in families}
    held = {name for name in families if place[name] < share}
    if share and len(families) > 1:
        order = sorted(families, key=lambda name: place[name])
        held = held or set(order[:1])
        held -= set(order[-1:])  # something has to be trained on
    validation: list[Item] = []
    aside = 0
    for name in (name for name in families if name in held):
        real = [item for item in families[name] if not item.made] or families[name]
        validation += real
        aside += len(families[name]) - len(real)
    train = [item for name, kin in families.items() if name not in held for item in kin]
    return Split(tuple(train), tuple(validation), aside)
