"""Callers who ask a gateway and wait, and a model server that answers at once: two small programs.

    python benchmarks/ledger_callers.py serve                      prints its port, answers whatever is asked
    python benchmarks/ledger_callers.py ask URL CALLERS SECONDS     key in FREEHOLD_SERVING_KEY; prints JSON

Both do as little as they can, because they share the cores with what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

SERVICE, PURPOSE = "chat", "claims-handling"
_SAID = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "water"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 6, "completion_tokens": 1, "total_tokens": 7},
    }
).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_SAID),
    _SAID,
)


def _whole(data: bytes) -> int:
    """Where the first message in `data` ends; 0 while it is not whole."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    at = data[:head].lower().find(b"content-length:")
    length = int(data[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
    end = head + 4 + length
    return end if len(data) >= end else 0


class Answering(asyncio.Protocol):
    """A model server that has one thing to say."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        self._data += data
        while end := _whole(self._data):
            self._data = self._data[end:]
            self._transport.write(_ANSWER)


class Asking(asyncio.Protocol):
    """One caller: asks, waits for the answer, asks again."""

    def __init__(self, request: bytes, seen: list[float], statuses: Counter[bytes], over: float) -> None:
        self._request, self._seen, self._statuses, self._over = request, seen, statuses, over
        self._data, self._at = b"", 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._ask()

    def _ask(self) -> None:
        self._at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not (end := _whole(self._data)):
            return
        now = time.perf_counter()
        self._statuses[self._data[9:12]] += 1
        self._seen.append(now - self._at)
        self._data = self._data[end:]
        if now > self._over:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def ask(url: str, callers: int, seconds: float) -> dict[str, Any]:
    """How many answers a second, and how long each took."""
    address = urlsplit(url)
    body = json.dumps({"model": SERVICE, "messages": [{"role": "user", "content": "the kitchen is wet"}]})
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {os.environ['FREEHOLD_SERVING_KEY']}\r\nx-freehold-purpose: {PURPOSE}\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()
    seen: list[float] = []
    statuses: Counter[bytes] = Counter()
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: Asking(request, seen, statuses, began + seconds),
            str(address.hostname),
            address.port or 80,
        )
        for _ in range(callers)
    ]
    await asyncio.wait([protocol.done for _, protocol in made], timeout=seconds + 30)
    took = time.perf_counter() - began
    seen.sort()
    return {
        "callers": callers,
        "answered": statuses[b"200"],
        "other": {status.decode(): count for status, count in statuses.items() if status != b"200"},
        "per second": round(statuses[b"200"] / took, 1),
        "p50 ms": round(seen[len(seen) // 2] * 1000, 2),
        "p99 ms": round(seen[len(seen) * 99 // 100] * 1000, 2),
    }


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        uvloop.run(serve())
    else:
        print(json.dumps(uvloop.run(ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))))
