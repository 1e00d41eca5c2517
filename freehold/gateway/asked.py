"""What a request says, read once and bounded: headers, body, and which service it means."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from freehold.errors import BadInput
from freehold.gateway.bounds import Bounds
from freehold.gateway.deadlines import Blocks
from freehold.gateway.depth import DEEPEST, too_deep
from freehold.gateway.may import Said
from freehold.gateway.peer import Peer, peer_in
from freehold.gateway.private import Private
from freehold.spec.asking import read_id, read_trace

_ZERO = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The character as JSON writes it; behind an odd number of backslashes more it would be one of these."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Surface = Literal["openai", "oip"]

ONCE = frozenset(
    (b"authorization", b"x-freehold-purpose", b"x-freehold-subject", b"idempotency-key", b"content-type")
)
"""Headers that decide: which of two counts would be a guess."""
_MOST_SUBJECT = 256
_MOST_TOKEN = 16 << 10
"""Tokens that list somebody's groups are long."""
_MOST_IDEMPOTENCY = 255


class HeaderTwice(BadInput):
    """the header `{name}` came more than once"""


class HeaderUnreadable(BadInput):
    """the header `{name}` cannot be read"""


class BodyTooLarge(BadInput):
    """the request's body is larger than {limit} bytes"""

    status = 413


class BodyTooSlow(BadInput):
    """the request's body did not arrive in {seconds} s"""

    status = 408


class BodyEncoded(BadInput):
    """the request's body is compressed"""

    status = 415


class NotJson(BadInput):
    """the request's body is not JSON"""


class ZeroInText(BadInput):
    """a text in the request holds the character U+0000"""


class FieldWrong(BadInput):
    """`{field}` cannot be used"""


class SaidTwice(BadInput):
    """the header and `metadata` name a different {word}"""


class CallerGone(Exception):
    """The caller hung up before the request was complete: there is nobody to tell."""


class Heads(Private, frozen=True, kw_only=True):
    """The headers we act on; read before the body, so that a stranger's body is never read."""

    authorization: str | None
    purpose: str | None
    subject: str | None
    idempotency: str | None
    request_id: str | None
    trace: str | None
    binary_from: int | None
    """OIP: where binary tensors begin in the body (`Inference-Header-Content-Length`)."""
    length: int | None
    encoding: str | None
    certificate: Peer | None = None
    """What the connection came with, where the listener asks for certificates."""


class Asked(Private, frozen=True, kw_only=True):
    """A request whose service is named."""

    surface: Surface
    path: str
    service: str
    heads: Heads
    said: Said
    body: bytes
    fields: Mapping[str, Any]
    """The JSON body."""
    at: int
    """When it began, microseconds UTC."""
    bounded: bool = False
    """Whether it has to be said upstream how long an answer may be, because tokens or money are limited."""

    def about(self, person: str | None) -> Asked:
        """The same request, about the person whom its caller's token names."""
        return replace(self, said=replace(self.said, token=person)) if person is not None else self

    def within(self, bounded: bool) -> Asked:
        """The same request, its tokens bounded or not."""
        return replace(self, bounded=True) if bounded else self


def read_heads(scope: Scope) -> Heads:
    """Read the headers. Raises HeaderTwice for one that decides and came twice, HeaderUnreadable."""
    heads: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in heads and name in ONCE:
            raise HeaderTwice(name=name.decode(), why="which of them counts would be a guess")
        heads[name] = value
    return Heads(
        authorization=_text(heads, b"authorization", most=_MOST_TOKEN),
        purpose=_text(heads, b"x-freehold-purpose"),
        subject=_text(heads, b"x-freehold-subject", most=_MOST_SUBJECT),
        idempotency=_text(heads, b"idempotency-key", most=_MOST_IDEMPOTENCY),
        request_id=read_id(heads.get(b"x-request-id")),
        trace=read_trace(heads.get(b"traceparent")),
        binary_from=_number(heads, b"inference-header-content-length"),
        length=_number(heads, b"content-length"),
        encoding=_text(heads, b"content-encoding"),
        certificate=peer_in(scope),
    )


def _text(heads: Mapping[bytes, bytes], name: bytes, most: int = 4096) -> str | None:
    value = heads.get(name)
    if not value:
        return None
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        raise HeaderUnreadable(name=name.decode(), why="it is not UTF-8") from None
    if len(text) > most:
        raise HeaderUnreadable(name=name.decode(), why=f"it has more than {most} characters")
    return text or None


def _number(heads: Mapping[bytes, bytes], name: bytes) -> int | None:
    value = heads.get(name)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 12:
        raise HeaderUnreadable(name=name.decode(), why="it is not a number")
    return int(value)


def bodies_within(seconds: float) -> Blocks:
    """How long bodies may take; one that takes longer is BodyTooSlow."""
    return Blocks(seconds, lambda: BodyTooSlow(seconds=int(seconds)))


async def read_body(receive: Receive, heads: Heads, bounds: Bounds, bodies: Blocks) -> bytes:
    """The whole body. Raises BodyTooLarge (at once when it says so itself), BodyTooSlow, CallerGone."""
    if heads.encoding not in (None, "identity"):
        raise BodyEncoded(why=f"it is encoded as {heads.encoding[:20]!r}", hint="send it as it is")
    if heads.length is not None and heads.length > bounds.body:
        raise BodyTooLarge(limit=bounds.body, why=f"it announces {heads.length}")
    async with bodies.within():
        return await _read(receive, bounds.body)


async def _read(receive: Receive, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise BodyTooLarge(limit=limit)
        more = message.get("more_body", False)
    return b"".join(pieces)


def read_chat(heads: Heads, path: str, body: bytes, at: int, only: str | None = None) -> Asked:
    """An OpenAI request: the service is the `model`; purpose and subject may stand in `metadata`.

    Without a `model` it is `only`, the one service that the key may ask.
    """
    fields = _json(body)
    name = fields.get("model") or only
    if not isinstance(name, str) or not name:
        raise FieldWrong(field="model", why="it names the service to ask", hint="`/v1/models` lists them")
    metadata = fields.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise FieldWrong(field="metadata", why="it is an object of texts")
    said = Said(
        purpose=_one_of(heads.purpose, metadata.get("purpose"), "purpose"),
        subject=_one_of(heads.subject, metadata.get("subject"), "subject"),
    )
    return Asked(
        surface="openai", path=path, service=name, heads=heads, said=said, body=body, fields=fields, at=at
    )


def read_infer(heads: Heads, path: str, service: str, body: bytes, at: int) -> Asked:
    """An Open Inference Protocol request: the service stands in the path, tensors may follow the JSON."""
    end = heads.binary_from if heads.binary_from is not None else len(body)
    if end > len(body):
        raise FieldWrong(
            field="Inference-Header-Content-Length", why=f"it says {end}, the body has {len(body)} bytes"
        )
    said = Said(purpose=heads.purpose, subject=heads.subject)
    fields = _json(body[:end])
    return Asked(
        surface="oip", path=path, service=service, heads=heads, said=said, body=body, fields=fields, at=at
    )


def _json(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(why=str(error)) from error
    except RecursionError:
        raise NotJson(why="it is nested too deeply") from None
    if not isinstance(fields, dict):
        raise NotJson(why="it is not an object")
    if too_deep(fields, body):
        raise NotJson(why=f"it is nested deeper than {DEEPEST} levels")
    if b"\\u0000" in body and _ZERO.search(body):
        raise ZeroInText(
            why="some engines take it for the end of the text, and would read less than was looked at",
            hint="leave it out: no text needs it",
        )
    return fields


def _one_of(header: str | None, field: Any, word: str) -> str | None:
    if field is None:
        return header
    if not isinstance(field, str) or len(field) > _MOST_SUBJECT:
        raise FieldWrong(field=f"metadata.{word}", why="it is a text of 256 characters at most")
    if header is not None and header != field:
        raise SaidTwice(
            word=word, hint=f"send it once: `X-Freehold-{word.capitalize()}` or `metadata.{word}`"
        )
    return field.strip() or header
