"""What the gateway says to control, and asks of it: snapshots in, records and its own state out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from freehold.errors import Unavailable

POLL = 20
"""Seconds control holds a question for news at most."""


class ControlAway(Unavailable):
    """control does not answer"""


class Border:
    """A session with control under the gateway's border key."""

    def __init__(self, control: str, key: str) -> None:
        self._base = control.rstrip("/")
        self._session = aiohttp.ClientSession(
            headers={"authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=POLL + 10, sock_connect=2),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def news(self, after: int) -> bytes | None:
        """The newest signed snapshot above `after`, as soon as there is one; None when none came."""
        status, data = await self._call("GET", f"/border/snapshot?after={after}")
        return None if status == 204 else data

    async def ship(self, spool: str, frames: bytes) -> int:
        """Hand frames over; the sequence up to which control has taken the spool in."""
        _, data = await self._call("POST", f"/border/spool/{spool}", frames)
        return int(_said(data)["sequence"])

    async def report(self, gateway: str, applied: int, engines: Mapping[str, str]) -> None:
        """Say which snapshot is in force and how the engines are."""
        body = msgspec.json.encode({"applied": applied, "engines": dict(engines)})
        await self._call("POST", f"/border/gateways/{gateway}", body, "application/json")

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
        try:
            async with self._session.request(
                method, self._base + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ControlAway(why=type(error).__name__) from error
        if response.status not in (200, 204):
            raise ControlAway(why=f"it answered {response.status} to {path.split('?')[0]}")
        return response.status, data


def _said(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ControlAway(why="it answered something else than JSON") from error
