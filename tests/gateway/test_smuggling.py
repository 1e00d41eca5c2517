"""Requests that two readers could read differently are refused, and nothing behind them is a request.

Each row is one way of smuggling that was published against some pair of servers. In front of a gateway
often stands a proxy; what it lets through must mean the same here, or be refused.
"""

from __future__ import annotations

import socket

import pytest

from freehold.gateway.bounds import Bounds
from tests.gateway.conftest import Site
from tests.gateway.test_edge import line, said, status

QUICK = Bounds(header_wait=0.4, body_wait=0.4, idle=1, linger=0.05, drain=5, ship=2)
NEXT = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
SEEN = b"freehold_gateway_answers_total"
"""What is answered to `NEXT`."""
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"

TABLE: dict[str, bytes] = {
    "length and chunks": HEAD + b"content-length: 4\r\n" + CHUNKED + b"0\r\n\r\n" + NEXT,
    "two lengths": HEAD + b"content-length: 0\r\ncontent-length: 36\r\n\r\n" + NEXT,
    "two equal lengths": HEAD + b"content-length: 0\r\ncontent-length: 0\r\n\r\n" + NEXT,
    "a list of lengths": HEAD + b"content-length: 0, 0\r\n\r\n" + NEXT,
    "a length with a sign": HEAD + b"content-length: +0\r\n\r\n" + NEXT,
    "a length in hexadecimal": HEAD + b"content-length: 0x0\r\n\r\n" + NEXT,
    "a length beyond all bounds": HEAD + b"content-length: 99999999999999999999999\r\n\r\n" + NEXT,
    "a length with a blank in it": HEAD + b"content-length: 0 0\r\n\r\n" + NEXT,
    "a blank before the colon": HEAD + b"content-length : 0\r\n\r\n" + NEXT,
    "a tab before the colon": HEAD + b"transfer-encoding\t: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "a folded header": HEAD + b"x-a: b\r\n content-length: 9\r\n\r\n" + NEXT,
    "a folded coding": HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "a bare line feed after a header": HEAD + b"x-a: b\ncontent-length: 0\r\n\r\n" + NEXT,
    "a bare line feed before the body": HEAD + b"content-length: 0\r\n\n" + NEXT,
    "a bare carriage return": HEAD + b"x-a: b\rcontent-length: 9\r\n\r\n" + NEXT,
    "a zero byte": HEAD + b"x-a: b\0c\r\n\r\n" + NEXT,
    "no name": HEAD + b": x\r\n\r\n" + NEXT,
    "a name with a bracket": HEAD + b"x(a): b\r\n\r\n" + NEXT,
    "a coding that is not the last": HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + NEXT,
    "chunked twice": HEAD + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "two codings": HEAD
    + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"
    + NEXT,
    "a coding nobody knows": HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "a coding in quotes": HEAD + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n' + NEXT,
    "a coding with a control character": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + NEXT,
    "an extension of a chunk": HEAD + CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n" + NEXT,
    "an extension with a line feed": HEAD + CHUNKED + b"2;\n{}\r\n0\r\n\r\n" + NEXT,
    "a chunk that ends with a line feed": HEAD + CHUNKED + b"2\n{}\n0\n\n" + NEXT,
    "a chunk longer than it says": HEAD + CHUNKED + b"1\r\n{}\r\n0\r\n\r\n" + NEXT,
    "a chunk size with a prefix": HEAD + CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n" + NEXT,
    "a chunk size with a sign": HEAD + CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n" + NEXT,
    "a chunk size that overflows": HEAD + CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n" + NEXT,
    "a chunk size with a blank": HEAD + CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n" + NEXT,
    "trailers": HEAD + CHUNKED + b"2\r\n{}\r\n0\r\ncontent-length: 9\r\n\r\n" + NEXT,
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"0\r\n\r\n" + NEXT,
    "another version": HEAD.replace(b"1.1", b"1.2") + b"\r\n" + NEXT,
    "the second version's beginning": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT,
    "no version": b"GET /metrics\r\n\r\n" + NEXT,
    "two hosts": HEAD + b"host: y\r\n\r\n" + NEXT,
    "no host": b"GET /v2/health/live HTTP/1.1\r\n\r\n" + NEXT,
    "a target with a blank": b"GET /v2 /health/live HTTP/1.1\r\nhost: x\r\n\r\n" + NEXT,
    "a tunnel": b"CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n" + NEXT,
    "another protocol": HEAD + b"connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAAA\r\n\r\n" + NEXT,
}


@pytest.fixture
def edge(site: Site) -> Site:
    site.own()
    site.publish()
    site.up(QUICK)
    return site


@pytest.mark.parametrize("name", list(TABLE))
def test_it_is_refused_and_what_follows_is_no_request(edge: Site, name: str) -> None:
    with line(edge) as connection:
        answer = sent(connection, TABLE[name])
    assert status(answer) in (0, 400, 401, 408, 413, 431, 501, 505), answer[:200]
    assert SEEN not in answer, "what was smuggled is answered"


@pytest.mark.parametrize("name", list(TABLE))
def test_cut_into_single_bytes_it_is_refused_as_well(edge: Site, name: str) -> None:
    with line(edge) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for byte in TABLE[name]:
                connection.sendall(bytes([byte]))
        except OSError:
            return  # cut off before the end
        answer = sent(connection, b"")
    assert SEEN not in answer


def sent(connection: socket.socket, data: bytes) -> bytes:
    """Everything that is answered until the gateway closes; our side stays open, so that it can answer."""
    try:
        connection.sendall(data)
        return said(connection)
    except ConnectionError:
        return b""


@pytest.mark.parametrize(
    "honest",
    [
        HEAD + b"content-length: 2\r\n\r\n{}",
        HEAD + b"content-length: 0\r\n\r\n",
        HEAD + CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["length", "nothing", "chunks"],
)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_what_follows_an_honest_request_is_answered(edge: Site, honest: bytes, cut: bool) -> None:
    """Were nothing answered here, nothing that was smuggled could be seen above."""
    with line(edge) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [bytes([byte]) for byte in honest + NEXT] if cut else [honest + NEXT]:
            connection.sendall(piece)
        answer = sent(connection, b"")
    assert status(answer) == 401
    assert SEEN in answer


def test_honest_chunks_are_read(edge: Site) -> None:
    body = b'{"model": "nothing"}'
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in body)
    with line(edge) as connection:
        request = HEAD + b"authorization: Bearer x\r\nconnection: close\r\n" + CHUNKED + chunks + b"0\r\n\r\n"
        answer = sent(connection, request)
    assert status(answer) == 401


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"compress"])
def test_what_could_grow_when_unpacked_is_not_unpacked(edge: Site, encoding: bytes) -> None:
    key = edge.key(purpose="claims-handling")
    edge.publish()
    head = HEAD + b"connection: close\r\nauthorization: Bearer " + key.encode() + b"\r\ncontent-length: 4\r\n"
    with line(edge) as connection:
        answer = sent(connection, head + b"content-encoding: " + encoding + b"\r\n\r\n\x1f\x8b\x08\x00")
    assert status(answer) == 415
