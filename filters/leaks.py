"""Which texts hold personal data or a credential: for pages that show texts that no filter has read."""

from __future__ import annotations

import polars as pl

from filters import personal, secrets
from filters.credentials import credentials


def leaks(texts: pl.Series) -> pl.Series:
    """Whether each text holds any, as `pii` and `secrets` see it; a null holds none."""
    frame = pl.DataFrame({"said": texts.cast(pl.String).fill_null("")})
    suspect = frame.select(personal.WORTH_A_LOOK | secrets.WORTH_A_LOOK).to_series()
    found = [
        look and bool(personal.personal(text) or credentials(text))
        for text, look in zip(frame["said"], suspect, strict=True)
    ]
    return pl.Series(texts.name, found, dtype=pl.Boolean)
