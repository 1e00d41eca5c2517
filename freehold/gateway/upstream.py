"""Calling what answers: our engines on Unix sockets, providers at their URLs; one way of failing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

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
    soon,
)
from freehold.gateway.bounds import Bounds
from freehold.gateway.dialects.dialect import Sent
from freehold.gateway.elapsed import Elapsed, elapsed
from freehold.gateway.replicas import Replicas
from freehold.gateway.stopwatch import running
from freehold.gateway.wire import DOUBT, Address, Answer, LetGo, Severed, Silent, Unreachable, Wire
from freehold.spec.snapshot import Target
from freehold.store.home import socket_address

_JSON: Mapping[str, str] = {"content-type": "application/json"}


def socket_of(run: Path, digest: str) -> Path:
    """Where the engine of a serving digest listens."""
    return run / f"e-{digest.removeprefix('sha256:')[:16]}.sock"


def _why(silent: Silent, silence: float) -> str:
    if isinstance(silent, LetGo):
        return "nobody is answered there, and others wait for it already"
    return f"nothing came for {silence:g} s"


_AGAIN = 0.1
"""Seconds after a connection that was refused, before the one other try."""


async def _once_more(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """An answer, to be closed; asked for a second time where nothing can have been done the first time.

    That is: no connection came about, or the request was refused with 429 or 503 and may come again at once.
    """
    began = asyncio.get_running_loop().time()
    try:
        answer = await ask()
        wait = soon(answer)
        if wait is None:
            return answer
        answer.close()
    except Unreachable:
        if asyncio.get_running_loop().time() - began > DOUBT / 2:
            raise  # whoever asks has waited long enough
        wait = _AGAIN
    running.get().waits()
    await asyncio.sleep(wait)
    running.get().goes_on()
    return await ask()


class Upstreams:
    """Connections to everything that answers. Owned by the gateway's event loop."""

    def __init__(self, run: Path, bounds: Bounds, clock: Elapsed = elapsed) -> None:
        self._run, self._bounds = run, bounds
        self.replicas = Replicas(clock)
        self._engines: dict[str, Wire] = {}
        self._providers: dict[tuple[Address, str], Wire] = {}
        """By where they listen and who vouches for them: what one service trusts is nothing to another."""

    async def infer(self, target: Target, body: bytes) -> dict[str, Any]:
        """Ask an engine (Open Inference Protocol, JSON).

        Raises EngineRejected with the engine's own words, EngineNotReady, EngineFailed.
        """
        # by its digest: names do not change what a model is, and no other engine answers to it
        path = f"/v2/models/{target.serving_digest}/infer"
        async with self._asked(target, path, body, self._bounds.engine) as answer:
            data = await bounded(answer, self._bounds.response)
        return inferred(answer.status, data)

    @asynccontextmanager
    async def write(
        self, target: Target, path: str, body: bytes, *, streams: bool
    ) -> AsyncIterator[Answering]:
        """Ask a generator of ours; failures inside the block are told in our words too.

        Raises EngineRejected with the engine's own words, EngineBusy, EngineNotReady, EngineFailed.
        """
        # a stream says something every few seconds, a whole answer nothing until it is there
        silence = self._bounds.silence if streams else self._bounds.answer
        try:
            async with self._asked(target, path, body, silence) as answer:
                if answer.status != 200:
                    raise await rejection(answer)
                yield Answering(answer, self._bounds.response)
        except UpstreamBroke as broken:
            raise EngineFailed(why=broken.why) from None

    @asynccontextmanager
    async def _asked(self, target: Target, path: str, body: bytes, silence: float) -> AsyncIterator[Answer]:
        """An engine's answer. Asking one twice changes nothing."""
        wire = self._engine(target.serving_digest)
        try:
            async with wire.ask("POST", path, _JSON, body, silence, again=True) as answer:
                yield answer
        except Silent as silent:
            raise EngineFailed(why=_why(silent, silence)) from None
        except Unreachable as error:
            raise EngineNotReady(service=target.name, why="its process is not there") from error
        except Severed as error:
            raise EngineFailed(why=f"its socket: {error}") from error

    async def engine_is_ready(self, digest: str) -> bool:
        """Whether the engine of a serving digest says that it is ready."""
        if not socket_of(self._run, digest).exists():
            return False
        wire = self._engine(digest)
        try:
            async with wire.ask("GET", "/v2/health/ready", {}, b"", 1.0, soon=None, again=True) as answer:
                await bounded(answer, self._bounds.response)
                return answer.status == 200
        except (Unreachable, Severed, Silent, UpstreamBroke):
            return False

    def any_of(
        self, sents: Sequence[Sent], written: Callable[[Sent], None], *, of: str, name: str, soon: bool
    ) -> AbstractAsyncContextManager[Answering]:
        """As `provider`, at whichever of several addresses has least under way; `name` is the service's.

        `written` is told what is on its way.
        """

        def ask(sent: Sent) -> AbstractAsyncContextManager[Answering]:
            return self.provider(sent, partial(written, sent), of=of, soon=soon)

        return ask(sents[0]) if len(sents) == 1 else self.replicas.ask(sents, of, name, ask)

    @asynccontextmanager
    async def provider(
        self, sent: Sent, written: Callable[[], None] = lambda: None, *, of: str, soon: bool = False
    ) -> AsyncIterator[Answering]:
        """Ask a provider; failures inside the block are told in our words too.

        `written` is called when the request is on its way; `of` is the target's digest, and `soon` says that
        the answer begins before it is worked out. A redirect is not followed: a provider that sends us
        elsewhere would send the words elsewhere.
        """
        address, path = Address.of(sent.url)
        wire = self._providers.get((address, sent.ca))
        if wire is None:
            wire = self._providers[address, sent.ca] = Wire(address, self._bounds.connect, sent.ca)
        headers = {**_JSON, **sent.headers}

        def ask() -> Awaitable[Answer]:
            silence = self._bounds.silence
            return wire.asked("POST", path, headers, sent.body, silence, soon=soon, of=of, written=written)

        try:
            with closing(await _once_more(ask)) as answer:
                if answer.status != 200:
                    raise await refusal(answer)
                yield Answering(answer, self._bounds.response)
        except Silent as silent:
            raise UpstreamSlow(why=_why(silent, self._bounds.silence)) from None
        except Unreachable as error:
            raise UpstreamAway(why=str(error)) from error
        except Severed as error:
            raise UpstreamBroke(why=str(error)) from error

    async def forget(self, still: tuple[str, ...]) -> None:
        """Close the connections to engines that no route names any more, each after its last answer."""
        for digest in [d for d in self._engines if d not in still]:
            self._engines.pop(digest).leave()

    def forget_providers(self, still: Iterable[tuple[str, str]]) -> None:
        """The same of providers, by address and who vouches for it: nobody named any more is connected to."""
        named = {(Address.of(url)[0], ca) for url, ca in still}
        for known in [one for one in self._providers if one not in named]:
            self._providers.pop(known).leave()

    async def close(self) -> None:
        """Close what is idle; what is being answered on closes with its answer."""
        for wire in (*self._engines.values(), *self._providers.values()):
            wire.leave()
        self._engines.clear()
        self._providers.clear()

    def _engine(self, digest: str) -> Wire:
        wire = self._engines.get(digest)
        if wire is None:
            address = Address(host="engine", socket=socket_address(socket_of(self._run, digest)))
            wire = self._engines[digest] = Wire(address, self._bounds.connect)
        return wire
