"""Noticing that the caller hung up, so that nothing is asked upstream for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from freehold.gateway.asked import Receive, Scope
from freehold.gateway.reply import Reply

GONE = "caller-gone"
"""The message of the cancellation, and the reason in the record."""


class Watched:
    """The way in of a request: once its body is read, the only news can be that the caller hung up."""

    def __init__(self, receive: Receive, reply: Reply) -> None:
        self._receive, self._reply = receive, reply
        self._whole = asyncio.Event()
        self.gone = False

    async def receive(self) -> Scope:
        """The next message, for whoever reads the body."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._whole.set()
        return message

    @contextmanager
    def cancelling(self, task: asyncio.Task[None] | None) -> Iterator[None]:
        """Cancel `task` when the caller hangs up before the reply is complete."""
        watcher = asyncio.ensure_future(self._watch(task))
        try:
            yield
        finally:
            watcher.cancel()

    async def _watch(self, task: asyncio.Task[None] | None) -> None:
        await self._whole.wait()
        while (await self._receive())["type"] != "http.disconnect":
            continue
        if task is not None and not self._reply.complete:
            self.gone = True
            task.cancel(GONE)
