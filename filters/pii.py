"""Personal data that a generated row invents, leaks or repeats: identity numbers, phones, e-mails, bank cards, homes.

A dropped row lies in `rejected.parquet` as it was generated, like every other, so that people can judge the verdict;
reasons and scores hold kinds and counts, never what was found, and `augment report` shows nothing of the row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from filters import Context
from filters.personal import KINDS, WORTH_A_LOOK, Kind, personal
from filters.said import said, said_before


@dataclass(frozen=True)
class Pii:
    """Drops rows with personal data, their seed's too, which is not to be multiplied; or only with new (`inherited`).

    `kinds` are those that count: "id" (Chinese identity numbers of 18 digits with a right check digit, or 15), "phone",
    "landline", "email", "card" (Luhn), "document" (passports, medical records, US social security numbers), "account"
    (WeChat and the like), "plate", "home" (street, number and flat), "address" (public IPv4). Numbers of institutions,
    toll-free numbers and addresses at example.com are nobody's. Every column with words is looked at. `inherited` off
    keeps rows that say no more than their seeds. The scores are counts and kinds; what was found is not copied.
    """

    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS
    inherited: bool = True
    name: ClassVar[str] = "pii"
    cost: ClassVar[str] = "row"
    modalities: ClassVar[tuple[str, ...]] = ("text", "image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {"pii_new": ("kinds",), "pii_found": ("kinds", "inherited")}
    scores: ClassVar[dict[str, Any]] = {
        "pii_found": pl.String,
        "pii_new": pl.String,
        **{f"pii_{kind}": pl.Int64 for kind in KINDS},
    }
    """Kinds in the row, kinds of which it has something that its seeds lack, and how many there are of each."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        looked = frame.with_columns(said(frame).alias("said")).with_row_index("_at").filter(WORTH_A_LOOK)
        hits = [personal(text) for text in looked["said"]]
        some = looked.filter(pl.Series([bool(each) for each in hits], dtype=pl.Boolean))
        rows: list[dict[str, Any]] = []
        for at, found, before in zip(some["_at"], filter(None, hits), said_before(some, context.seeds), strict=True):
            known = personal(before)
            new = {kind for kind, value in found if (kind, value) not in known}
            counts = Counter(kind for kind, _ in found.elements())
            rows.append(
                {
                    "_at": at,
                    "pii_found": " ".join(kind for kind in KINDS if counts[kind]),
                    "pii_new": " ".join(kind for kind in KINDS if kind in new),
                    **{f"pii_{kind}": counts[kind] for kind in KINDS},
                }
            )
        found_rows = pl.DataFrame(rows, schema={"_at": pl.UInt32, **self.scores})
        scored = frame.with_row_index("_at").join(found_rows, on="_at", how="left", maintain_order="left")
        return scored.drop("_at").with_columns(
            pl.col(name).fill_null("" if dtype == pl.String else 0) for name, dtype in self.scores.items()
        )

    def verdict(self) -> pl.Expr:
        def first(column: str, suffix: str) -> list[pl.Expr]:
            which = pl.col(column).str.split(" ")
            return [pl.when(which.list.contains(kind)).then(pl.lit(_REASONS[kind] + suffix)) for kind in self.kinds]

        return pl.coalesce(*first("pii_new", ""), *(first("pii_found", ", as in its seed") if self.inherited else ()))


_REASONS: dict[Kind, str] = {
    "id": "an identity number",
    "phone": "a phone number",
    "landline": "a phone number",
    "email": "an e-mail address",
    "card": "a bank card number",
    "document": "a document number",
    "account": "a messenger account",
    "plate": "a number plate",
    "home": "somebody's address",
    "address": "an IP address",
}
