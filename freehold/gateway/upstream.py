"""Calling what answers: our engines on Unix sockets, providers at their URLs; one way of failing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from freehold.gateway.answering import (
    Answering,
    EngineFailed,
    EngineNotReady,
    UpstreamAway,
    UpstreamBroke,
    UpstreamSlow,
    bounded,
    inferred,
    refusal,
    rejection,
)
from freehold.gateway.bounds import Bounds
from freehold.gateway.dialects.dialect import Sent
from freehold.spec.snapshot import Target
from freehold.store.home import socket_address


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
                return inferred(*await self._post(target, body))
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
                    return response.status, await bounded(response, self._bounds.response)
            except aiohttp.ServerDisconnectedError:
                # a kept connection was closed under us; asking an engine twice changes nothing
                async with session.post(url, data=body, headers=_JSON) as response:
                    return response.status, await bounded(response, self._bounds.response)

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
                    raise await rejection(response)
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
    async def provider(self, sent: Sent) -> AsyncIterator[Answering]:
        """Ask a provider; failures inside the block are told in our words too.

        Never follows a redirect: a provider that sends us elsewhere would send the words elsewhere.
        """
        headers = {**_JSON, **sent.headers}
        try:
            async with self._provider().post(
                sent.url, data=sent.body, headers=headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise await refusal(response)
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
