"""The callers of `soak.py`: they keep what they were told, hang up now and then, and come back.

Every request has the same number of bytes, so that what it holds against a limit of money is the same.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

SIZE = 400
"""Bytes of every request's body."""
MARKER = "marker-7c1f9e"
"""Stands in every question, and so in every answer."""
MOST_TOKENS = 64
PATIENCE = 30.0
"""Seconds a caller waits for an answer."""

Kind = Literal["whole", "stream", "hangs up", "hangs up in a stream"]
_KINDS: tuple[Kind, ...] = (*("whole",) * 14, *("stream",) * 4, "hangs up", "hangs up in a stream")
"""In turns; every tenth hangs up."""
_ORDERS: dict[Kind, str] = {"hangs up": "[delay 0.5]", "hangs up in a stream": "[pause 0.05]"}


class Callers:
    """So many kept connections. Owned by the loop of `run`; other threads set `pace` and `over`, and read."""

    def __init__(self, url: str, key: str, clients: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._key, self._clients = key, clients
        self.pace: float | None = 0.0
        """Requests a second of all together; None is as many as there can be, 0 is none."""
        self.over = False
        self.under_way = 0
        self.whole: list[str] = []
        """Ids of answers that were had whole."""
        self.named: set[str] = set()
        """Every id that a reply named."""
        self.refused: Counter[str] = Counter()
        self.hung_up = self.broken = 0
        self._due = 0.0

    async def run(self) -> None:
        """Ask until it is over."""
        await asyncio.gather(*(self._ask_on(number) for number in range(self._clients)))

    async def _ask_on(self, number: int) -> None:
        turn, line = number * 7, _Line(self._host, self._port)
        while not self.over:
            if not await self._is_due():
                continue
            kind, turn = _KINDS[turn % len(_KINDS)], turn + 1
            self.under_way += 1
            try:
                await self._ask(line, kind)
            finally:
                self.under_way -= 1
        line.close()

    async def _is_due(self) -> bool:
        """Wait for the next turn of the common pace; False when nobody is to ask now."""
        if self.pace is None:
            return True
        if self.pace == 0.0:
            await asyncio.sleep(0.05)
            return False
        now = time.monotonic()
        self._due = max(self._due + 1 / self.pace, now - 0.5)  # what was missed is not made up for
        await asyncio.sleep(max(0.0, self._due - now))
        return not self.over

    async def _ask(self, line: _Line, kind: Kind) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await line.send(_request(self._key, kind))
                if kind == "hangs up":
                    await asyncio.sleep(0.1)
                    self._hang_up(line)
                    return
                await self._hear(line, kind)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            self.broken += 1
            line.close()
            await asyncio.sleep(0.05)

    async def _hear(self, line: _Line, kind: Kind) -> None:
        status, headers = await line.head()
        id = headers.get("x-freehold-answer", "")
        if id:
            self.named.add(id)
        if kind == "hangs up in a stream" and status == 200:
            await line.some()
            self._hang_up(line)
            return
        body = await line.body(headers)
        if status != 200:
            self.refused[f"{status} {headers.get('x-freehold-reason', '')}".strip()] += 1
        elif kind == "whole" or body.endswith(b"data: [DONE]\n\n"):
            self.whole.append(id)
        else:
            self.refused["200 a stream that was not whole"] += 1
        if headers.get("connection") == "close":
            line.close()

    def _hang_up(self, line: _Line) -> None:
        self.hung_up += 1
        line.close()


class _Line:
    """One connection, made when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        self._streams[1].write(request)
        await self._streams[1].drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def some(self) -> bytes:
        """The beginning of a body."""
        return await self._reader.read(200)

    async def body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        told = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            told += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return told

    @property
    def _reader(self) -> asyncio.StreamReader:
        assert self._streams is not None
        return self._streams[0]

    def close(self) -> None:
        if self._streams is not None:
            with suppress(OSError):
                self._streams[1].transport.abort()
            self._streams = None


def _request(key: str, kind: Kind) -> bytes:
    said = {
        "model": "echo",
        "messages": [{"role": "user", "content": f"{_ORDERS.get(kind, '')} a word and {MARKER}"}],
        "max_tokens": MOST_TOKENS,
        "stream": "stream" in kind,
    }
    body = json.dumps(said).encode().ljust(SIZE)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {SIZE}\r\n\r\n"
    )
    return head.encode() + body
