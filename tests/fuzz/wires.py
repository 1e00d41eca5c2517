"""Fuzz targets for the two ends of HTTP: the edge that callers speak to, and our own client of upstreams."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from freehold.errors import Unavailable
from freehold.gateway.app import Gateway
from freehold.gateway.bounds import Bounds
from freehold.gateway.counted import Counted
from freehold.gateway.http import Edge, EdgeServer
from freehold.gateway.refusals import Refusals
from freehold.gateway.rulebook import Rulebook
from freehold.gateway.upstream import Upstreams
from freehold.gateway.waits import Waits
from freehold.gateway.wire import Answer, Severed, Silent, _Connection


class NoRules(Unavailable):
    """there are no rules"""


class _NoRulebook:
    """What a gateway decides by before it has heard from control."""

    ix = 0

    def rules(self) -> Any:
        raise NoRules

    def silence(self) -> float:
        return 0.0


class Line(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.said += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _server() -> EdgeServer:
    """The gateway as a stranger meets it: whoever has no key gets no further than this."""
    nothing: dict[str, Any] = dict.fromkeys(("replays", "limits", "cache", "detectors"))
    spooled = {"bytes": 0, "waiting": 0, "late": 0, "syncs": 0}
    counts: dict[str, Any] = {"endings": {}, "copies": {}, "guarded": {}, "dropped": 0}
    quiet: Any = SimpleNamespace(
        **counts,
        refusals=Refusals(lambda: 0.0),
        spooled=lambda: spooled,
        open=lambda: 0,
        troubles=lambda: (),
    )  # what is counted, and what is wrong
    gateway = Gateway(
        rulebook=cast(Rulebook, _NoRulebook()),
        bounds=Bounds(),
        clock=lambda: 1,
        recorder=quiet,
        breaker=quiet,
        health=quiet,
        copies=quiet,
        upstreams=cast(Upstreams, SimpleNamespace(replicas=quiet)),
        counted=Counted(Path("/nowhere"), "spl_x"),
        **nothing,
    )
    server = EdgeServer(gateway, Bounds(), lambda: None)
    server.config.load()
    return server


def edge(data: bytes) -> None:
    """A connection of a stranger, in pieces of the size that the first byte says."""
    if data:
        _loop().run_until_complete(_spoken(data[1:], max(1, data[0])))


async def _spoken(data: bytes, piece: int) -> None:
    server, line = _server(), Line()
    kind = cast(type[Edge], server.config.http_protocol_class)
    protocol = kind(server.config, server.server_state, {}, asyncio.get_running_loop())
    protocol.connection_made(line)
    for at in range(0, len(data), piece):
        if line.closed:
            break
        protocol.data_received(data[at : at + piece])
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    if tasks := set(server.server_state.tasks):
        await asyncio.wait(tasks, timeout=10)
    assert not server.server_state.tasks, "a request goes on without its caller"
    assert line.said[:9] in (b"", b"HTTP/1.1 ")
    assert b"HTTP/1.1 500" not in line.said, "something of ours broke"


def wire(data: bytes) -> None:
    """What an upstream says to us, in pieces of the size that the first byte says."""
    if data:
        _loop().run_until_complete(_answered(data[1:], max(1, data[0])))


async def _answered(data: bytes, piece: int) -> None:
    line, connection = Line(), _Connection(Waits())
    connection.connection_made(line)
    reading = asyncio.ensure_future(_read(connection))
    await asyncio.sleep(0)
    for at in range(0, len(data), piece):
        if line.closed:
            break
        connection.data_received(data[at : at + piece])
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.wait_for(reading, 10)


async def _read(connection: _Connection) -> None:
    with suppress(Severed, Silent):
        await connection.ask(b"GET / HTTP/1.1\r\n\r\n", 60, lambda: None)
        answer = Answer(connection, 60, lambda _connection: None)
        assert 200 <= answer.status <= 999, answer.status
        async for _ in answer.pieces():
            pass
