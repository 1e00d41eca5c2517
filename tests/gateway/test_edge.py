"""Slow, huge and ambiguous requests are refused at the edge; a leaving gateway loses none."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from freehold.gateway.bounds import Bounds, fitting
from freehold.gateway.http import Edge, EdgeServer
from freehold.gateway.reply import Piece, Reply
from freehold.gateway.watched import Watch
from tests.gateway.conftest import Site
from tests.gateway.steered import steered

SMALL = Bounds(headers=2000, body=1000, header_wait=1, body_wait=1, linger=1, drain=5, ship=2)


@pytest.fixture
def key(site: Site) -> str:
    key = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    site.up(SMALL)
    return key


@contextmanager
def line(site: Site) -> Iterator[socket.socket]:
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        yield connection


def said(connection: socket.socket) -> bytes:
    """Everything until the gateway closes."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def whole(connection: socket.socket) -> bytes:
    """One answer that ends with `{}`, on a connection that stays: headers and body may come apart."""
    data = b""
    while not data.endswith(b"\r\n\r\n{}") and (chunk := connection.recv(65536)):
        data += chunk
    return data


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


GET = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n"


def test_headers_that_do_not_come_in_time_are_cut_off(site: Site, key: str) -> None:
    with line(site) as connection:
        connection.sendall(GET)
        assert status(said(connection)) == 408
    with line(site) as silent:
        assert status(said(silent)) == 408


def test_a_connection_too_many_is_told_so_and_the_others_go_on(site: Site) -> None:
    site.up(replace(SMALL, connections=2, header_wait=5))
    with line(site) as first, line(site) as second:
        for one in (first, second):
            one.sendall(GET + b"\r\n")
            assert status(whole(one)) == 200
        with line(site) as third:
            third.sendall(GET + b"\r\n")
            answer = said(third)
        assert status(answer) == 503
        assert b"retry-after: 1" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_many_connections"
        first.sendall(GET + b"connection: close\r\n\r\n")
        assert status(said(first)) == 200
        second.close()
        site.until(lambda: _is_taken(site))


def _is_taken(site: Site) -> bool:
    with line(site) as connection:
        connection.sendall(GET + b"\r\n")
        return status(connection.recv(1000)) == 200


@pytest.mark.parametrize(
    ("soft", "hard", "connections"), [(1024, 4096, 1792), (1024, 1 << 20, 4096), (256, 256, 16)]
)
def test_there_are_as_many_connections_as_files_may_be_open(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, connections: int
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _what: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda _what, said: asked.append(said))
    assert fitting(Bounds()).connections == connections
    assert asked == ([(min(hard, 2 * 4096 + 512), hard)] if hard > soft else [])


def test_a_byte_now_and_then_does_not_buy_time(site: Site, key: str) -> None:
    with line(site) as connection:
        connection.settimeout(0.05)
        answer = b""
        for letter in GET * 3:
            try:
                connection.sendall(bytes([letter]))
                answer += connection.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert status(answer) == 408


def test_a_second_request_on_a_kept_connection_has_a_deadline_too(site: Site, key: str) -> None:
    with line(site) as connection:
        connection.sendall(GET + b"\r\n")
        assert status(connection.recv(65536)) == 200
        connection.sendall(GET)
        assert status(said(connection)) == 408


@pytest.mark.parametrize(
    "headers",
    [
        b"x-large: " + b"x" * 3000 + b"\r\n",
        b"".join(b"x-%d: %s\r\n" % (n, b"x" * 100) for n in range(30)),
        b"".join(b"x-%d: 1\r\n" % n for n in range(120)),
    ],
)
def test_headers_that_are_too_large_are_refused(site: Site, key: str, headers: bytes) -> None:
    with line(site) as connection:
        connection.sendall(GET + headers + b"\r\n")
        assert status(said(connection)) == 431


def test_a_request_line_without_end_is_refused(site: Site, key: str) -> None:
    with line(site) as connection:
        connection.sendall(b"GET /" + b"x" * 5000)
        assert status(said(connection)) == 431


def test_a_body_that_comes_in_one_piece_with_its_headers_is_none_of_them(site: Site) -> None:
    key = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    site.up(Bounds(headers=2000, body=20_000, linger=0.05, drain=5, ship=2))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key.encode()
    with line(site) as connection:
        for _ in range(3):
            connection.sendall(head + b"\r\ncontent-length: 10000\r\n\r\n" + b"{" * 10_000)
            answer = connection.recv(65536)
            assert status(answer) == 400
            if not answer.endswith(b"}"):  # its body comes in a piece of its own
                answer += connection.recv(65536)
            assert b"not_json" in answer


@pytest.mark.parametrize(
    "headers",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"transfer-encoding: identity\r\n",
        b"content-length: -5\r\n",
        b"connection: upgrade\r\nupgrade: websocket\r\n",
    ],
)
def test_a_body_whose_end_two_readers_could_see_differently_is_refused(
    site: Site, key: str, headers: bytes
) -> None:
    with line(site) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key.encode()
        connection.sendall(
            head + b"\r\n" + headers + b"\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        answer = said(connection)
        assert status(answer) == 400
        assert answer.count(b"HTTP/1.1 ") == 1, "what follows is not taken for a request"


def test_a_body_that_does_not_come_in_time_is_cut_off(site: Site, key: str) -> None:
    with line(site) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key.encode()
        connection.sendall(head + b"\r\ncontent-length: 100\r\n\r\nhalf")
        answer = said(connection)
        assert status(answer) == 408
        assert b"body_too_slow" in answer


def test_a_request_on_its_way_when_the_gateway_leaves_is_answered(site: Site, key: str) -> None:
    with line(site) as kept, line(site) as fresh:
        kept.sendall(GET + b"\r\n")
        assert status(kept.recv(65536)) == 200
        done, edge = site._gateways[0]
        site.loop.loop.call_soon_threadsafe(edge.leave)
        while not edge.server_state.leaving:
            time.sleep(0.01)
        kept.sendall(GET + b"\r\n")
        answer = said(kept)
        assert status(answer) == 200
        assert b"connection: close" in answer
        fresh.sendall(GET + b"\r\n")
        assert status(said(fresh)) == 200
        done.result(10)


def test_a_client_that_hangs_up_in_its_body_is_no_error(site: Site, key: str, http: httpx.Client) -> None:
    with line(site) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key.encode()
        connection.sendall(head + b"\r\ncontent-length: 100\r\n\r\nhalf")
    assert http.get(f"{site.url}/v2/health/ready").status_code == 200


# -- a connection by itself, piece by piece -------------------------------------------------------------


class Transport(asyncio.Transport):
    """Keeps what is written, and takes what nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reads, self.closed = True, False
        self.waiting = 0

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def edge(app: Any, **bounds: Any) -> tuple[Edge, Transport]:
    """A connection to `app`."""
    config = EdgeServer(app, replace(SMALL, **bounds), lambda: None).config
    config.load()
    transport = Transport()
    made: Any = config.http_protocol_class(config, _edge_state(), {})  # type: ignore[call-arg]
    made.connection_made(transport)
    return made, transport


def _edge_state() -> Any:
    return EdgeServer(echo, SMALL, lambda: None).server_state


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body, when all of it is there."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    await answers(send, b"%d" % size)


async def stranger(scope: Any, receive: Any, send: Any) -> None:
    """Answers without having read the body."""
    await answers(send, b"no")


async def answers(send: Any, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


POST = b"POST / HTTP/1.1\r\nhost: x\r\n"


def test_a_connection_is_read_on_when_a_large_body_is_whole() -> None:
    """Nobody would learn otherwise that its caller hangs up while the answer is being made."""

    async def thinks(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            continue
        await asyncio.sleep(1)

    async def story() -> None:
        made, transport = edge(thinks)
        made.data_received(POST + b"content-length: 100000\r\n\r\n")
        await asyncio.sleep(0.01)  # it waits for the body
        made.data_received(b"x" * 90_000)
        assert not transport.reads, "more than that has to wait"
        await asyncio.sleep(0.01)
        made.data_received(b"x" * 10_000)
        assert transport.reads
        made.data_received(b"x" * 0)
        made.connection_lost(None)

    async def at_once() -> None:
        made, transport = edge(thinks)
        made.data_received(POST + b"content-length: 100000\r\n\r\n")
        await asyncio.sleep(0.01)
        made.data_received(b"x" * 100_000)
        await asyncio.sleep(0.01)
        assert transport.reads
        made.connection_lost(None)

    steered(story)
    steered(at_once)


def test_requests_sent_ahead_wait_where_they_are() -> None:
    async def story() -> None:
        made, transport = edge(echo)
        made.data_received((POST + b"content-length: 2\r\n\r\nab") * 3)
        assert not transport.reads
        await asyncio.sleep(0.01)
        assert transport.written.count(b"HTTP/1.1 200") == 3
        assert transport.reads

    steered(story)


def test_the_rest_of_a_body_that_nobody_reads_has_a_deadline() -> None:
    async def story() -> None:
        made, transport = edge(stranger, body_wait=0.1)
        made.data_received(POST + b"content-length: 1000000\r\n\r\n")
        for _ in range(4):
            assert not transport.closed
            await asyncio.sleep(0.03)
            made.data_received(b"x")
        assert transport.closed, "bytes that trickle in buy no time"
        assert b"HTTP/1.1 200" in transport.written

    steered(story)


def test_a_connection_whose_body_came_after_its_answer_is_idle_only_so_long() -> None:
    async def story() -> None:
        made, transport = edge(stranger, body_wait=0.1, idle=1)
        made.data_received(POST + b"content-length: 4\r\n\r\n")
        await asyncio.sleep(0.01)
        made.data_received(b"late")
        await asyncio.sleep(0.2)
        assert not transport.closed, "the next request may come"
        await asyncio.sleep(1.1)
        assert transport.closed

    steered(story)


def test_a_caller_who_takes_nothing_is_given_up_and_a_slow_one_is_not() -> None:
    async def story() -> None:
        made, transport = edge(echo, taken=0.1, header_wait=60)
        transport.waiting = 1000
        made.pause_writing()
        for _ in range(4):
            await asyncio.sleep(0.06)
            transport.waiting -= 1
        assert not transport.closed
        await asyncio.sleep(0.3)
        assert transport.closed
        made, transport = edge(echo, taken=0.1, header_wait=60)
        made.pause_writing()
        made.resume_writing()
        await asyncio.sleep(0.2)
        assert not transport.closed

    steered(story)


def test_chunks_are_looked_at_in_requests_that_are_sent_ahead_too() -> None:
    chunked = POST + b"transfer-encoding: chunked\r\n\r\n"

    async def story() -> None:
        for first in (chunked + b"2\r\nab\r\n0\r\n\r\n", POST + b"content-length: 5\r\n\r\n0\r\n\r\n"):
            made, transport = edge(echo)
            made.data_received(first + chunked + b"2;x=y\r\nab\r\n0\r\n\r\n")
            assert transport.closed
            assert transport.written.startswith(b"HTTP/1.1 400")
            made, transport = edge(echo)
            for byte in first + chunked + b"2;x=y\r\nab\r\n0\r\n\r\n":
                if not transport.closed:
                    made.data_received(bytes([byte]))
            assert b"HTTP/1.1 400" in transport.written

    steered(story)


def test_whoever_hangs_up_while_the_last_piece_waits_for_them_did_not_have_it() -> None:
    async def story() -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.sleep(60)

        async def answer(watch: Watch) -> None:
            reply = Reply(send)
            with watch.cancelling(asyncio.current_task(), reply):
                await reply.piece(Piece(data=b"x", last=True))

        watch = Watch()
        task = asyncio.create_task(answer(watch))
        await asyncio.sleep(0.01)
        watch.lost()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert watch.gone

    steered(story)


def test_a_stream_that_its_caller_does_not_take_is_cut_off_and_recorded(site: Site) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        delta = {"index": 0, "delta": {"content": "x" * 60_000}, "finish_reason": None}
        said = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
        for _ in range(200):
            event = b"data: " + json.dumps(said).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})

    site.attached(site.stands(endless))
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up(replace(SMALL, taken=0.2))
    body = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "go"}]})
    with line(site) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key.encode()
        connection.sendall(head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body.encode())
        name = b"x-freehold-answer: "
        begun = connection.recv(1000).partition(name)[2].partition(b"\r\n")[0].decode()
        end = site.closed(begun).close
    assert (end.ending, end.reason) == ("cut off", "caller-gone")
