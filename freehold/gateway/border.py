"""What the gateway says to control, and asks of it: snapshots in, records and its own state out."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from freehold.errors import Unavailable
from freehold.gateway.elapsed import Elapsed, elapsed

POLL = 20
"""Seconds control holds a question for news at most."""
REPORT = 5
"""Seconds for a report: one that hangs must not hide that control does."""

_LARGE = 1 << 20


class ControlAway(Unavailable):
    """control does not answer"""


class Border:
    """A session with control under the gateway's border key."""

    def __init__(
        self, control: str, key: str, elapsed: Elapsed = elapsed, trust: ssl.SSLContext | None = None
    ) -> None:
        """`trust` is how an https control is known; without one, by the CAs of this machine."""
        self._base = control.rstrip("/")
        self._elapsed = elapsed
        self.heard = elapsed()
        """When it said anything last, on the clock given; when this began, before it did."""
        self.trouble = ""
        """Why the last call failed; empty when it did not."""
        self._session = aiohttp.ClientSession(
            headers={"authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=POLL + 10, sock_connect=2),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            connector=aiohttp.TCPConnector(ssl=trust if trust is not None else True),
        )

    async def news(self, after: int) -> bytes | None:
        """The newest signed snapshot above `after`, as soon as there is one; None when none came."""
        status, data = await self._call("GET", f"/border/snapshot?after={after}")
        return None if status == 204 else data

    async def pages(self, digests: Sequence[str]) -> list[bytes]:
        """What these pages of a snapshot hold, in this order; nothing for one that control has not."""
        _, data = await self._call("GET", "/border/pages?" + "&".join(f"digest={one}" for one in digests))
        return data.split(b"\n")

    async def ship(self, spool: str, frames: bytes) -> int:
        """Hand frames over; the sequence up to which control has taken the spool in."""
        _, data = await self._call("POST", f"/border/spool/{spool}", frames)
        return int(_said(data)["sequence"])

    async def report(
        self, gateway: str, applied: int, engines: Mapping[str, str], troubles: Sequence[object] = ()
    ) -> None:
        """Say which snapshot is in force, how the engines are, and what is wrong."""
        body = msgspec.json.encode({"applied": applied, "engines": dict(engines), "troubles": troubles})
        try:
            async with asyncio.timeout(REPORT):
                await self._call("POST", f"/border/gateways/{gateway}", body, "application/json")
        except TimeoutError as error:
            raise ControlAway(why="it does not answer a report") from error

    async def leave(self, gateway: str) -> None:
        """Say that this gateway serves no more."""
        await self._call("DELETE", f"/border/gateways/{gateway}")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream"
    ) -> tuple[int, bytes]:
        headers = {"content-type": kind} if body is not None else {}
        # a large one goes in parts, between which requests are answered
        data = io.BytesIO(body) if body is not None and len(body) > _LARGE else body
        try:
            async with self._session.request(
                method, self._base + path, data=data, headers=headers, allow_redirects=False
            ) as response:
                said = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.trouble = type(error).__name__
            raise ControlAway(why=self.trouble) from error
        if response.status not in (200, 204):
            self.trouble = f"it answered {response.status} to {path.split('?')[0]}"
            raise ControlAway(why=self.trouble)
        self.heard, self.trouble = self._elapsed(), ""
        return response.status, said


def _said(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ControlAway(why="it answered something else than JSON") from error
