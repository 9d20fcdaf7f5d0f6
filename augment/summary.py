"""What happened, in counts: kept while a run goes on, checked and written when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from augment.allocate import allocated
from augment.plan import Plan
from augment.quota import Quota
from augment.records import Reply
from augment.sieve import Sieve, harsh
from filters import Context
from filters.chain import Chain
from filters.pictures.image_dup import memorisation

FAILED = "engine"
"""`dropped_by` of a candidate whose request failed for good: it counts as failed, not as rejected."""


@dataclass
class Tally:
    """Running counts. candidates = kept + rejected + failed holds after every shard.

    `carried` of the kept come from the parent run, where there is one.
    `tokens_in`, `tokens_out` and `requests_sent` are what this run paid; reused replies cost nothing.
    Of the kept pictures that a model drew (`drawn`), `near_copies` are nearly some seed: the memorisation rate.
    `rungs` counts answers that should follow a schema by how that was asked for: "schema" or "prompt".
    `checks` is how far judges can be trusted (see `checks_of`), and how requests were allocated; `sieve` how hard
    filters sift. `after` is called when a reply was counted.
    """

    target: int = 0
    carried: int = 0
    candidates: int = 0
    kept: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    per_generator: dict[str, Counter[str]] = field(default_factory=dict)
    requests_sent: int = 0
    replies_reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    near_copies: int = 0
    drawn: int = 0
    checks: dict[str, Any] = field(default_factory=dict)
    sieve: Sieve = field(default_factory=Sieve)
    after: Callable[[], None] | None = None

    @property
    def failed(self) -> int:
        """Candidates whose request failed for good."""
        return sum(count for (by, _), count in self.reasons.items() if by == FAILED)

    @property
    def rejected(self) -> int:
        """Candidates that a filter dropped, or whose reply held no row."""
        return sum(self.reasons.values()) - self.failed

    def line(self) -> str:
        """The account in one line."""
        return f"{self.kept:,} of {self.target:,} kept, {self.rejected:,} rejected, {self.failed:,} failed"

    def sent(self, reply: Reply) -> None:
        """Count one answered request."""
        self.requests_sent += 1
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out
        if reply.rung:
            self.rungs[reply.rung] += 1
        if self.after:
            self.after()

    def add(self, sifted: pl.DataFrame) -> None:
        """Count a shard's sifted candidates."""
        self.candidates += len(sifted)
        if "image_dup_nearest_seed" in sifted.columns:
            near, known = memorisation(sifted.filter(pl.col("dropped_by").is_null() & drawn_by_model()))
            self.near_copies, self.drawn = self.near_copies + near, self.drawn + known
        grouped = sifted.group_by("generator", "dropped_by", "reason").len().iter_rows()
        for generator, dropped_by, reason, count in grouped:
            counts = self.per_generator.setdefault(generator, Counter())
            counts["candidates"] += count
            if dropped_by is None:
                self.kept += count
                counts["kept"] += count
            else:
                self.reasons[dropped_by, reason] += count
                counts["failed" if dropped_by == FAILED else "rejected"] += count

    def put_out(self, chosen: pl.DataFrame) -> None:
        """Count, of rows that were kept, those that a selection dropped."""
        out = chosen.filter(pl.col("dropped_by").is_not_null())
        for generator, name, reason, count in out.group_by("generator", "dropped_by", "reason").len().iter_rows():
            counts = self.per_generator[generator]
            self.kept, counts["kept"] = self.kept - count, counts["kept"] - count
            counts["rejected"] += count
            self.reasons[name, reason] += count


def drawn_by_model() -> pl.Expr:
    """Whether a row's picture comes from a model: rules stay near their parent on purpose."""
    return pl.col("engine").ne_missing(pl.col("generator"))


@dataclass(frozen=True)
class Summary:
    """A finished run in counts; `summary.json` is its `to_dict`."""

    counts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The counts, ready for JSON."""
        return self.counts

    def to_markdown(self) -> str:
        """The counts as two tables: what came and went, and what was dropped by whom."""
        counts = self.counts
        lines = ["| | rows |", "|---|---|"]
        keys = (
            "rows_in",
            "seeds",
            "exam",
            "source_rejected",
            "unused",
            "target",
            "carried",
            "candidates",
            "kept",
            "failed",
        )
        lines += [f"| {key} | {counts[key]:,} |" for key in keys]
        lines.insert(-1, f"| rejected | {total_rejected(counts):,} |")
        if counts["rejected"]:
            lines += ["", "| dropped by | reason | rows |", "|---|---|---|"]
            for name, reasons in counts["rejected"].items():
                lines += [f"| {name} | {reason} | {count:,} |" for reason, count in reasons.items()]
        if told := [*remarks(counts), *harsh(counts.get("sieve", []))]:
            lines += ["", *(f"* {line}" for line in told)]
        return "\n".join(lines)


def checks_of(context: Context) -> dict[str, Any]:
    """What filters found out about their judges, for a summary.

    `label_check` and `label_kept` (by changed fields): what share of real rows they turn away; `no_verdicts`: how many
    rows each LLM was asked about and gave no verdict on.
    """
    memory = context.memory
    found = {name: memory[f"{name}_quality"] for name in ("label_check", "label_kept") if memory.get(f"{name}_quality")}
    silent = {
        name.removesuffix("_silence"): {key: each[key] for key in ("asked", "no_verdict")}
        for name, each in sorted(memory.items())
        if name.endswith("_silence")
    }
    return {**found, **({"no_verdicts": silent} if silent else {})}


def remarks(counts: dict[str, Any]) -> list[str]:
    """What is to be known of a run besides its counts, a sentence each."""
    lines = []
    memorised = counts.get("memorised") or {"of": 0}
    if memorised["of"]:
        near, of = memorised["near_copies"], memorised["of"]
        lines.append(f"memorised: {near:,} of {of:,} drawn pictures ({near / of:.1%}) are nearly a seed")
    if counts.get("balance"):
        each = [f"{one['label']} {one['seeds'] + one['kept']:,}" for one in counts["balance"]]
        lines.append(f"rows of each label, seeds and variants: {', '.join(each)}")
    judges = [("label check", "pictures", counts.get("label_check"))]
    judges += [(f"label kept, {fields}", "rows", each) for fields, each in (counts.get("label_kept") or {}).items()]
    for name, what, check in judges:
        if check and check["of"]:
            lines.append(
                f"{name} ({check['judge']}): turns away {check['false_rejects']:.1%} of {check['of']:,} real {what} "
                f"(of the {check['on']}); so much of what is good it drops, too"
            )
    for name, each in (counts.get("no_verdicts") or {}).items():
        if each["no_verdict"]:
            lines.append(f"{name}: no verdict on {each['no_verdict']:,} of {each['asked']:,} rows, which are kept")
    if waves := counts.get("allocation"):
        lines.append(allocated(waves))
    return lines


def total_rejected(counts: dict[str, Any]) -> int:
    """All candidates rejected, over filters and reasons."""
    return sum(sum(reasons.values()) for reasons in counts["rejected"].values())


def summarise(plan: Plan, tally: Tally, quota: Quota, seconds: float) -> Summary:
    """The summary of a finished run: what `quota` says of seeds that fell short, and of labels to be balanced, too.

    Raises:
        AssertionError: a row is unaccounted for, which is a defect of ours.
    """
    source = plan.source
    unused = len(source.seeds) - len(plan.seeds)
    counts = {
        "source": source.name,
        "rows_in": source.rows_in,
        "seeds": len(plan.seeds),
        "exam": len(source.exam),
        "source_rejected": len(source.rejected),
        "unused": unused,
        "target": tally.target,
        "carried": tally.carried,
        **account(tally, plan.chain),
        "seeds_short": quota.short().to_dicts(),
        **({"balance": balance} if (balance := quota.balance()) else {}),
        "rounds": tally.rounds,
        "seconds": round(seconds, 3),
    }
    if plan.pictured:
        counts["memorised"] = {"near_copies": tally.near_copies, "of": tally.drawn}
    counts |= tally.checks
    if plan.verdicts:
        counts["review"] = plan.verdicts.counts()
    if source.rows_in != len(plan.seeds) + counts["exam"] + len(source.rejected) + unused:
        raise AssertionError(f"source rows unaccounted for: {counts}")
    return Summary(counts)


def account(tally: Tally, chain: Chain) -> dict[str, Any]:
    """What became of the candidates, for a summary: kept, rejected by whom and why, failed, and what was paid.

    Raises:
        AssertionError: a candidate is unaccounted for, which is a defect of ours.
    """
    reasons: dict[str, dict[str, int]] = {}
    failures: dict[str, int] = {}
    for (name, reason), count in sorted(tally.reasons.items()):
        if name == FAILED:
            failures[reason] = count
        else:
            reasons.setdefault(name, {})[reason] = count
    if tally.candidates != tally.kept + tally.rejected + tally.failed:
        raise AssertionError(f"candidates unaccounted for: {tally}")
    return {
        "candidates": tally.candidates,
        "kept": tally.kept,
        "rejected": reasons,
        "failed": tally.failed,
        "failures": failures,
        "per_generator": {name: dict(sorted(each.items())) for name, each in sorted(tally.per_generator.items())},
        "sieve": tally.sieve.told(chain),
        "requests_sent": tally.requests_sent,
        "replies_reused": tally.replies_reused,
        "tokens_in": tally.tokens_in,
        "tokens_out": tally.tokens_out,
        **({"structured": dict(sorted(tally.rungs.items()))} if tally.rungs else {}),
    }
