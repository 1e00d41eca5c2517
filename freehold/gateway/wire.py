"""HTTP/1.1 to one address, as thin as asking can be: httptools over kept connections, and bounds.

A general client costs more of a processor than everything else that the gateway does with a request
(0005 in the lab log has the figures). This one does what the gateway needs: POST and GET with a body at
hand, an answer whole or in pieces, back-pressure, and an end to silence. It follows no redirect, uses no
proxy, keeps no cookie, and asks for no compression, so nothing can be blown up by unpacking.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

import httptools

from freehold.gateway.stopwatch import running
from freehold.gateway.waits import Waits
from freehold.tls import vouched_for

KEPT = 3.0
"""Seconds an idle connection is kept; a server that closes its own sooner is the usual cause of trouble."""
DOUBT = 0.8
"""Seconds a connection takes at most while all is well, with its handshake and half around the world."""
_HIGH = 256 << 10
"""Bytes that may wait for whoever reads, before no more is taken from the socket."""
_MOST_HEADERS, _HEADER_BYTES = 200, 64 << 10


class Unreachable(Exception):
    """No connection came about: nothing was asked."""


class Severed(Exception):
    """The connection ended, or what came over it is no answer."""


class Unanswered(Severed):
    """A kept connection was closed before a byte of the answer: it was closed under us."""


class Silent(Exception):
    """Nothing came for as long as may be waited."""


class LetGo(Silent):
    """Nothing comes, to nobody who asked there: others wait already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to: a host and port, with or without TLS, or a Unix socket."""

    host: str
    port: int = 0
    tls: bool = False
    socket: str = ""

    @classmethod
    @lru_cache(maxsize=1024)  # of the few that were attached
    def of(cls, url: str) -> tuple[Address, str]:
        """The address in a URL, and the target of the request line."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host=parts.hostname or "", port=parts.port or (443 if tls else 80), tls=tls), path

    @property
    def name(self) -> str:
        """As the `host` header says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port in (0, 443 if self.tls else 80)
        return host if usual else f"{host}:{self.port}"


class Wire:
    """The connections to one address. Owned by the gateway's event loop."""

    def __init__(self, address: Address, connect: float, ca: str = "") -> None:
        """`ca` are the certificates that alone vouch for who listens there."""
        self._address, self._connect = address, connect
        self._idle: list[tuple[_Connection, float]] = []
        self._leaves = False
        self._waits = Waits()
        self._patient: asyncio.Timeout | None = None
        """Of the one who waits for a connection although none comes about."""
        self._context = vouched_for(ca) if address.tls else None
        self._head = f" HTTP/1.1\r\nhost: {address.name}\r\naccept: */*\r\n"

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        silence: float,
        *,
        soon: bool | None = False,
        of: str = "",
        again: bool = False,
        written: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Answer]:
        """As `asked`, its answer closed at the end of the block."""
        asked = self.asked(
            method, path, headers, body, silence, soon=soon, of=of, again=again, written=written
        )
        with closing(await asked) as answer:
            yield answer

    async def asked(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        silence: float,
        *,
        soon: bool | None = False,
        of: str = "",
        again: bool = False,
        written: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Send a request; its answer once the head is there. `written` is called when it is on its way.

        The answer is to be closed. Before it is whole, that closes the connection: whoever answers learns
        that nobody listens. `soon` says whether its answer begins before it is worked out, None that it
        waits for itself alone; `of` is what it asks, where several answer at this address. `again` says that
        asking twice changes nothing: then a kept connection that was closed under us is no failure.

        Raises Unreachable, Severed, Silent.
        """
        request = self._request(method, path, headers, body)
        connection = self._kept() or await self._fresh()
        try:
            try:
                await connection.ask(request, silence, written, soon, of)
            except Unanswered:
                if not again:
                    raise
                connection.close()
                connection = await self._fresh()
                await connection.ask(request, silence, written, soon, of)
        except BaseException:
            self._give_back(connection)
            raise
        return Answer(connection, silence, self._give_back)

    def _give_back(self, connection: _Connection) -> None:
        """Keep a connection whose answer is whole; close any other."""
        if connection.reusable and not self._leaves:
            self._idle.append((connection, asyncio.get_running_loop().time()))
        else:
            connection.close()

    def leave(self) -> None:
        """Close what is idle now, and what is being answered on once it is answered."""
        self._leaves = True
        while self._idle:
            self._idle.pop()[0].close()

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path}{self._head}{lines}content-length: {len(body)}\r\n\r\n"
        if head.count("\n") != 5 + len(headers) or not head.isascii():
            raise Severed("a header of ours holds what no header may")
        return head.encode() + body

    def _kept(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection, since = self._idle.pop()  # the one used last: the others grow old and go
            if now - since <= KEPT and connection.usable:
                self._let_go(now)
                return connection
            connection.close()
        return None

    def _let_go(self, now: float) -> None:
        while self._idle and now - self._idle[0][1] > KEPT:
            self._idle.pop(0)[0].close()

    async def _fresh(self) -> _Connection:
        """A new connection. One caller waits for as long as may be; while they wait, the others give up
        sooner: they would all wait for the same thing in vain."""
        loop, took = asyncio.get_running_loop(), running.get()
        took.waits()
        try:
            async with asyncio.timeout(self._connect) as limit:
                doubt = loop.call_later(DOUBT, self._doubt, limit)
                try:
                    made = await self._made(loop)
                finally:
                    doubt.cancel()
                    self._patient = None if self._patient is limit else self._patient
        except (OSError, TimeoutError) as error:  # TLS that does not come about is an OSError, too
            raise Unreachable(type(error).__name__) from error
        finally:
            took.goes_on()
        self._patient = None  # it takes connections
        return made

    async def _made(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        address = self._address
        if address.socket:
            _, made = await loop.create_unix_connection(self._connection, address.socket)
        else:
            _, made = await loop.create_connection(
                self._connection, address.host, address.port, ssl=self._context
            )
        return made

    def _connection(self) -> _Connection:
        return _Connection(self._waits)

    def _doubt(self, limit: asyncio.Timeout) -> None:
        """A connection is awaited for longer than connections take."""
        if self._patient is None:
            self._patient = limit
        else:
            limit.reschedule(asyncio.get_running_loop().time())


class Answer:
    """An answer whose head is there."""

    def __init__(self, connection: _Connection, silence: float, done: Callable[[_Connection], None]) -> None:
        self._connection, self._silence, self._done = connection, silence, done
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers

    @property
    def kind(self) -> str:
        """What it is, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def piece(self) -> bytes | None:
        """What has come of the body; None when it is whole. Raises Severed, Silent."""
        return await self._connection.piece(self._silence)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises Severed, Silent."""
        while (piece := await self.piece()) is not None:
            yield piece

    def close(self) -> None:
        """No more of it is wanted."""
        self._done(self._connection)


class _Connection(asyncio.Protocol):
    """One connection, and the one request that is under way on it."""

    def __init__(self, waits: Waits) -> None:
        self._loop = asyncio.get_running_loop()
        self._waits = waits
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: deque[bytes] = deque()
        self._waiting = self._size = self._came = 0
        self._paused = self._used = self._lost = False
        self._ready = self._whole = True
        self._keeps = False
        self._broke: Exception | None = None
        self.status = 0
        self.headers: dict[str, str] = {}

    async def ask(
        self,
        request: bytes,
        silence: float,
        written: Callable[[], None],
        soon: bool | None = None,
        of: str = "",
    ) -> None:
        """Send a request; returns when the head of its answer is there."""
        transport = self._transport
        if transport is None or self._lost:
            raise Unanswered("it was closed")
        again, self._used = self._used, True
        self._begin()
        transport.write(request)
        written()
        if soon is not None:
            self._waits.begins(self, silence, soon=soon, of=of)
        try:
            while not self._ready:
                await self._wait(silence)
        except Severed as severed:
            if again and not self.status:
                raise Unanswered(str(severed)) from severed
            raise

    async def piece(self, silence: float) -> bytes | None:
        while not self._pieces:
            if self._whole:
                return None
            await self._wait(silence)
        data = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self._paused and self._transport is not None and not self._lost:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def usable(self) -> bool:
        """Whether something can be asked on it."""
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether its answer is whole and the other side means to go on."""
        done = self._whole and self._ready and self._keeps and not self._pieces
        return done and self._broke is None and self.usable

    def let_go(self) -> None:
        """Wait no longer for an answer of which nothing has come."""
        self._broke = self._broke or LetGo()
        self._wake()

    def close(self) -> None:
        """Give it up, at once when something is under way on it."""
        self._waits.ends(self)
        if self._transport is None:
            return
        if self._whole:
            self._transport.close()
        else:
            self._transport.abort()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._pieces.clear()
        self._waiting = self._size = self._came = self.status = 0
        self.headers = {}
        self._ready = self._whole = self._keeps = False

    async def _wait(self, silence: float) -> None:
        if self._broke is not None:
            raise self._broke
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(silence, _is_silent, waiter)
        took = running.get()
        took.waits()
        try:
            await waiter
        except Silent:
            self._waits.in_vain(self)
            raise
        finally:
            took.goes_on()
            timer.cancel()
            self._waiter = None
        if self._broke is not None and not self._pieces:
            raise self._broke

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, why: str) -> None:
        self._broke = self._broke or Severed(why)
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # -- what the loop calls ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the base

    def data_received(self, data: bytes) -> None:
        if self._whole or self._parser is None:
            self._fail("it says something that nobody asked")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("what came is no HTTP")
        self._came += len(data)
        if not self._ready and self._came > _HEADER_BYTES:  # a header without an end is none to the parser
            self._fail("its headers are too large")
        if self._waiting > _HIGH and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._ready and not self._whole and self._until_closed and exc is None:
            self._whole = True
        elif not self._whole:
            self._broke = self._broke or Severed("the connection ended in the middle")
        self._wake()

    @property
    def _until_closed(self) -> bool:
        """An answer without a length ends with its connection (RFC 9112, section 6.3)."""
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    # -- what the parser calls ----------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._ready:  # a trailer, or of an answer that nobody asked for
            return
        self._size += len(name) + len(value)
        if len(self.headers) >= _MOST_HEADERS or self._size > _HEADER_BYTES:
            self._fail("its headers are too large")
            return
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        if self._ready:
            self._fail("it answers twice")
        if self._broke is not None:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:  # 100 and 103 announce the answer, they are none
            self.headers, self.status, self._size = {}, 0, 0
            return
        if self.headers.get("content-encoding", "identity") != "identity":
            self._fail("it is compressed, which nobody asked for")
            return
        self._ready = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._whole:  # of an answer that nobody asked for
            return
        self._waits.speaks(self)
        self._pieces.append(body)
        self._waiting += len(body)
        self._wake()

    def on_message_complete(self) -> None:
        if self._ready and not self._whole and self._parser is not None:
            self._waits.speaks(self)  # it may have no body
            self._keeps = bool(self._parser.should_keep_alive())
            self._whole = True
            self._wake()


def _is_silent(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(Silent())
