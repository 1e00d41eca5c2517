"""Noticing that the caller hung up, so that nothing is asked upstream for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from freehold.gateway.reply import Reply
from freehold.spec.answer import GONE

_WATCH = "freehold.watch"


class Watch:
    """One request's caller: the edge tells when their connection is lost."""

    __slots__ = ("_reply", "_task", "gone")

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._reply: Reply | None = None
        self.gone = False

    @contextmanager
    def cancelling(self, task: asyncio.Task[None] | None, reply: Reply) -> Iterator[None]:
        """Cancel `task` when the caller hangs up before `reply` is complete."""
        self._task, self._reply = task, reply
        try:
            yield
        finally:
            self._task = None

    def lost(self) -> None:
        """The connection is lost. Whoever has the whole reply did not hang up on us.

        What cancels says so: `GONE` is the message of it, and the reason in the record.
        """
        if self._task is not None and self._reply is not None and not self._reply.complete:
            self.gone = True
            self._task.cancel(GONE)


def watch_in(scope: Any) -> Watch:
    """The watch of a request, put into its scope by the edge."""
    watch: Watch = scope.setdefault(_WATCH, Watch())
    return watch
