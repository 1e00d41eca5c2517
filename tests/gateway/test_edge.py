"""Slow, huge and ambiguous requests are refused at the edge; a leaving gateway loses none."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from freehold.gateway.bounds import Bounds
from tests.gateway.conftest import Site

SMALL = Bounds(headers=2000, body=1000, header_wait=0.3, body_wait=0.3, linger=0.3, drain=5, ship=2)


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


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


GET = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n"


def test_headers_that_do_not_come_in_time_are_cut_off(site: Site, key: str) -> None:
    with line(site) as connection:
        connection.sendall(GET)
        began = time.monotonic()
        assert status(said(connection)) == 408
        assert time.monotonic() - began < 2
    with line(site) as silent:
        assert status(said(silent)) == 408


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
