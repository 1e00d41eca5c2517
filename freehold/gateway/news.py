"""Keeping up with control and with the engines: new rules, routes when they can be served, reports."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from freehold.errors import Failure, Tampered
from freehold.gateway.border import Border, ControlAway
from freehold.gateway.pages import Arriving
from freehold.gateway.replays import ReplaysUnusable
from freehold.gateway.rulebook import ControlWentBack, Rulebook, told
from freehold.gateway.upstream import Upstreams, socket_of

_log = logging.getLogger("freehold.gateway")

AGAIN = 0.5
"""Seconds before control is asked again after it did not answer."""
LOOK = 0.05
"""Seconds between two looks at engines that routes wait for."""
LOOK_AT_READY = 1.0
REPORT = 5.0
"""Seconds between two reports when nothing changed."""


PAGES = 16
"""Pages of a snapshot that are asked for together."""


class News:
    """Three loops of one gateway: listen to control, look at engines, report."""

    def __init__(
        self,
        gateway: str,
        rulebook: Rulebook,
        upstreams: Upstreams,
        border: Border,
        run: Path,
        let_go: Callable[[], Awaitable[None]],
        troubles: Callable[[], Sequence[object]] = tuple,
    ) -> None:
        self._let_go, self._troubles = let_go, troubles
        self._forgotten_at = 0
        """For whom what was kept of answers is gone: who was forgotten until then."""
        self._whole = 0
        """The index of the newest rules of which that could be said."""
        self._arriving: Arriving | None = None
        """The newest rules, while a page of them is still to come."""
        self._gateway, self._run = gateway, run
        self._rulebook, self._upstreams, self._border = rulebook, upstreams, border
        self._engines: dict[str, str] = {}
        self._look = asyncio.Event()
        self._report = asyncio.Event()

    async def listen(self) -> None:
        """Ask for news for ever; each answer, even an empty one, says that control is there.

        The first question, and the first one after control was away, asks for what is known already:
        that is answered at once, where a question for news may be held.
        """
        away, known = False, 1
        while True:
            try:
                before = max(0, self._rulebook.ix - known)
                await self._take(await self._border.news(before), is_known=before < self._rulebook.ix)
                if away:
                    _log.warning("control answers again")
                away, known = False, 0
            except ControlAway as failure:
                if not away:
                    _log.warning("control does not answer: %s", failure.why)
                self._rulebook.missed(failure.why)
                away, known = True, 1
                await asyncio.sleep(AGAIN)
            except (Tampered, OSError) as failure:
                # not to be believed, or not to be read: the old rules go on until `stale_for` ends them
                if self._rulebook.missed(told(failure)):
                    _log.error("a snapshot cannot be used: %s", failure)
                await asyncio.sleep(AGAIN)

    async def _take(self, envelope: bytes | None, *, is_known: bool) -> None:
        """`is_known`: what is in force was asked for. Raises ControlWentBack, and what the rulebook does."""
        if envelope is None:
            if is_known:
                raise ControlWentBack(why=f"it has no snapshot {self._rulebook.ix}, by which is decided here")
            self._rulebook.heard()
            if self._rulebook.not_kept:
                await asyncio.to_thread(self._rulebook.keep)
                self._report.set()
            return
        if self._arriving is None or self._arriving.envelope != envelope:  # else what was fetched is here
            self._arriving = await asyncio.to_thread(self._rulebook.begin, envelope)
        if self._arriving is None:
            await asyncio.to_thread(self._rulebook.must_be_ours, envelope)
            self._rulebook.heard()
            await asyncio.sleep(AGAIN)  # it told us what we know already: do not ask in a circle
            return
        await self._fetch(self._arriving)
        self._rulebook.swap(await asyncio.to_thread(self._rulebook.finish, self._arriving))
        self._arriving = None
        self._look.set()
        self._report.set()

    async def _fetch(self, arriving: Arriving) -> None:
        """Its pages that are not here, some at a time: each time less is missing, or it is not to be used."""
        while lacks := arriving.lacks(PAGES):
            found = await self._border.pages(lacks)
            await asyncio.to_thread(arriving.fetch, lacks, found)

    async def look_at_engines(self) -> None:
        """Bring routes in force as their engines become ready; notice engines that are not any more."""
        while True:
            self._look.clear()
            waiting = await self.look_once()
            try:
                async with asyncio.timeout(LOOK if waiting else LOOK_AT_READY):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def look_once(self) -> bool:
        """One look at every engine the snapshot names; whether routes still wait for one."""
        if not self._rulebook.ix:
            return False
        digests = self._rulebook.rules().digests()
        ready = await asyncio.gather(*(self._upstreams.engine_is_ready(digest) for digest in digests))
        states = {d: "ready" if ok else self._why_not(d) for d, ok in zip(digests, ready, strict=True)}
        changed = self._rulebook.settle(lambda digest: states.get(digest) == "ready")
        if changed or states != self._engines:
            self._engines = states
            self._report.set()
            in_force = [r.target.serving_digest for rs in self._rulebook.rules().routes.values() for r in rs]
            await self._upstreams.forget((*digests, *in_force))
        return not self._rulebook.rules().settled

    def _why_not(self, digest: str) -> str:
        """What the supervisor says of an engine that does not answer."""
        try:
            said = json.loads(socket_of(self._run, digest).with_suffix(".json").read_bytes())
            return (
                f"{said['state']}: {said['because']}"[:300] if said["because"] else str(said["state"])[:300]
            )
        except (OSError, ValueError, KeyError, TypeError):
            return "not there"

    async def report(self) -> None:
        """Tell control what is in force: when it changes, and every few seconds."""
        while True:
            self._report.clear()
            try:
                ix = await self._wholly_in_force()
                await self._border.report(self._gateway, ix, self._engines, self._troubles())
            except ControlAway:
                await asyncio.sleep(AGAIN)
                self._report.set()
            try:
                async with asyncio.timeout(REPORT):
                    await self._report.wait()
            except TimeoutError:
                continue

    async def _wholly_in_force(self) -> int:
        """The index of the rules in force, when what was kept by the ones before is gone, and a restart
        begins with these; else of those.

        Control certifies a forgetting by this word, and tells who revoked a key that it is void.
        """
        ix, forgotten_at = self._rulebook.ix, self._rulebook.forgotten_at()
        if forgotten_at != self._forgotten_at:
            try:
                await self._let_go()
            except ReplaysUnusable:  # it is told among the troubles
                return self._whole
            self._forgotten_at = forgotten_at
        if not self._rulebook.not_kept:
            self._whole = ix
        return self._whole

    def report_soon(self) -> None:
        """Something changed that control should hear of now."""
        self._report.set()


def log_kept(failure: Failure | None) -> None:
    """Say that the snapshot kept on disk was not used."""
    if failure is not None:
        _log.error("the snapshot on disk is not used: %s", failure)
