"""A generator over HTTP: `/v1/chat/completions` and `/v1/completions`, as OpenAI's clients ask.

The app serves one model version and does not know who asks. Whoever hangs up is no longer written for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from freehold.engines import oip
from freehold.engines.generation import Broke, Ended, Token, Told, Writes, Written
from freehold.engines.protocol import CannotAnswer, EngineClosed
from freehold.engines.shapes import Shape
from freehold.engines.wanted import Wanted, read_chat, read_text
from freehold.errors import Failure, NotFound, OverLimit
from freehold.spec.ids import new_id
from freehold.spec.model import Manifest

MAX_BODY = 4 * 1024 * 1024
QUIET = 10.0
"""Seconds after which a stream without news says that it is still there."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Served(Writes, Protocol):
    """A generator that says whether it can be asked."""

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""

    def close(self) -> None:
        """Take none any more."""


class TooLarge(OverLimit):
    """the request has more than {limit} bytes"""

    status = 413


class NoSuchPath(NotFound):
    """there is no `{name}` here"""


class CallerGone(Exception):
    """Nobody waits for the answer any more."""


class TextApp:
    """The ASGI app over one generator."""

    def __init__(self, manifest: Manifest, generator: Served) -> None:
        self._manifest, self._generator = manifest, generator
        self._names = (manifest.name, manifest.serving_digest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        reply = _Reply(send)
        try:
            await self._answer(scope["method"], scope["path"], receive, reply)
        except CallerGone:
            return
        except Failure as failure:
            await reply.failure(failure)

    async def _answer(self, method: str, path: str, receive: Receive, reply: _Reply) -> None:
        manifest = self._manifest
        match method, path.strip("/").split("/"):
            case "POST", ["v1", "chat", "completions"]:
                await self._write(read_chat(await self._fields(receive)), receive, reply)
            case "POST", ["v1", "completions"]:
                await self._write(read_text(await self._fields(receive)), receive, reply)
            case "GET", ["v1", "models"]:
                await reply.whole(200, {"object": "list", "data": [_model(manifest)]})
            case "GET", ["v2"]:
                await reply.whole(200, oip.server())
            case "GET", ["v2", "health", "live"]:
                await reply.whole(200, {})
            case "GET", ["v2", "health", "ready"] | ["v2", "models", _, "ready"]:
                if not self._generator.ready:
                    raise EngineClosed
                await reply.whole(200, {})
            case "GET", ["v2", "models", name] if name in self._names:
                await reply.whole(200, metadata(manifest))
            case _:
                raise NoSuchPath(kind="path", name=f"{method} {path[:80]}")

    async def _fields(self, receive: Receive) -> dict[str, Any]:
        """The request's fields, when it means this very model."""
        fields = _object(await _body(receive))
        if fields.get("model") not in self._names:
            raise NoSuchPath(kind="model", name=str(fields.get("model"))[:80])
        return fields

    async def _write(self, wanted: Wanted, receive: Receive, reply: _Reply) -> None:
        shape = Shape(
            chat=wanted.chat,
            id=new_id("chatcmpl" if wanted.chat else "cmpl").replace("_", "-"),
            created=int(time.time()),
            model=self._manifest.name,
            fingerprint=fingerprint(self._manifest.serving_digest),
            logprobs=wanted.how.alternatives is not None,
        )
        async with self._listening(wanted, receive) as heard:
            if wanted.stream:
                await _stream(heard, shape, wanted.usage, reply)
            else:
                await _collect(heard, shape, reply)

    @contextlib.asynccontextmanager
    async def _listening(self, wanted: Wanted, receive: Receive) -> AsyncIterator[asyncio.Queue[Told | None]]:
        """What is told of an answer; None when its caller is gone. Left early, it is written no further."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[Told | None] = asyncio.Queue()

        def tell(told: Told) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(heard.put_nowait, told)

        # reading the prompt takes a moment, and others are waiting for this loop
        writing = await asyncio.to_thread(self._generator.begin, wanted.prompt, wanted.how, tell)
        gone = asyncio.create_task(_until_gone(receive, heard))
        try:
            yield heard
        finally:
            writing.cancel()
            gone.cancel()


async def _until_gone(receive: Receive, heard: asyncio.Queue[Told | None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    heard.put_nowait(None)


async def _collect(heard: asyncio.Queue[Told | None], shape: Shape, reply: _Reply) -> None:
    texts: list[str] = []
    tokens: list[Token] = []
    while True:
        match await heard.get():
            case None:
                raise CallerGone
            case Written() as written:
                texts.append(written.text)
                tokens += written.tokens
            case Broke(failure=failure):
                raise failure
            case Ended() as ended:
                await reply.whole(200, shape.whole("".join(texts), tokens, ended))
                return


async def _stream(heard: asyncio.Queue[Told | None], shape: Shape, used: bool, reply: _Reply) -> None:
    await reply.begin_stream()
    await reply.event(shape.first())
    while True:
        try:
            told = await asyncio.wait_for(heard.get(), QUIET)
        except TimeoutError:
            await reply.quiet()
            continue
        match told:
            case None:
                raise CallerGone
            case Written() as written:
                await reply.event(shape.part(written))
            case Broke(failure=failure):
                raise failure
            case Ended() as ended:
                await reply.event(shape.last(ended))
                if used:
                    await reply.event(shape.used(ended))
                await reply.done()
                return


@dataclass(slots=True)
class _Reply:
    """The way back, in OpenAI's shapes."""

    send: Send
    streams: bool = False

    async def whole(self, status: int, said: dict[str, Any]) -> None:
        body = _json(said)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def begin_stream(self) -> None:
        self.streams = True
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def event(self, said: dict[str, Any] | None) -> None:
        if said is not None:
            await self._more(b"data: " + _json(said) + b"\n\n")

    async def quiet(self) -> None:
        """A comment, which clients skip."""
        await self._more(b": still writing\n\n")

    async def done(self) -> None:
        await self.send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def failure(self, failure: Failure) -> None:
        """A reply, or the last event of a stream: no [DONE] follows, so nobody takes it for whole."""
        said = {"error": _error(failure)}
        if not self.streams:
            await self.whole(failure.status, said)
            return
        await self.send({"type": "http.response.body", "body": b"data: " + _json(said) + b"\n\n"})

    async def _more(self, data: bytes) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": True})


def _error(failure: Failure) -> dict[str, str | None]:
    words = [failure.what, failure.why, failure.hint]
    return {
        "message": ": ".join(word for word in words if word),
        "type": "server_error" if failure.status >= 500 else "invalid_request_error",
        "param": getattr(failure, "param", None),
        "code": failure.code.replace("-", "_"),
    }


def _json(said: dict[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CannotAnswer(why="the body is not JSON") from error
    if not isinstance(said, dict):
        raise CannotAnswer(why="the body is not a JSON object")
    return said


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise TooLarge(limit=MAX_BODY, hint="shorten the conversation")
        if not message.get("more_body"):
            return b"".join(parts)


def fingerprint(serving_digest: str) -> str:
    """OpenAI's `system_fingerprint`: which model version and engine answered."""
    return f"fp_{serving_digest.removeprefix('sha256:')[:16]}"


def metadata(manifest: Manifest) -> dict[str, Any]:
    """What the Open Inference Protocol's metadata request is told about a generator."""
    return {
        "name": manifest.name,
        "versions": [str(manifest.version)],
        "platform": manifest.engine.replace(" ", "_"),
        "inputs": [],
        "outputs": [],
        "parameters": {
            "serving_digest": manifest.serving_digest,
            "task": manifest.about.task,
            "base": manifest.about.features.get("base"),
        },
    }


def _model(manifest: Manifest) -> dict[str, Any]:
    return {"id": manifest.name, "object": "model", "created": 0, "owned_by": "freehold"}
