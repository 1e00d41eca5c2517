"""What comes back from upstream: read within bounds, and its failures told in our words.

`of_target` says what a failure tells of the target: it is down (True), or it answered (False).
`elsewhere` says that the target has done nothing with the request, or is done with it: whoever may stand in
for it can be asked. What may still be acted on is asked of nobody else.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from freehold.errors import BadInput, OverLimit, Unavailable
from freehold.gateway.depth import too_deep
from freehold.gateway.dialects.dialect import Dialect, Reading, Strange
from freehold.gateway.wire import Answer


class EngineNotReady(Unavailable):
    """the engine of `{service}` is not ready"""

    retry_after = 1
    elsewhere = True


class EngineFailed(Unavailable):
    """the engine could not answer"""

    status = 502
    of_target = True
    elsewhere = True
    """Asking one of ours changes nothing, whatever became of it."""


class EngineRejected(BadInput):
    """the model cannot read the request"""

    of_target = False


class EngineBusy(OverLimit):
    """the engine takes no more requests for now"""

    retry_after = 2
    of_target = False
    elsewhere = True


class UpstreamRefused(Unavailable):
    """the provider refuses the key it was called with"""

    status = 502
    of_target = False
    elsewhere = True


class UpstreamBusy(OverLimit):
    """the provider takes no more requests for now"""

    retry_after = 10
    of_target = False
    elsewhere = True


class UpstreamRejected(BadInput):
    """the provider cannot use the request"""

    of_target = False


class UpstreamFailed(Unavailable):
    """the provider could not answer"""

    status = 502
    of_target = True
    elsewhere = True


class UpstreamAway(Unavailable):
    """the provider cannot be reached"""

    status = 502
    of_target = True
    elsewhere = True


class UpstreamBroke(Unavailable):
    """the provider's answer broke off or cannot be read"""

    status = 502
    of_target = True


class UpstreamSlow(Unavailable):
    """the provider did not answer in time"""

    status = 504
    of_target = True


class Answering:
    """Something upstream that has begun to answer."""

    def __init__(self, response: Answer, limit: int) -> None:
        self._response, self._limit = response, limit

    async def whole(self, dialect: Dialect, path: str, at: int) -> dict[str, Any]:
        """The answer as one JSON object, in OpenAI's words."""
        try:
            return dialect.answer(path, _object(await bounded(self._response, self._limit)), at)
        except Strange as strange:
            raise UpstreamBroke(why=str(strange)) from strange

    async def read(self, reading: Reading) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of a streamed answer, until it says that it is done.

        Raises UpstreamBroke when it ends without saying so: such an answer is not whole.
        """
        if not self._response.kind == "text/event-stream":
            raise UpstreamBroke(why="a stream was asked for and something else came")
        try:
            async for data in _events(self._response, self._limit):
                for chunk in reading.chunks(data):
                    yield chunk
                if reading.whole:
                    return
        except Strange as strange:
            raise UpstreamBroke(why=str(strange)) from strange
        raise UpstreamBroke(why="the stream ended before it was done")


async def _events(response: Answer, limit: int) -> AsyncIterator[bytes]:
    """The data of server-sent events (WHATWG HTML, section 9.2), `\\n` or `\\r\\n` between lines."""
    buffer = b""
    data: list[bytes] = []
    async for chunk in response.pieces():
        *lines, buffer = (buffer + chunk).split(b"\n")
        if len(buffer) + sum(map(len, data)) > limit:
            raise UpstreamBroke(why=f"one event is larger than {limit} bytes")
        for line in lines:
            field, _, value = line.rstrip(b"\r").partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif not field and not value and data:
                yield b"\n".join(data)
                data = []
    if data:  # the last event may lack its empty line
        yield b"\n".join(data)


async def bounded(response: Answer, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while (chunk := await response.piece()) is not None:
        size += len(chunk)
        if size > limit:
            raise UpstreamBroke(why=f"the answer is larger than {limit} bytes")
        pieces.append(chunk)
    return b"".join(pieces)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamBroke(why="it is not JSON") from None
    if not isinstance(value, dict):
        raise UpstreamBroke(why="it is not an object")
    if too_deep(value, data):
        raise UpstreamBroke(why="it is nested too deeply")
    return value


def inferred(status: int, data: bytes) -> dict[str, Any]:
    if status == 503:
        raise EngineFailed(why="it is starting or stopping")
    try:
        value = _object(data)
    except UpstreamBroke as broken:
        raise EngineFailed(why=broken.why) from None
    if status == 200:
        return value
    if 400 <= status < 500:
        raise EngineRejected(why=str(value.get("error", ""))[:300])
    raise EngineFailed(why=f"it answered {status}")


LATE = frozenset((408, 504, 524))
"""Statuses of something in between that gave up waiting: what stands behind it may go on."""
_SOON = 1.0
"""Seconds after which a refused request is asked again at most."""


def soon(response: Answer) -> float | None:
    """How long to wait before a request that was refused unread is asked once more; None where it is not."""
    if response.status not in (429, 503):
        return None
    said = response.headers.get("retry-after")
    wait = 0.2 if said is None else float(said) if said.isdecimal() and len(said) < 4 else math.inf
    return wait if wait <= _SOON else None


async def rejection(response: Answer) -> Exception:
    """What a generator of ours says that is not an answer."""
    status = response.status
    if status == 429:
        return EngineBusy(hint="wait as long as `Retry-After` says")
    if status == 503:
        return EngineFailed(why="it is starting or stopping")
    if 400 <= status < 500:
        return EngineRejected(why=await _their_words(response) or f"it answered {status}")
    return EngineFailed(why=f"it answered {status}")


async def refusal(response: Answer) -> Exception:
    """A provider's error as ours. Its key is ours, not the caller's: 401 and 403 never reach them."""
    status = response.status
    if status in (401, 403):
        return UpstreamRefused(
            why=f"it answered {status}", hint="attach it again with a key that is valid there"
        )
    if status == 429:
        busy = UpstreamBusy(why="it answered 429", hint="wait as long as `Retry-After` says")
        busy.retry_after = _seconds(response.headers.get("retry-after"))
        return busy
    if status in LATE:
        return UpstreamSlow(why=f"it answered {status}: something behind it took too long")
    if status in (400, 413, 415, 422):
        return UpstreamRejected(why=await _their_words(response) or f"it answered {status}")
    if 300 <= status < 400:
        return UpstreamFailed(why="it wants to send us elsewhere", hint="attach the URL it moved to")
    return UpstreamFailed(why=f"it answered {status}")


def _seconds(text: str | None) -> int:
    return max(1, min(3600, int(text))) if text and text.isdecimal() else UpstreamBusy.retry_after


async def _their_words(response: Answer) -> str:
    """What a provider says is wrong with the request: for the caller, who sent it; never logged."""
    try:
        error = _object(await bounded(response, 64 << 10)).get("error")
    except UpstreamBroke:
        return ""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "")[:300]
