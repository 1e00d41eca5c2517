"""The thin client: every way an upstream can answer, stall, break off or say nonsense has its word."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.gateway import wire as wire_room
from freehold.gateway.chunks import Chunks
from freehold.gateway.wire import Address, Severed, Silent, Unreachable, Wire

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """A server that says what a test wants, and counts its connections."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.ended = asyncio.Event()

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.wire = Wire(Address(host="127.0.0.1", port=self._server.sockets[0].getsockname()[1]), connect=2)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.wire.leave()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.ended.set()


async def heard(reader: asyncio.StreamReader) -> bytes:
    """One request, head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line)
    return head + await reader.readexactly(length)


def saying(*pieces: bytes, pause: float = 0.0) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await heard(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)

    return script


def closing(*pieces: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        for piece in pieces:
            writer.write(piece)
        await writer.drain()

    return script


async def asked(wire: Wire, body: bytes = b"{}", silence: float = 2.0, **more: Any) -> tuple[int, bytes]:
    async with wire.ask("POST", "/v1/x", {"x-a": "b"}, body, silence, **more) as answer:
        return answer.status, b"".join([piece async for piece in answer.pieces()])


def run(work: Awaitable[Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 15))  # type: ignore[arg-type]


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def test_a_connection_is_kept_and_used_again() -> None:
    async def story() -> None:
        async with Upstream(saying(OK)) as upstream:
            for _ in range(3):
                assert await asked(upstream.wire) == (200, b"hello")
            assert upstream.connections == 1

    run(story())


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ((OK[:20], OK[20:45], OK[45:]), b"hello"),
        ((CHUNKED + b"3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"), b"hello"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", OK), b"hello"),
        ((b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,), b"hello"),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), b""),
    ],
)
def test_an_answer_in_any_shape_is_read(pieces: tuple[bytes, ...], body: bytes) -> None:
    async def story() -> None:
        async with Upstream(saying(*pieces, pause=0.01)) as upstream:
            for _ in range(2):
                assert (await asked(upstream.wire))[1] == body

    run(story())


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def story() -> None:
        async with Upstream(closing(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")) as upstream:
            assert await asked(upstream.wire) == (200, b"hello")
            assert await asked(upstream.wire) == (200, b"hello")
            assert upstream.connections == 2

    run(story())


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200 OK\r\ncontent-le",),
        (OK[:-2],),
        (CHUNKED + b"5\r\nhel",),
        (CHUNKED + b"5\r\nhello\r\n",),
        (CHUNKED + b"zz\r\n",),
        (b"SSH-2.0-OpenSSH\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",),
        (b"HTTP/1.1 200 OK\r\n" + b"x-a: %s\r\n" % (b"x" * 70_000),),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(300)) + b"\r\n",),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(300)) + OK[17:],),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",),
    ],
)
def test_what_is_no_whole_answer_is_no_answer(pieces: tuple[bytes, ...]) -> None:
    async def story() -> None:
        async with Upstream(closing(*pieces)) as upstream:
            with pytest.raises(Severed):
                await asked(upstream.wire)

    run(story())


def test_what_follows_an_answer_is_no_part_of_it_and_ends_the_connection() -> None:
    more = b"HTTP/1.1 500 Oops\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nevil"

    async def story() -> None:
        for pieces in ((OK + more,), (OK + b"evil",), (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + more,)):
            async with Upstream(saying(*pieces)) as upstream:
                for _ in range(2):
                    async with upstream.wire.ask("POST", "/", {}, b"", 2.0) as answer:
                        await asyncio.sleep(0)
                        assert b"".join([piece async for piece in answer.pieces()]) == b"hello"
                        assert (answer.status, answer.kind) == (200, "")
                assert upstream.connections == 2

    run(story())


def test_trailers_are_not_read() -> None:
    said = CHUNKED + b"5\r\nhello\r\n0\r\ncontent-type: text/html\r\n\r\n"

    async def story() -> None:
        async with (
            Upstream(saying(said)) as upstream,
            upstream.wire.ask("POST", "/", {}, b"", 2.0) as answer,
        ):
            assert b"".join([piece async for piece in answer.pieces()]) == b"hello"
            assert answer.kind == ""

    run(story())


def test_a_header_without_an_end_is_not_gathered() -> None:
    sent: list[int] = []

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nx-a: ")
        for n in range(1000):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent.append(n)

    async def story() -> None:
        async with Upstream(flood) as upstream:
            with pytest.raises(Severed, match="too large"):
                await asked(upstream.wire, silence=10.0)
            await asyncio.wait_for(upstream.ended.wait(), 5)
        assert len(sent) < 500

    run(story())


def test_an_answer_without_a_length_whose_connection_is_reset_is_not_whole() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await writer.drain()
        await asyncio.sleep(0.05)
        linger = struct.pack("ii", 1, 0)  # closing says so with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def story() -> None:
        async with Upstream(resets) as upstream:
            with pytest.raises(Severed):
                await asked(upstream.wire)

    run(story())


@pytest.mark.parametrize("before", [b"", OK[:20], OK[:-2]])
def test_silence_ends_before_the_head_and_within_the_body(before: bytes) -> None:
    async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(before)
        await reader.read()  # until the other side gives up

    async def story() -> None:
        async with Upstream(stalls) as upstream:
            with pytest.raises(Silent):
                await asked(upstream.wire, silence=0.1)
            await asyncio.wait_for(upstream.ended.wait(), 5)

    run(story())


def test_a_kept_connection_that_was_closed_under_us_is_asked_anew_only_where_that_changes_nothing() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(OK)
        await heard(reader)

    async def story() -> None:
        async with Upstream(once) as upstream:
            for _ in range(3):
                assert (await asked(upstream.wire, again=True))[1] == b"hello"
            assert upstream.connections == 3
            with pytest.raises(Severed):
                await asked(upstream.wire)

    run(story())


def test_nobody_there_is_unreachable() -> None:
    async def story() -> None:
        async with Upstream(saying(OK)) as upstream:
            address = upstream.wire._address
        with pytest.raises(Unreachable):
            await asked(Wire(address, connect=1))
        with pytest.raises(Unreachable):
            await asked(Wire(Address(host="x", socket="/nowhere/at/all.sock"), connect=1))

    run(story())


def test_while_one_waits_for_a_connection_the_others_give_up_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_room, "DOUBT", 0.05)
    made = Wire._made

    async def story() -> None:
        gate = asyncio.Event()

        async def late(wire: Wire, loop: asyncio.AbstractEventLoop) -> Any:
            await gate.wait()
            return await made(wire, loop)

        monkeypatch.setattr(Wire, "_made", late)
        async with Upstream(saying(OK)) as upstream:
            callers = [asyncio.ensure_future(asked(upstream.wire)) for _ in range(5)]
            patient = set(callers)
            while len(patient) > 1:
                _, patient = await asyncio.wait(patient, return_when=asyncio.FIRST_COMPLETED)
            gate.set()
            results = await asyncio.gather(*callers, return_exceptions=True)
            assert sorted(type(one).__name__ for one in results) == ["Unreachable"] * 4 + ["tuple"]
            assert await asked(upstream.wire) == (200, b"hello")

    run(story())


def test_whoever_leaves_early_closes_the_connection() -> None:
    async def begins(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(CHUNKED + b"3\r\nhel\r\n")
        await reader.read()  # until the other side has gone

    async def story() -> None:
        async with Upstream(begins) as upstream:
            async with upstream.wire.ask("POST", "/", {}, b"", 2.0) as answer:
                async for _ in answer.pieces():
                    break
            await asyncio.wait_for(upstream.ended.wait(), 5)

    run(story())


def test_a_header_that_would_break_out_is_not_sent() -> None:
    async def story() -> None:
        async with Upstream(saying(OK)) as upstream:
            with pytest.raises(Severed):
                async with upstream.wire.ask("POST", "/", {"x": "a\r\nx-b: c"}, b"", 1.0):
                    pass
            assert upstream.connections == 0

    run(story())


def test_a_reader_who_is_slow_holds_the_server_back() -> None:
    sent: list[int] = []

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for n in range(600):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent.append(n)

    async def story() -> None:
        async with Upstream(flood) as upstream:
            async with upstream.wire.ask("POST", "/", {}, b"", 5.0) as answer:
                await asyncio.sleep(0.5)
                held = len(sent)
                assert held < 400, "the rest waits where it is"
                size = sum([len(piece) async for piece in answer.pieces()])
            assert size == 600 * 65_536

    run(story())


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_honest_framing_is_strict_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    chunks, at = Chunks(), 0
    while at < len(body):
        size = data.draw(st.integers(1, len(body) - at))
        assert chunks.strict(body[at : at + size])
        at += size
    assert chunks.done


@given(st.binary(max_size=30), st.sampled_from([b";a", b" ", b"\t", b";", b"_", b"+"]), st.booleans())
def test_anything_else_in_a_size_is_not(part: bytes, odd: bytes, before: bool) -> None:
    size = b"%x" % max(1, len(part))
    line = odd + size if before else size + odd
    assert not Chunks().strict(line + b"\r\n" + part + b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("end", [b"0\r\nx: y\r\n\r\n", b"0\n\n", b"0\r\n\n", b"00000000000\r\n\r\n"])
def test_an_end_is_an_empty_line_and_nothing_else(end: bytes) -> None:
    assert not Chunks().strict(b"2\r\n{}\r\n" + end)
