"""The upstream of the benchmark: answers every chat request with the same few words, as fast as Python can.

python benchmarks/echo.py          prints its URL, then serves until it is ended
"""

from __future__ import annotations

import asyncio
import json

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
CHUNKS = 50
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


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        stream = b'"stream":true' in self.body.replace(b" ", b"")
        self.body = b""
        self.transport.write(_streamed() if stream else HEAD + ANSWER)  # type: ignore[attr-defined]


def _streamed() -> bytes:
    events = [b"data: " + PIECE + b"\n\n"] * CHUNKS + [b"data: [DONE]\n\n"]
    return STREAM + b"".join(b"%x\r\n%s\r\n" % (len(e), e) for e in events) + b"0\r\n\r\n"


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=2048)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
