"""Callers of the benchmark: so many kept connections, each asking again as soon as it is answered.

    python benchmarks/callers.py URL KEY CLIENTS SECONDS BYTES [stream] [--models M] [--orders TEXT]
        [--headers JSON]

KEY may be `@FILE` with one key a line, and M several names with commas between them: callers share the keys,
and each of them asks one model after the other. TEXT stands at the end of what is said; `echo.py` looks there
for how it should answer. Prints one JSON line: answers, failures, seconds, and latencies in milliseconds; of
streams also how long their first words took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

FIRST = b"word"
"""With this every piece of a streamed answer of `echo.py` begins."""
WORDS = (
    "the claim about water in kitchen was sent by letter on monday and nobody has answered it since then "
    "please say what is still missing whether photographs of floor are enough how long repair may take who "
    "pays for drying machine if neighbour upstairs left tap open also tenant moved out last week so keys are "
    "with landlord office which opens at nine every weekday except during summer holidays thank you for help"
)


class Told:
    """What all callers of a run were told."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.first: list[float] = []
        self.failed: list[int] = []


class Caller(asyncio.Protocol):
    """One connection that asks, waits, and asks again until `end`."""

    def __init__(self, requests: list[bytes], end: float, told: Told) -> None:
        self.requests, self.end, self.told = requests, end, told
        self.turn = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._ask()

    def _ask(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.began, self.first = time.perf_counter(), 0.0
        self.transport.write(self.requests[self.turn % len(self.requests)])
        self.turn += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if not self.first and FIRST in body:
            self.first = time.perf_counter()

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self.parser.get_status_code() == 200:
            self.told.took.append(now - self.began)
            self.told.first.append((self.first or now) - self.began)
        else:
            self.told.failed.append(self.parser.get_status_code())
        if now < self.end:
            asyncio.get_running_loop().call_soon(self._ask)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def prompt(size: int, orders: str) -> str:
    """Ordinary words, hardly a row of them twice, with the orders at the end."""
    chance, said = random.Random(7), ""
    while len(said) < size:
        said += " ".join(chance.choices(WORDS.split(), k=12)) + ". "
    return said[: max(0, size - len(orders))] + orders


def requests(asked: argparse.Namespace, key: str) -> list[bytes]:
    """What one caller says, one request for each model."""
    parts = urlsplit(asked.url)
    words = [{"role": "user", "content": prompt(asked.size, asked.orders)}]
    whole = []
    for model in asked.models.split(","):
        body = json.dumps({"model": model, "messages": words} | ({"stream": True} if asked.stream else {}))
        also = "".join(f"{name}: {value}\r\n" for name, value in json.loads(asked.headers).items())
        head = (
            f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{also}\r\n"
        )
        whole.append((head + body).encode())
    return whole


async def main(asked: argparse.Namespace, keys: list[str]) -> None:
    parts, told = urlsplit(asked.url), Told()
    host, port = str(parts.hostname), int(parts.port or 80)
    said = [requests(asked, key) for key in keys[: asked.clients]]
    began = time.perf_counter()
    callers = []
    for number in range(asked.clients):
        caller = Caller(said[number % len(said)], began + asked.seconds, told)
        caller.turn = number  # they begin with different models
        await join(caller, host, port)
        callers.append(caller)
    await asyncio.gather(*(caller.done for caller in callers))
    figures: dict[str, float | None] = {"answers": len(told.took), "failed": len(told.failed)}
    figures["seconds"] = time.perf_counter() - began
    figures |= {"p50_ms": at(told.took, 0.5), "p99_ms": at(told.took, 0.99), "most_ms": at(told.took, 1)}
    if asked.stream:
        figures |= {"first_p50_ms": at(told.first, 0.5), "first_p99_ms": at(told.first, 0.99)}
    print(json.dumps(figures | {"statuses": sorted(set(told.failed))}))


async def join(caller: Caller, host: str, port: int) -> None:
    """From now on it asks."""
    await asyncio.get_running_loop().create_connection(lambda: caller, host, port)


def at(took: list[float], share: float) -> float | None:
    """So many of them were not slower, in milliseconds."""
    took.sort()
    return round(took[min(len(took) - 1, int(len(took) * share))] * 1000, 3) if took else None


def _asked() -> argparse.Namespace:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("url")
    reader.add_argument("key")
    reader.add_argument("clients", type=int)
    reader.add_argument("seconds", type=float)
    reader.add_argument("size", type=int)
    reader.add_argument("stream", nargs="?", choices=["stream"])
    reader.add_argument("--models", default="echo")
    reader.add_argument("--orders", default="")
    reader.add_argument("--headers", default="{}", help="further ones, as a JSON object")
    return reader.parse_args()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asked = _asked()
    keys = Path(asked.key[1:]).read_text().split() if asked.key.startswith("@") else [asked.key]
    uvloop.run(main(asked, keys))
