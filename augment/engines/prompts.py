"""A request as the tokens of a model in this process: its own chat template, where a turn ends, what it cannot take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from augment.engines.chat import SCHEMA_PROMPT
from augment.records import Reply, Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(request: Request, tokenizer: PreTrainedTokenizerBase, *, told: bool) -> list[int]:
    """The tokens that are asked; `told`: the schema, if any, is a part of the last message.

    Raises:
        TemplateError, ValueError: the template refuses the messages.
    """
    messages = [{"role": role, "content": content} for role, content in request.messages]
    if told and request.schema is not None:
        messages[-1]["content"] += SCHEMA_PROMPT + orjson.dumps(request.schema, default=dict).decode()
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that the template closes an answer with, where it is one."""
    turn = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    closing = str(tokenizer.apply_chat_template(turn, tokenize=False)).rpartition("!")[2].strip()
    return tokenizer.get_vocab().get(closing)


def blind(request: Request, engine: str) -> Reply:
    """The reply to a request that shows pictures, of an engine that does not look at them."""
    why = f"not a model for this: the engine {engine} does not look at pictures"
    return Reply(request.key, "", "error", error=why)


def too_long(request: Request, tokens: int, context: int) -> Reply:
    """The reply to a request whose prompt leaves no room for an answer."""
    why = f"prompt too long: {tokens:,} tokens, and the model sees {context:,}"
    return Reply(request.key, "", "error", error=why)
