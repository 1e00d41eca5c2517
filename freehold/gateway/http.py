"""The edge: HTTP/1.1 on uvicorn's httptools protocol, with the deadlines and caps it lacks."""

from __future__ import annotations

import asyncio
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from socket import socket
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from freehold.gateway.bounds import Bounds
from freehold.gateway.chunks import Chunks
from freehold.gateway.peer import Peer, note_peer, peer_of
from freehold.gateway.watched import Watch, watch_in

_TOLD = 256
"""Connections too many that are held long enough to be told so."""


class EdgeState(ServerState):
    """What all connections of one process share."""

    def __init__(self) -> None:
        super().__init__()
        self.leaving = False


class Edge(HttpToolsProtocol):
    """A connection that may not be slow, may not send huge headers, and is not cut off by a restart.

    Stock uvicorn keeps a client that sends one header byte a minute, and closes idle connections the
    moment it is told to leave: a request already on its way is then lost.
    """

    bounds = Bounds()
    server_state: EdgeState

    def __init__(
        self,
        config: Config,
        server_state: EdgeState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_bytes = 0
        self._in_headers = True
        self._parsed = False
        self._too_many = False
        """Whether it came when there were as many as there may be."""
        self._header_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        """Runs while a body that nobody reads any more is still on its way."""
        self._reader_timer: asyncio.TimerHandle | None = None
        """Runs while the caller does not take what is ready for them."""
        self._ended = False
        """Whether a message ended in the piece that is looked at."""
        self._chunks: Chunks | None = None
        self._end = b""
        self._watches: list[Watch] = []
        self._peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it to Transport
        if len(self.connections) > self.bounds.connections + _TOLD:
            self.transport.abort()  # whoever comes in such numbers is not even told
            return
        self._too_many = len(self.connections) > self.bounds.connections
        self._peer = peer_of(transport)
        self._await_headers()
        if self.server_state.leaving:  # accepted in the very moment we were told to leave
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_rest_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)
        for watch in self._watches:
            watch.lost()

    def data_received(self, data: bytes) -> None:
        running, self._parsed, self._ended = self._chunks, False, False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._check_chunks(data, running)
        if self._ended:
            self._await_next()
        elif self._in_headers and self._header_timer is None:
            self._await_headers()  # the next request on a kept connection has begun
        if self._in_headers and not self._parsed:  # all of it is part of one unfinished line
            self._count(len(data))

    def _check_chunks(self, data: bytes, running: Chunks | None) -> None:
        """Look at the framing of a chunked body again; `running` if it had begun before `data`."""
        chunks, end = self._chunks, self._end
        self._end = (end + data)[-3:]
        if chunks is None:
            return
        if running is not chunks:  # its headers ended in this piece
            data = (end + data).partition(b"\r\n\r\n")[2]
        if not chunks.strict(data):
            self._refuse(400)
        if chunks.done:
            self._chunks = None

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)
        if len(self.headers) > self.bounds.header_lines:
            self._refuse(431)

    def _count(self, size: int) -> None:
        self._parsed = True
        self._header_bytes += size
        if self._header_bytes > self.bounds.headers:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_header_timer()
        if self.transport.is_closing():
            return
        if self._too_many:
            self._refuse(503)
            return
        if _ambiguous(self.headers) or not _is_addressed(self.headers, self.parser.get_http_version()):
            self._refuse(400)
            return
        if _is_chunked(self.headers):
            if self._ended:  # sent before the last one was answered: where its body begins nobody would see
                self._refuse(400)
                return
            self._chunks = Chunks()
        if self.cycle is None or self.cycle.response_complete:
            self._watches.clear()  # nothing is under way: the last one's caller has their reply
        self._watches.append(watch_in(self.scope))
        note_peer(self.scope, self._peer)
        super().on_headers_complete()
        if self.server_state.leaving:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_headers = self._parsed = self._ended = True
        self._header_bytes = 0
        self._stop_rest_timer()
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if (
            self.cycle.response_complete and self.cycle.more_body
        ):  # answered without its body, as strangers are
            self._rest_timer = self.loop.call_later(self.bounds.body_wait, self.transport.close)

    def _await_next(self) -> None:
        """A whole request is here: read on, to learn when its caller hangs up, or wait for the next one."""
        if not self.pipeline:
            self.flow.resume_reading()  # stopped while a large body came faster than it was taken
        if self.cycle is not None and self.cycle.response_complete and not self.timeout_keep_alive_task:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_reader_timer()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reader_timer()

    def _await_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.bounds.taken, self._check_reader, waiting)

    def _check_reader(self, before: int) -> None:
        """Give up whoever took nothing for so long: an answer, a place and memory wait for them."""
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._await_reader()

    def shutdown(self) -> None:
        """The server leaves: finish what runs; an idle connection gets one more moment.

        Its client may have sent a request that has not arrived yet. It is answered, with the word that
        the connection closes.
        """
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(self.bounds.linger, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def _close_if_idle(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if idle and not self._header_bytes and not self.transport.is_closing():
            self.transport.close()

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.bounds.header_wait, self._refuse, 408)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_rest_timer(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _refuse(self, status: int) -> None:
        """Answer at once and close: whoever is this slow, large or late gets no more of our time."""
        self._stop_header_timer()
        if self.transport.is_closing():
            return
        line = b"HTTP/1.1 %d %s\r\n" % (status, _PHRASES[status])
        body, more = (_FULL, _WHY_FULL) if status == 503 else (b"", b"")
        head = line + more + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(head + body)
        self.transport.close()


_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}
_FULL = (
    b'{"error":{"message":"this gateway has as many connections as it may",'
    b'"type":"server_error","param":null,"code":"too_many_connections"}}'
)
"""What is told over a connection too many: nobody knows yet in whose words it would have asked."""
_WHY_FULL = b"content-type: application/json\r\nretry-after: 1\r\nx-freehold-reason: too-many-connections\r\n"


def _is_chunked(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"transfer-encoding" for name, _ in headers)


def _is_addressed(headers: list[tuple[bytes, bytes]], version: str) -> bool:
    """Whether it is for one host, as HTTP/1.1 wants it (RFC 9112 section 3.2), in a version we speak."""
    hosts = sum(1 for name, _ in headers if name == b"host")
    return (hosts == 1 and version == "1.1") or (hosts <= 1 and version == "1.0")


def _ambiguous(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether two readers could disagree about where the body ends (RFC 9112 section 6.3)."""
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    upgrades = any(name == b"upgrade" for name, _ in headers)
    return upgrades or len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"])


class Told(Server):
    """uvicorn's server, which looks once a second, not ten times, whether it is to leave: it is told."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def leave(self) -> None:
        """Begin to leave; asking twice changes nothing. A signal's handler may ask, and any thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """The date in replies is of this second."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._told.wait()


class EdgeServer(Told):
    """On a socket it was handed, left by a call instead of by a signal's default."""

    server_state: EdgeState

    def __init__(
        self,
        app: Callable[..., Any],
        bounds: Bounds,
        accepting: Callable[[], None],
        secure: ssl.SSLContext | None = None,
    ) -> None:
        """`secure` is what connections are encrypted by; without it they are plain."""
        protocol = type("BoundedEdge", (Edge,), {"bounds": bounds})
        super().__init__(
            Config(
                app,
                http=protocol,
                loop="uvloop",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=int(bounds.idle) or 1,
                timeout_graceful_shutdown=int(bounds.drain) or 1,
            )
        )
        self.server_state = EdgeState()
        self._protocol = protocol
        self._accepting, self._secure, self._bounds = accepting, secure, bounds

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Accept connections, and say so."""
        if self._secure is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self.servers = [await self._accept(opened, self._secure) for opened in sockets or ()]
        self._accepting()

    async def _accept(self, opened: socket, secure: ssl.SSLContext) -> asyncio.Server:
        """uvicorn leaves whoever does not finish a handshake alone for a minute."""
        made = partial(self._protocol, self.config, self.server_state, self.lifespan.state)
        return await asyncio.get_running_loop().create_server(
            made,
            sock=opened,
            backlog=self.config.backlog,
            ssl=secure,
            ssl_handshake_timeout=self._bounds.header_wait,
            ssl_shutdown_timeout=self._bounds.linger,
        )

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop accepting, finish what runs, within the bounds."""
        self.server_state.leaving = True
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT ask to leave; the process then ends with success, not by the signal."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals come to the main thread only; whoever runs us calls `leave`
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
