"""Calling what answers: our engines on Unix sockets, providers at their URLs; one way of failing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from freehold.errors import BadInput, OverLimit, Unavailable
from freehold.gateway.bounds import Bounds
from freehold.spec.snapshot import Target
from freehold.store.home import socket_address


class EngineNotReady(Unavailable):
    """the engine of `{service}` is not ready"""

    retry_after = 1


class EngineFailed(Unavailable):
    """the engine could not answer"""

    status = 502


class EngineRejected(BadInput):
    """the model cannot read the request"""


class EngineBusy(OverLimit):
    """the engine takes no more requests for now"""

    retry_after = 2


class UpstreamRefused(Unavailable):
    """the provider refuses the key it was called with"""

    status = 502


class UpstreamBusy(OverLimit):
    """the provider takes no more requests for now"""

    retry_after = 10


class UpstreamRejected(BadInput):
    """the provider cannot use the request"""


class UpstreamFailed(Unavailable):
    """the provider could not answer"""

    status = 502


class UpstreamAway(Unavailable):
    """the provider cannot be reached"""

    status = 502


class UpstreamBroke(Unavailable):
    """the provider's answer broke off or cannot be read"""

    status = 502


class UpstreamSlow(Unavailable):
    """the provider did not answer in time"""

    status = 504


def socket_of(run: Path, digest: str) -> Path:
    """Where the engine of a serving digest listens."""
    return run / f"e-{digest.removeprefix('sha256:')[:16]}.sock"


@dataclass(slots=True)
class _Engine:
    """The connections to one engine. What is being answered on them is answered to its end."""

    session: aiohttp.ClientSession
    _asked: int = 0
    _leaves: bool = False

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[None]:
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1
            await self._close()

    async def leave(self) -> None:
        """Close as soon as nobody waits for an answer."""
        self._leaves = True
        await self._close()

    async def _close(self) -> None:
        if self._leaves and not self._asked:
            await self.session.close()


class Upstreams:
    """Connections to everything that answers. Owned by the gateway's event loop."""

    def __init__(self, run: Path, bounds: Bounds) -> None:
        self._run, self._bounds = run, bounds
        self._engines: dict[str, _Engine] = {}
        self._providers: aiohttp.ClientSession | None = None

    async def infer(self, target: Target, body: bytes) -> dict[str, Any]:
        """Ask an engine (Open Inference Protocol, JSON).

        Raises EngineRejected with the engine's own words, EngineNotReady, EngineFailed.
        """
        try:
            async with asyncio.timeout(self._bounds.engine):
                return _inferred(*await self._post(target, body))
        except TimeoutError:
            raise EngineFailed(why=f"it took longer than {self._bounds.engine:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise EngineNotReady(service=target.name, why="its process is not there") from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineFailed(why=f"its socket: {type(error).__name__}") from error

    async def _post(self, target: Target, body: bytes) -> tuple[int, bytes]:
        # by its digest: names do not change what a model is, and no other engine answers to it
        url = f"http://engine/v2/models/{target.serving_digest}/infer"
        async with self._engine(target.serving_digest) as session:
            try:
                async with session.post(url, data=body, headers=_JSON) as response:
                    return response.status, await _bounded(response, self._bounds.response)
            except aiohttp.ServerDisconnectedError:
                # a kept connection was closed under us; asking an engine twice changes nothing
                async with session.post(url, data=body, headers=_JSON) as response:
                    return response.status, await _bounded(response, self._bounds.response)

    @asynccontextmanager
    async def write(
        self, target: Target, path: str, body: bytes, *, streams: bool
    ) -> AsyncIterator[Answering]:
        """Ask a generator of ours; failures inside the block are told in our words too.

        Raises EngineRejected with the engine's own words, EngineBusy, EngineNotReady, EngineFailed.
        """
        try:
            async with (
                self._engine(target.serving_digest) as session,
                await self._begin(session, path, body, streams) as response,
            ):
                if response.status != 200:
                    raise await _rejection(response)
                yield Answering(response, self._bounds.response)
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise EngineFailed(why=f"nothing came for {self._bounds.silence:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise EngineNotReady(service=target.name, why="its process is not there") from error
        except UpstreamBroke as broken:
            raise EngineFailed(why=broken.why) from None
        except (aiohttp.ClientError, OSError) as error:
            raise EngineFailed(why=f"its socket: {type(error).__name__}") from error

    async def _begin(
        self, session: aiohttp.ClientSession, path: str, body: bytes, streams: bool
    ) -> aiohttp.ClientResponse:
        url = f"http://engine{path}"
        # a stream says something every few seconds, a whole answer nothing until it is there
        silence = self._bounds.silence if streams else self._bounds.answer
        patience = aiohttp.ClientTimeout(total=None, sock_read=silence)
        try:
            return await session.post(url, data=body, headers=_JSON, timeout=patience)
        except aiohttp.ServerDisconnectedError:
            # a kept connection was closed under us, before the engine had begun
            return await session.post(url, data=body, headers=_JSON, timeout=patience)

    async def engine_is_ready(self, digest: str) -> bool:
        """Whether the engine of a serving digest says that it is ready."""
        if not socket_of(self._run, digest).exists():
            return False
        try:
            async with (
                asyncio.timeout(1),
                self._engine(digest) as session,
                session.get("http://engine/v2/health/ready") as response,
            ):
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    @asynccontextmanager
    async def chat(self, target: Target, secret: str | None, body: bytes) -> AsyncIterator[Answering]:
        """Ask a provider for a chat completion; failures inside the block are told in our words too.

        Never follows a redirect: a provider that sends us elsewhere would send the words elsewhere.
        """
        headers = dict(_JSON)
        if secret:
            headers["authorization"] = f"Bearer {secret}"
        url = target.url.rstrip("/") + "/chat/completions"
        try:
            async with self._provider().post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise await _refusal(response)
                yield Answering(response, self._bounds.response)
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise UpstreamSlow(why=f"nothing came for {self._bounds.silence:g} s") from None
        except (aiohttp.ClientConnectorError, ssl.SSLError) as error:
            raise UpstreamAway(why=type(error).__name__) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamBroke(why=type(error).__name__) from error

    async def forget(self, still: tuple[str, ...]) -> None:
        """Close the connections to engines that no route names any more, each after its last answer."""
        for digest in [d for d in self._engines if d not in still]:
            await self._engines.pop(digest).leave()

    async def close(self) -> None:
        """Close every connection, also those that are being answered on."""
        for engine in self._engines.values():
            await engine.session.close()
        self._engines.clear()
        if self._providers is not None:
            await self._providers.close()

    @asynccontextmanager
    async def _engine(self, digest: str) -> AsyncIterator[aiohttp.ClientSession]:
        """The connections to an engine, which stay open at least for this block."""
        engine = self._engines.get(digest)
        if engine is None:
            engine = self._engines[digest] = _Engine(self._connect(digest))
        async with engine.asked():
            yield engine.session

    def _connect(self, digest: str) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(
            socket_address(socket_of(self._run, digest)), limit=0, keepalive_timeout=3
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _provider(self) -> aiohttp.ClientSession:
        if self._providers is None:
            # trust_env stays off: a proxy variable of the shell must not carry prompts elsewhere
            self._providers = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=3),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._bounds.connect, sock_read=self._bounds.silence
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._providers


_JSON: Mapping[str, str] = {"content-type": "application/json"}


class Answering:
    """A provider that has begun to answer."""

    def __init__(self, response: aiohttp.ClientResponse, limit: int) -> None:
        self._response, self._limit = response, limit

    async def whole(self) -> dict[str, Any]:
        """The answer as one JSON object."""
        return _object(await _bounded(self._response, self._limit))

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of a streamed answer, until it says that it is done.

        Raises UpstreamBroke when it ends without saying so: such an answer is not whole.
        """
        if not self._response.content_type.startswith("text/event-stream"):
            raise UpstreamBroke(why="a stream was asked for and something else came")
        async for data in _events(self._response, self._limit):
            if data == b"[DONE]":
                return
            yield _object(data)
        raise UpstreamBroke(why="the stream ended before it was done")


async def _events(response: aiohttp.ClientResponse, limit: int) -> AsyncIterator[bytes]:
    """The data of server-sent events (WHATWG HTML, section 9.2), `\\n` or `\\r\\n` between lines."""
    buffer = b""
    data: list[bytes] = []
    async for chunk in response.content.iter_any():
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


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
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
    return value


def _inferred(status: int, data: bytes) -> dict[str, Any]:
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


async def _rejection(response: aiohttp.ClientResponse) -> Exception:
    """What a generator of ours says that is not an answer."""
    status = response.status
    if status == 429:
        return EngineBusy(hint="wait as long as `Retry-After` says")
    if status == 503:
        return EngineFailed(why="it is starting or stopping")
    if 400 <= status < 500:
        return EngineRejected(why=await _their_words(response) or f"it answered {status}")
    return EngineFailed(why=f"it answered {status}")


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
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
    if status in (400, 413, 415, 422):
        return UpstreamRejected(why=await _their_words(response) or f"it answered {status}")
    if 300 <= status < 400:
        return UpstreamFailed(why="it wants to send us elsewhere", hint="attach the URL it moved to")
    return UpstreamFailed(why=f"it answered {status}")


def _seconds(text: str | None) -> int:
    return max(1, min(3600, int(text))) if text and text.isdecimal() else UpstreamBusy.retry_after


async def _their_words(response: aiohttp.ClientResponse) -> str:
    """What a provider says is wrong with the request: for the caller, who sent it; never logged."""
    try:
        error = _object(await _bounded(response, 64 << 10)).get("error")
    except UpstreamBroke:
        return ""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "")[:300]
