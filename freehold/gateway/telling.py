"""Answers in OpenAI's words on their way out: one object whole, or chunks as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from freehold.gateway.dialects.dialect import RESPONSE_ENDS
from freehold.gateway.reply import STREAM, Piece

Said = dict[str, Any]
Telling = AsyncGenerator[Said, None]
"""A whole answer as its only object, or the chunks of a stream in their order."""

DONE = Piece(data=b"data: [DONE]\n\n", last=True, kind=STREAM)


async def as_pieces(telling: Telling, *, stream: bool) -> AsyncGenerator[Piece, None]:
    """Encode an answer; exactly one piece is the last."""
    async with aclosing(telling) as saying:
        async for said in saying:
            if not stream:
                yield Piece(data=msgspec.json.encode(said), last=True)
                return
            yield event(said)
    yield DONE


async def as_events(telling: Telling, *, stream: bool) -> AsyncGenerator[Piece, None]:
    """Encode a response, whose stream has named events and no `[DONE]`: its last event is the last.

    Which one that is shows when none follows, so one that may be it waits for what follows, and no other.
    """
    held: Said | None = None
    async with aclosing(telling) as saying:
        async for said in saying:
            if not stream:
                yield Piece(data=msgspec.json.encode(said), last=True)
                return
            if held is not None:
                yield named(held)
            held = said if said.get("type") in RESPONSE_ENDS else None
            if held is None:
                yield named(said)
    yield named(held or {}, last=True)


def event(said: Said) -> Piece:
    """One chunk."""
    return Piece(data=b"data: " + msgspec.json.encode(said) + b"\n\n", kind=STREAM)


def named(said: Said, *, last: bool = False) -> Piece:
    """One event under the name of its type."""
    name = str(said.get("type", "message")).encode()
    data = b"event: " + name + b"\ndata: " + msgspec.json.encode(said) + b"\n\n"
    return Piece(data=data, last=last, kind=STREAM)
