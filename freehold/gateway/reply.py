"""What leaves: pieces of an answer, and failures in the shape that each surface's clients know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from freehold.errors import Failure
from freehold.gateway.asked import Surface
from freehold.gateway.private import Private

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"
STREAM = b"text/event-stream; charset=utf-8"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_NAMES = (b"x-freehold-answer", b"x-request-id")
"""Ours, and the one that OpenAI's clients show."""
_CLOSING = frozenset((408, 413))
"""Statuses given before the whole body was read: the rest of it must not be taken for a request."""


class Broken(Failure):
    """something of ours broke"""


class Piece(Private, frozen=True, kw_only=True):
    """A part of an answer. What makes it whole is in the last one, which leaves when it is recorded."""

    data: bytes
    last: bool = False
    kind: bytes = JSON
    headers: tuple[Header, ...] = ()
    refused: str = ""
    """The guard that ends a stream here, which is the last piece then."""


class Kept(msgspec.Struct, frozen=True):
    """An answer that can be given again."""

    at: int
    request: bytes
    """SHA-256 over what was asked, for what, about whom."""
    headers: list[Header]
    kind: bytes
    body: bytes

    @property
    def answer(self) -> str:
        """Its id."""
        return dict(self.headers)[_NAMES[0]].decode()


@dataclass(slots=True)
class Reply:
    """The way back to one caller."""

    send: Send
    surface: Surface | None = None
    headers: list[Header] = field(default_factory=list)
    """What every reply carries from here on, a failure too: the answer's id, its tier."""
    status: int = 0
    """What was sent; 0 while nothing was."""
    streams: bool = False
    complete: bool = False
    caller: str = ""
    """Who asks, once they are recognized."""

    def known(self, caller: str) -> None:
        """It is proved who asks."""
        self.caller = caller

    async def piece(self, piece: Piece) -> None:
        """Send a piece; the first one brings the head."""
        if not self.status:
            self.streams = not piece.last
            await self._head(200, piece.kind, piece.headers, None if self.streams else len(piece.data))
        await self._body(piece.data, more=not piece.last)

    async def whole(
        self, status: int, data: bytes, kind: bytes = JSON, headers: tuple[Header, ...] = ()
    ) -> None:
        """Send a complete reply."""
        await self._head(status, kind, headers, len(data))
        await self._body(data, more=False)

    async def again(self, kept: Kept) -> None:
        """Give an answer that was given before, under its own id."""
        standing = [pair for pair in self.headers if pair[0].startswith(b"x-ratelimit-")]
        self.headers = [*kept.headers, *standing, (b"x-freehold-replayed", b"true")]
        await self.whole(200, kept.body, kept.kind)

    def name(self, answer: str) -> None:
        """From here on the reply names its record."""
        self.headers += [(header, answer.encode()) for header in _NAMES]

    @property
    def named(self) -> bool:
        """Whether there is a record of what it replies to."""
        return any(name == _NAMES[0] for name, _ in self.headers)

    async def failure(self, failure: Failure) -> None:
        """Tell it: as a reply, or as the last event of a stream that has begun and will not be whole."""
        if not getattr(failure, "recorded", True):  # nobody should look for a record that is not there
            self.headers = [pair for pair in self.headers if pair[0] not in _NAMES]
        data = told(failure, self.surface)
        if not self.status:
            await self.whole(failure.status, data, headers=_headers_of(failure))
        elif self.streams:
            # no [DONE] follows: no client takes this for a complete answer
            await self._body(b"data: " + data + b"\n\n", more=False)

    async def _head(self, status: int, kind: bytes, more: tuple[Header, ...], length: int | None) -> None:
        headers = [(b"content-type", kind), *self.headers, *more]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        else:
            headers += [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        if status in _CLOSING:
            headers.append((b"connection", b"close"))
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def _body(self, data: bytes, *, more: bool) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})
        self.complete = not more


def told(failure: Failure, surface: Surface | None) -> bytes:
    """A failure's body: OpenAI's on `/v1`, the Open Inference Protocol's on `/v2`, ours elsewhere."""
    if surface == "openai":
        return msgspec.json.encode({"error": _openai(failure)})
    if surface == "oip":
        return msgspec.json.encode({"error": _sentence(failure)})
    return msgspec.json.encode({"error": failure.told()})


def _openai(failure: Failure) -> dict[str, str | None]:
    return {
        "message": _sentence(failure),
        "type": _TYPES.get(failure.status, "server_error"),
        "param": getattr(failure, "param", None),
        "code": failure.code.replace("-", "_"),
    }


def _sentence(failure: Failure) -> str:
    """What, why and what now in one line, since these surfaces have only one text."""
    text = failure.what
    if failure.why:
        text += f": {failure.why}"
    return f"{text} (hint: {failure.hint})" if failure.hint else text


def _headers_of(failure: Failure) -> tuple[Header, ...]:
    headers = [(b"x-freehold-reason", failure.code.encode()), *getattr(failure, "headers", ())]
    if (seconds := getattr(failure, "retry_after", None)) is not None:
        headers.append((b"retry-after", b"%d" % seconds))
    if failure.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="freehold"'))
    return tuple(headers)
