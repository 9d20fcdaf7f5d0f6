"""What a plan would do, before anything is sent: rows, requests, tokens, and an example of each prompt."""

from __future__ import annotations

from typing import Any

from augment.language import language_of
from augment.plan import RECORD, Plan
from augment.records import Request, Row

SAMPLE = 50
"""Records whose prompts are rendered to estimate tokens."""


def tokens_of(text: str) -> float:
    """A rough count of tokens: 0.7 a character of Chinese, Japanese or Korean, else one in four characters."""
    return len(text) * (0.7 if language_of(text) in ("zh", "ja", "ko") else 0.25)


def _answer_tokens(row: Row, request: Request) -> float:
    """An answer is taken to be as long as what the row holds for the fields asked for."""
    texts = {"question": row.prompt, "answer": row.response or row.prompt}
    asked = request.schema["properties"] if request.schema else ()
    return sum(tokens_of(text) for name, text in texts.items() if name in asked)


def forecast(plan: Plan) -> dict[str, Any]:
    """The plan in numbers and one rendered request a generator. Estimates assume that every candidate is kept."""
    rows = [Row(*each) for each in plan.seeds.select(RECORD).head(SAMPLE).iter_rows()]
    tokens_in = tokens_out = 0.0
    examples = []
    for place, generator in enumerate(plan.generators):
        requests = [plan.addressed(generator, generator.ask(row, 0, ())) for row in rows]
        share = plan.turns.count(place) / len(plan.turns)
        asked = sum(tokens_of(content) for each in requests for _, content in each.messages) / len(rows)
        wanted = sum(_answer_tokens(row, each) for row, each in zip(rows, requests, strict=True)) / len(rows)
        tokens_in += plan.total * share * asked
        tokens_out += plan.total * share * wanted
        first = requests[0]
        examples.append({"generator": first.generator, "template": first.template, "messages": first.messages})
    return {
        "source": plan.source.name,
        "rows_in": plan.source.rows_in,
        "seeds": len(plan.seeds),
        "exam": len(plan.exam),
        "target": plan.total,
        "requests": plan.total,
        "requests_at_most": plan.cap * len(plan.seeds),
        "llm": plan.recipe.llm,
        "tokens_in": round(tokens_in) if plan.recipe.llm else 0,
        "tokens_out": round(tokens_out) if plan.recipe.llm else 0,
        "incremental": plan.recipe.incremental,
        "filters": [each.name for each in plan.chain.filters],
        "out": str(plan.out) if plan.recipe.out or not plan.recipe.llm else f"{plan.out.parent}/{plan.name}-…",
        "examples": examples,
    }


def to_text(found: dict[str, Any]) -> str:
    """The forecast for a terminal."""
    lines = [
        f"source    {found['source']}: {found['rows_in']:,} rows, {found['seeds']:,} seeds, {found['exam']:,} held out",
        f"target    {found['target']:,} variants",
        f"requests  {found['requests']:,} if all are kept, {found['requests_at_most']:,} at most",
        f"tokens    about {found['tokens_in']:,} in and {found['tokens_out']:,} out, if all are kept",
        f"filters   {', '.join(found['filters']) or 'none'}",
        f"out       {found['out']}",
    ]
    if found["incremental"]:
        lines.append("carried   what an earlier version of the dataset holds is counted here, and not asked again")
    for each in found["examples"]:
        lines += ["", f"example   {each['generator']} ({each['template']})"]
        lines += [f"  [{role}] {content}".replace("\n", "\n  ") for role, content in each["messages"]]
    return "\n".join([*lines, "", "dry run: nothing was sent"])
