"""What a plan would do, before anything is sent: rows, requests, tokens, and an example of each prompt."""

from __future__ import annotations

from typing import Any

import orjson

from augment.asking import Steps, exemplars
from augment.engines.echo import answer
from augment.generators import Generator, drafts, steps
from augment.language import tokens_of
from augment.plan import Plan
from augment.quota import Quota
from augment.records import Rejected, Reply, Request, Row

SAMPLE = 50
"""Records whose prompts are rendered to estimate tokens."""


def _answer_tokens(row: Row, request: Request) -> float:
    """An answer is taken to be as long as what the row holds for the fields asked for."""
    texts = {"question": row.prompt, "answer": row.response or row.prompt}
    asked = request.schema["properties"] if request.schema else ()
    return sum(tokens_of(text) for name, text in texts.items() if name in asked)


def _asked(plan: Plan, generator: Generator, row: Row) -> tuple[list[Request], float]:
    """What is asked about a row, and the tokens of the answers.

    Of an LLM that writes something before a picture is drawn that alone; of a generator that asks in several steps all
    of them, as if an `echo` answered.
    """
    seen = exemplars(plan.records, row, generator, 0)
    if steps(generator):
        way, told = Steps(plan, row, generator, 0, seen), 0.0
        while asked := way.open:
            texts = {each.key: answer(each.messages, each.schema, each.seed) for each in asked}
            told += sum(tokens_of(text) for text in texts.values())
            way.advance({key: Reply(key, text) for key, text in texts.items()})
        return way.asked, told
    found = generator.draft(row, 0, seen) if drafts(generator) and plan.recipe.llm else None
    if found is None:
        found = generator.ask(row, 0, seen)
    if isinstance(found, Rejected):
        return [], 0.0
    request = plan.addressed(generator, found)
    return [request], _answer_tokens(row, request)


def forecast(plan: Plan) -> dict[str, Any]:
    """The plan in numbers and one rendered request a generator. Estimates assume that every candidate is kept."""
    rows = list(plan.records.records(range(min(SAMPLE, len(plan.seeds)))))
    engine = getattr(plan.recipe, "engine", None)
    tokens_in = tokens_out = each_asks = 0.0
    examples = []
    for place, generator in enumerate(plan.generators):
        share = plan.turns.count(place) / len(plan.turns)
        found = [_asked(plan, generator, row) for row in rows]
        requests = [each for asked, _ in found for each in asked]
        each_asks += share * max(1.0, len(requests) / len(rows))
        if not requests:
            continue
        words = sum(tokens_of(content) for each in requests for _, content in each.messages) / len(rows)
        tokens_in += plan.total * share * words
        tokens_out += plan.total * share * sum(told for _, told in found) / len(rows)
        first = requests[0]
        example: dict[str, Any] = {"generator": first.generator, "template": first.template}
        if first.messages:
            example["messages"] = first.messages
        else:
            example["asks"] = orjson.loads(first.params)
        examples.append(example)
    unknown = plan.recipe.out is None and bool(plan.recipe.llm or engine)  # who answers is part of its name
    return {
        "source": plan.source.name,
        "rows_in": plan.source.rows_in,
        "seeds": len(plan.seeds),
        "exam": len(plan.exam),
        "target": plan.total,
        "requests": round(plan.total * each_asks),
        "requests_at_most": round(int(Quota.of(plan).cap.sum()) * each_asks),
        "llm": plan.recipe.llm,
        **({"engine": engine} if plan.pictured else {}),
        "tokens_in": round(tokens_in) if plan.recipe.llm else 0,
        "tokens_out": round(tokens_out) if plan.recipe.llm else 0,
        "incremental": plan.recipe.incremental,
        "generators": [each.name for each in plan.generators],
        "filters": [each.name for each in plan.chain.filters],
        "out": f"{plan.out.parent}/{plan.name}-…" if unknown else str(plan.out),
        "examples": examples,
    }


def to_text(found: dict[str, Any]) -> str:
    """The forecast for a terminal."""
    lines = [
        f"source    {found['source']}: {found['rows_in']:,} rows, {found['seeds']:,} seeds, {found['exam']:,} held out",
        f"target    {found['target']:,} variants",
        f"requests  {found['requests']:,} if all are kept, {found['requests_at_most']:,} at most",
        f"tokens    about {found['tokens_in']:,} in and {found['tokens_out']:,} out, if all are kept",
        f"asked by  {', '.join(found['generators'])}",
        f"filters   {', '.join(found['filters']) or 'none'}",
        f"out       {found['out']}",
    ]
    if found["incremental"]:
        lines.append("carried   what an earlier version of the dataset holds is counted here, and not asked again")
    for each in found["examples"]:
        lines += ["", f"example   {each['generator']} ({each['template']})"]
        lines += [f"  [{role}] {content}".replace("\n", "\n  ") for role, content in each.get("messages", ())]
        lines += [f"  {name}: {value}" for name, value in each.get("asks", {}).items()]
    return "\n".join([*lines, "", "dry run: nothing was sent"])
