"""Callers of the benchmark: so many kept connections, each asking again as soon as it is answered.

    python benchmarks/callers.py URL KEY CLIENTS SECONDS BYTES [stream]

Prints one JSON line: answers, failures, seconds, and latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import httptools
import uvloop


class Caller(asyncio.Protocol):
    """One connection that asks, waits, and asks again until `end`."""

    def __init__(self, request: bytes, end: float, told: list[float], failed: list[int]) -> None:
        self.request, self.end, self.told, self.failed = request, end, told, failed
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.began = time.perf_counter()
        self.transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self.parser.get_status_code() == 200:
            self.told.append(now - self.began)
        else:
            self.failed.append(self.parser.get_status_code())
        if now < self.end:
            asyncio.get_running_loop().call_soon(self._ask)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def main(url: str, key: str, clients: int, seconds: float, size: int, stream: bool) -> None:
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    said = {"model": "echo", "messages": [{"role": "user", "content": "word " * (size // 5)}]}
    body = json.dumps(said | ({"stream": True} if stream else {})).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    told: list[float] = []
    failed: list[int] = []
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    callers = [
        (
            await loop.create_connection(
                lambda: Caller(head + body, began + seconds, told, failed), host, port
            )
        )[1]
        for _ in range(clients)
    ]
    await asyncio.gather(*(caller.done for caller in callers))
    told.sort()
    at = (lambda share: round(told[int(len(told) * share)] * 1000, 3)) if told else (lambda _share: None)
    figures = {"answers": len(told), "failed": len(failed), "seconds": time.perf_counter() - began}
    print(json.dumps(figures | {"p50_ms": at(0.5), "p99_ms": at(0.99), "statuses": sorted(set(failed))}))


if __name__ == "__main__":
    url, key, clients, seconds, size, *more = sys.argv[1:]
    uvloop.run(main(url, key, int(clients), float(seconds), int(size), "stream" in more))
