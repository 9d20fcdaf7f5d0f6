"""Credentials in generated rows: private keys, access tokens, passwords. A model that learns them tells them.

A dropped row lies in `rejected.parquet` as it was generated, like every other and like those of `pii`, so that people
can judge the verdict; reasons and scores name kinds and counts, never the secret, and `augment report` shows nothing of
the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from filters import Context
from filters.credentials import KINDS, credentials
from filters.said import said, said_before

_LOOKS = (
    "PRIVATE KEY|AGE-SECRET|AKI[AD]|ASIA|ABIA|ACCA|LTAI|AIza",
    "gh[pousr]_|github_pat_|gl(?:pat|dt|rt|ptt)-|npm_|hf_|pypi-",
    "xox[abeoprs]-|xapp-|[sr]k_live_|[sr]k_test_|whsec_|sk-",
    r"GOCSPX-|ya29\.|SG\.|:AA|dop_v1_|dckr_pat_|gsk_|r8_|shpat_",
    r"hooks\.slack|oapi\.dingtalk|qyapi\.weixin|open\.feishu|eyJ|://",
    "[bB]earer |Basic ",
    "[pP]ass[wWpPcC]|PASS[WPC]|[pP]wd|PWD",
    "[kK]ey|KEY|[sS]ecret|SECRET|[tT]oken|TOKEN",
    "密码|口令|密钥|秘钥|令牌|授权码",
    "[Ａ-Ｚａ-ｚ]|[\u200b-\u200f\u2060\u00ad]",
)
WORTH_A_LOOK = pl.any_horizontal(pl.col("said").str.contains(each) for each in _LOOKS)
"""All texts that hold a credential, and few others. Apart, and with few first bytes each, they are ten times as fast as
in one pattern."""


@dataclass(frozen=True)
class Secrets:
    """Drops rows with a credential: one that the row's seed holds too, which is not to be multiplied.

    Private keys, tokens and keys in the formats of those who issue them, JSON web tokens, passwords in addresses, and
    passwords and keys behind a label (`password=`, 密码：) that are no placeholder. Every column of words is read.
    The scores are kinds and counts; what was found is not copied into them.
    """

    name: ClassVar[str] = "secrets"
    cost: ClassVar[str] = "row"
    modalities: ClassVar[tuple[str, ...]] = ("text", "image", "paired")
    limits: ClassVar[dict[str, tuple[str, ...]]] = {}
    scores: ClassVar[dict[str, Any]] = {
        "secrets_found": pl.String,
        "secrets_new": pl.String,
        "secrets_count": pl.Int64,
    }
    """Kinds in the row, kinds of which it has something that its seeds lack ("; " between them), and how many."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        looked = frame.with_columns(said(frame).alias("said")).with_row_index("_at").filter(WORTH_A_LOOK)
        hits = [credentials(text) for text in looked["said"]]
        some = looked.filter(pl.Series([bool(each) for each in hits], dtype=pl.Boolean))
        rows = []
        for at, found, before in zip(some["_at"], filter(None, hits), said_before(some, context.seeds), strict=True):
            known = {value for _, value in credentials(before)}
            has, new = {kind for kind, _ in found}, {kind for kind, value in found if value not in known}
            told = ("; ".join(kind for kind in KINDS if kind in kinds) for kinds in (has, new))
            rows.append((at, *told, found.total()))
        found_rows = pl.DataFrame(rows, schema={"_at": pl.UInt32, **self.scores}, orient="row")
        scored = frame.with_row_index("_at").join(found_rows, on="_at", how="left", maintain_order="left")
        return scored.drop("_at").with_columns(
            pl.col(name).fill_null("" if dtype == pl.String else 0) for name, dtype in self.scores.items()
        )

    def verdict(self) -> pl.Expr:
        def first(column: str, suffix: str) -> list[pl.Expr]:
            which = pl.col(column).str.split("; ")
            return [pl.when(which.list.contains(kind)).then(pl.lit(_with_article(kind) + suffix)) for kind in KINDS]

        return pl.coalesce(*first("secrets_new", ""), *first("secrets_found", ", as in its seed"))


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AO' or kind.startswith(('access', 'HTTP', 'npm')) else 'a'} {kind}"
