"""Records on their way to control; and the spools that dead gateways left behind."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from freehold.errors import Failure
from freehold.gateway.border import Border
from freehold.gateway.elapsed import Elapsed, elapsed
from freehold.gateway.records import orphaned
from freehold.spec.ids import Clock
from freehold.store.frames import Mark
from freehold.store.group_commit import GroupCommit
from freehold.store.spool import (
    Note,
    Spool,
    SpoolDamaged,
    SpoolInUse,
    SpoolUnwritable,
    left_behind,
    sweep,
)
from freehold.store.spooled import Began, matter_of, pack, unpack

_log = logging.getLogger("freehold.gateway")

GATHER, LOADED = 0.02, 0.25
"""Seconds for which records gather before they are sent: what `why` waits for at least. Longer where many
came at once last time: each batch costs control a transaction, whatever is in it."""
LOAD = 32
"""Records of one batch from which on the next one gathers longer."""
IDLE = 5.0
"""Seconds between two looks while nothing is recorded: words that are taken in go, when their time is up."""
MANY = 512
"""Records that are not made to wait for more."""
AGAIN = 0.5
TURN_OVER = 60.0
"""Seconds after which acknowledged records are let go, although their segment is not full."""
BALLAST = "ballast"
"""The file in a spool's folder whose room is kept free."""
ADOPT = 5.0
"""Seconds between two looks for spools whose gateway died."""


def close_orphans(spool: Spool, clock: Clock) -> int:
    """End, as failed, every answer that a dead process had begun; how many. Raises SpoolUnwritable."""
    ends: list[Note] = []
    for frame in spool.unfinished:
        try:
            record = unpack(frame.payload)
        except msgspec.DecodeError:
            continue  # not one of ours: a newer release's; control tells what it cannot read
        if isinstance(record, Began):
            ended = orphaned(record.intent, clock())
            ends.append(Note(pack(ended), Mark.ENDS, matter_of(record.intent.answer)))
    if ends:
        spool.commit(ends)
        _log.warning("%d answers had been begun by a gateway that died; recorded as failed", len(ends))
    return len(ends)


def take_spools(folder: Path, clock: Clock) -> tuple[Spool, list[Spool]]:
    """A spool to write into, and further ones that dead gateways left: orphans closed in all of them."""
    dead = adopt(folder, clock)
    return (dead[0], dead[1:]) if dead else (Spool.create(folder), [])


def adopt(folder: Path, clock: Clock, ours: frozenset[str] = frozenset()) -> list[Spool]:
    """Every spool that nobody owns any more, its orphans closed."""
    sweep(folder)
    taken: list[Spool] = []
    for path in left_behind(folder):
        if path.name in ours:
            continue
        try:
            spool = Spool.open(path)
        except (SpoolInUse, FileNotFoundError):  # its gateway lives, or has just left and removed it
            continue
        except SpoolDamaged as damaged:
            _log.error("%s", damaged)
            path.rename(path.with_name(f"damaged-{path.name}"))  # kept as evidence, not looked at again
            continue
        (path / BALLAST).unlink(missing_ok=True)  # kept free for just this, should the disk be full
        try:
            close_orphans(spool, clock)
        except SpoolUnwritable as full:
            _log.error("a spool that was left behind waits: %s", full.why)
            spool.close()
            continue
        taken.append(spool)
    return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Records that control does not take in."""

    since: float
    why: str


class Shipping:
    """Carries one gateway's spools to control, its own first."""

    def __init__(
        self,
        commits: GroupCommit,
        dead: list[Spool],
        border: Border,
        folder: Path,
        clock: Clock,
        elapsed: Elapsed = elapsed,
    ) -> None:
        self._elapsed = elapsed
        self._commits, self._dead = commits, dead
        self._border, self._folder, self._clock = border, folder, clock
        self._turned, self._turned_at = 0, time.monotonic()
        self._last = 0
        """How many records the last batch of this gateway's own had."""
        self._left = False
        self.trouble: Refused | None = None
        """Since when, and why, records are not taken in; None while they are."""

    async def run(self) -> None:
        """Ship for ever, whatever control does meanwhile."""
        adopted = -math.inf
        while True:
            try:
                moved = await self.once()
                self._tell("")
                await self._pause(moved)
                if time.monotonic() > adopted + ADOPT:
                    adopted = time.monotonic()
                    ours = frozenset(s.id for s in (self._commits.spool, *self._dead))
                    self._dead += await asyncio.to_thread(adopt, self._folder, self._clock, ours)
            except Failure as failure:
                self._tell(f"{failure.what}: {failure.why}")
                await asyncio.sleep(AGAIN)
            except OSError as error:
                self._tell(f"a spool cannot be read: the disk says {error.strerror or error}")
                await asyncio.sleep(AGAIN)

    async def _pause(self, moved: bool) -> None:
        """None while many wait; else a moment, for one large batch costs less than many small ones.

        While none waits, until something is recorded.
        """
        waiting = max(s.durable - s.acknowledged for s in (self._commits.spool, *self._dead))
        if moved and waiting > MANY:
            await asyncio.sleep(0)
            return
        if waiting == 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE):
                    await self._commits.grown.wait()
        self._commits.grown.clear()
        await asyncio.sleep(LOADED if self._last >= LOAD else GATHER)

    def _tell(self, trouble: str) -> None:
        """Say it once when it begins and once when it is over."""
        before = self.trouble
        if trouble == (before.why if before else ""):
            return
        if trouble:
            _log.error("records wait: %s", trouble)
            self.trouble = Refused(since=before.since if before else self._elapsed(), why=trouble)
        else:
            _log.warning("records are taken in again")
            self.trouble = None

    async def once(self) -> bool:
        """Ship one batch of every spool; whether there was any."""
        before = self._commits.spool.acknowledged
        own = await self._ship(self._commits.spool)
        self._last = self._commits.spool.acknowledged - before
        self._tidy()
        others = [await self._ship(spool) for spool in self._dead]
        for spool in [s for s in self._dead if s.acknowledged >= s.durable]:
            await self._border.leave(spool.id)  # its gateway is no more: nobody has to wait for it
            self._dead.remove(spool)
            spool.remove()
        return own or any(others)

    async def _ship(self, spool: Spool) -> bool:
        if spool.acknowledged >= spool.durable:
            return False
        frames = await asyncio.to_thread(spool.read, spool.acknowledged)
        spool.acknowledge(await self._border.ship(spool.id, frames))
        return True

    def _tidy(self) -> None:
        """Sealed words should not lie here longer than control needed to take them in."""
        spool = self._commits.spool
        idle = spool.acknowledged >= spool.durable and not spool.unfinished
        due = time.monotonic() > self._turned_at + TURN_OVER
        if idle and due and spool.durable > self._turned + 1:  # one more is what turning over writes
            self._turned, self._turned_at = spool.durable, time.monotonic()
            self._commits.turn_over()

    async def drain(self, seconds: float) -> bool:
        """Ship what is left before leaving; False when control did not take it all in time."""
        try:
            async with asyncio.timeout(seconds):
                while await self.once():
                    continue
        except (TimeoutError, Failure):
            pass
        spools = (self._commits.spool, *self._dead)
        return all(spool.acknowledged >= spool.durable for spool in spools)

    async def leave(self) -> None:
        """Tell control that nobody has to wait for this gateway any more."""
        with suppress(Failure, TimeoutError):
            async with asyncio.timeout(1):
                await self._border.leave(self._commits.spool.id)
                self._left = True

    def close(self) -> None:
        """Give every spool back; our own is removed when nothing is left in it and control knows that we go.

        Else it stays, empty or not: whoever opens it next is known by its name, or says that we are no more.
        """
        own = self._commits.spool
        for spool in self._dead:
            spool.close()
        if self._left and own.acknowledged >= own.durable and not own.unfinished:
            own.remove()
        else:
            own.close()
