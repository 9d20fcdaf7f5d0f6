"""The reply store: every answer an engine ever gave, by content key, so that none is paid for twice.

One SQLite file (`augment.store`). Each reply is committed as it arrives, before anything is done with it. A picture is
in the picture store before its reply is committed here, so that a reply without its picture is one to ask for again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from augment.images.store import pictures
from augment.records import Reply, Request
from augment.store import Store

_TABLE = """
create table if not exists replies (
    key text primary key, text text not null, finish text not null,
    tokens_in integer not null, tokens_out integer not null, max_tokens integer not null,
    request text not null, created real not null
)
"""
_PUT = """
insert into replies values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (key) do update set
    text = excluded.text, finish = excluded.finish, tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out,
    max_tokens = excluded.max_tokens, request = excluded.request, created = excluded.created
where replies.finish = 'length' and (excluded.finish != 'length' or excluded.max_tokens > replies.max_tokens)
"""
_PUT_DRAWN = "insert or replace into replies values (?, ?, ?, ?, ?, ?, ?, ?)"


class ReplyStore(Store):
    """Replies by key. Safe to use from several threads and several processes at once."""

    def __init__(self, path: Path) -> None:
        """Open or create the store.

        Raises:
            RunError: the file is not writable or not a store.
        """
        super().__init__(path, _TABLE, "reply store")

    def put(self, request: Request, reply: Reply) -> None:
        """Keep a reply for good; a truncated one gives way to a longer one, a failure is not kept.

        A picture goes into the picture store first. The first under a key stays, as long as it is there.

        Raises:
            RunError: the disk is full, or the store is gone.
        """
        if reply.error is not None:
            return
        row = (
            reply.key,
            reply.text,
            reply.finish,
            reply.tokens_in,
            reply.tokens_out,
            request.max_tokens,
            orjson.dumps(_asked(request), default=dict).decode(),
            time.time(),
        )
        with self.writing(whole=request.draws) as db:
            if not request.draws:
                db.execute(_PUT, row)
                return
            # the PNG, then the reply, as one: two processes that draw the same keep the same
            known = db.execute("select text from replies where key = ?", [reply.key]).fetchone()
            if known is None or not known[0] or reply.key not in pictures():
                if reply.picture:
                    pictures().replace(reply.key, reply.picture)
                db.execute(_PUT_DRAWN, row)

    def answered(self, requests: Iterable[Request]) -> Mapping[str, Reply]:
        """The replies to those requests that need not be asked again, by key.

        A reply cut off at fewer tokens than the request now allows does not count, nor one whose picture is gone.
        Those that bring a picture come without its bytes: it is in the picture store, under their key.
        """
        by_key = {each.key: each for each in requests}
        found: dict[str, Reply] = {}
        select = "select key, text, finish, tokens_in, tokens_out, max_tokens from replies"
        for key, text, finish, tokens_in, tokens_out, max_tokens in self.among(select, list(by_key)):
            if text and by_key[key].draws and key not in pictures():
                continue
            if finish != "length" or by_key[key].max_tokens <= max_tokens:
                found[key] = Reply(key, text, finish, tokens_in, tokens_out)
        return found

    def asked(self, key: str) -> tuple[dict[str, Any], Reply] | None:
        """What was asked and answered under `key`, or None.

        What was asked has `messages` and `schema`, or the `drawing` or the `settings`; and `pictures`, by name, where
        there were any.
        """
        query = "select request, key, text, finish, tokens_in, tokens_out from replies where key = ?"
        return next(((orjson.loads(row[0]), Reply(*row[1:])) for row in self.rows(query, [key])), None)


def _asked(request: Request) -> dict[str, Any]:
    """What is kept of a request, for people to read."""
    found = {
        "engine": request.engine,
        "model": request.model,
        "revision": request.revision,
        "messages": request.messages,
        "schema": request.schema,
    }
    if request.drawing is not None:
        found["drawing"] = dataclasses.asdict(request.drawing)
    if request.settings is not None:
        found["settings"] = request.settings
    shown = request.pictures or (request.drawing.pictures if request.drawing else ())
    return found | ({"pictures": shown} if shown else {})
