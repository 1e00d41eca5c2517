"""The upstream of the benchmark: answers every chat request with the same few words, as fast as Python can.

python benchmarks/echo.py          prints its URL, then serves until it is ended

A stream has as many pieces as the request says (`[pieces 250]`; 50 where it says nothing), all of them at
once, or one after the other where it says how far apart (`[apart 20]`, milliseconds).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import cast

import httptools
import uvloop

ANSWER = json.dumps(
    {
        "id": "chatcmpl-echo",
        "object": "chat.completion",
        "created": 1,
        "model": "echo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "good day to you, too"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
PIECES = 50
PIECE = json.dumps(
    {
        "id": "chatcmpl-echo",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "echo",
        "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}],
    }
).encode()
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_SAID = re.compile(rb"\[(pieces|apart) (\d{1,5})\]")


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if b'"stream":true' not in body.replace(b'"stream": true', b'"stream":true'):
            self.transport.write(HEAD + ANSWER)
            return
        said = {word: int(number) for word, number in _SAID.findall(body)}
        pieces = _streamed(said.get(b"pieces", PIECES))
        if apart := said.get(b"apart", 0):
            self._write_on(iter(pieces), apart / 1000)
        else:
            self.transport.write(b"".join(pieces))

    def _write_on(self, pieces: Iterator[bytes], apart: float) -> None:
        """The next piece, and after a while the one behind it."""
        piece = next(pieces, None)
        if piece is not None and not self.transport.is_closing():
            self.transport.write(piece)
            asyncio.get_running_loop().call_later(apart, self._write_on, pieces, apart)


@cache
def _streamed(pieces: int) -> tuple[bytes, ...]:
    """A stream as it is written: its head with the first words, then each of the others."""
    piece, done = _framed(b"data: " + PIECE + b"\n\n"), _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return (STREAM + piece, *[piece] * (pieces - 2), piece + done)


def _framed(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=2048)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
