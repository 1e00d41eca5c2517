"""The record of an answer: that it began, before it begins; how it ended, before its last byte.

The block `async with recorder.answer(…) as record` records every way out of it: answered, denied,
cut off, failed. Nothing goes upstream before the beginning is on disk, and nothing is whole for the
caller before the end is. What was written down of an answer that did not leave after all is taken
back: before the disk has it, or by a later record that says so.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import AbstractContextManager, suppress
from decimal import Decimal
from types import TracebackType
from typing import Self

import msgspec
from msgspec.structs import replace

from freehold.errors import Failure, Unavailable
from freehold.gateway.asked import Asked
from freehold.gateway.bounds import Bounds
from freehold.gateway.deadlines import Deadlines
from freehold.gateway.guards import Verdicts
from freehold.gateway.may import Leave, named_purpose
from freehold.gateway.reply import Piece
from freehold.gateway.rules import Rules
from freehold.gateway.spend import Tally, cost
from freehold.gateway.watched import GONE
from freehold.spec.answer import DIED, Again, Close, Ending, Intent, Turn, Words, copy_of
from freehold.spec.commitment import commitment
from freehold.spec.ids import Clock, new_id
from freehold.spec.snapshot import KeyView, Route, ServiceView
from freehold.store.frames import Mark
from freehold.store.group_commit import GroupCommit, SpoolFull, SpoolStalled
from freehold.store.hpke import seal_to
from freehold.store.sealed import seal
from freehold.store.spool import SpoolUnwritable
from freehold.store.spooled import WORDS_KEY, Began, Box, Ended, Repeated, Turned, matter_of, pack

CUT_OFF = 499
"""The status recorded when the caller hung up: none was told."""
ENDINGS: tuple[Ending, ...] = ("answered", "denied", "cut off", "failed")
_FOR_COPIES = 0.5
"""Of what may lie in the spool: beyond it only answers are recorded that are given."""
_FRESH = 10 * 60 * 1_000_000
"""Microseconds a content key is used."""


class AnswerTooLarge(Unavailable):
    """the answer is larger than {limit} bytes"""

    status = 502


class Sealer:
    """Seals words so that control alone opens them; the content key changes every ten minutes."""

    def __init__(self) -> None:
        self._to = b""
        self._until = 0
        self._key = self._sealed_key = b""

    def box(self, words: Words, control: bytes, at: int) -> Box:
        """`words` under the content key, beside that key sealed to `control` (raw public key)."""
        if control != self._to or at > self._until:
            self._to, self._until, self._key = control, at + _FRESH, os.urandom(32)
            self._sealed_key = seal_to(control, self._key, WORDS_KEY)
        sealed = seal(self._key, msgspec.msgpack.encode(words), words.answer.encode())
        return Box(self._sealed_key, sealed)


class Recorder:
    """Writes the records of one gateway process into its spool."""

    def __init__(self, commits: GroupCommit, bounds: Bounds, clock: Clock) -> None:
        self._commits, self._bounds, self.clock = commits, bounds, clock
        self._sealer = Sealer()
        self._deadlines = Deadlines(bounds.record)
        self._late: list[Ended | Repeated] = []
        self.endings: dict[Ending, int] = dict.fromkeys(ENDINGS, 0)
        self.copies: dict[Ending, int] = dict.fromkeys(ENDINGS, 0)
        """How answers ended that a shadow gave to nobody."""
        self.guarded: Counter[tuple[str, str, str]] = Counter()
        """Answers about which a guard said something: side, guard, what it did."""

    def answer(self, asked: Asked, caller: KeyView, service: ServiceView, rules: Rules) -> Record:
        """The record of one request, to be entered with `async with`."""
        return Record(self, new_id("ans"), asked, caller, service, rules, self.endings)

    def copy(self, of: str, asked: Asked, caller: KeyView, service: ServiceView, rules: Rules) -> Record:
        """The record of a copy of what the answer `of` was given to; its time begins now."""
        record = Record(self, copy_of(of), asked, caller, service, rules, self.copies)
        record.since = self.clock()
        return record

    def has_room(self) -> bool:
        """Whether there is so much room that what nobody waits for may be recorded, too."""
        return self._commits.stuck() is None and self._commits.filled() < _FOR_COPIES

    def append_begin(self, intent: Intent) -> asyncio.Future[int]:
        return self._commits.append(pack(Began(intent)), Mark.BEGINS, matter_of(intent.answer))

    def append_turn(self, turn: Turn) -> asyncio.Future[int]:
        return self._commits.append(pack(Turned(turn)))

    def at_once(self) -> AbstractContextManager[object]:
        """What is appended inside is on disk together, or not at all."""
        return self._commits.at_once()

    def append_last(self, last: Ended | Repeated, *, kept: bool = True) -> asyncio.Future[int]:
        """Queue an end, or that an answer is given again.

        One that the disk loses is kept, as undelivered, and tried again: a beginning needs its end. Not
        `kept` is one whose beginning is lost with it.
        """
        try:
            if isinstance(last, Ended):
                future = self._commits.append(pack(last), Mark.ENDS, matter_of(last.close.answer))
            else:
                future = self._commits.append(pack(last))
        except SpoolFull:
            if kept:
                self._late.append(_undelivered(last))
            raise
        if kept:
            future.add_done_callback(lambda done: self._keep_lost(done, last))
        return future

    def _keep_lost(self, done: asyncio.Future[int], last: Ended | Repeated) -> None:
        if not done.cancelled() and done.exception() is not None:
            self._late.append(_undelivered(last))

    def take_back(self, future: asyncio.Future[int], instead: Ended | Repeated) -> None:
        """Have `instead` recorded of what `future` waits for, because it did not leave."""
        if future.done() and not future.cancelled() and future.exception() is not None:
            return  # the disk refused it: it is kept as undelivered already
        if self._commits.withdraw(future) and isinstance(instead, Repeated):
            return  # nothing was written and nothing left
        with suppress(SpoolFull):  # kept, to be tried again
            self.append_last(instead)

    def spooled(self) -> dict[str, int]:
        """How much lies in the spool, how much control has not acknowledged, what it cost the disk."""
        spool = self._commits.spool
        waiting = spool.durable - spool.acknowledged
        return {"bytes": spool.size, "waiting": waiting, "late": len(self._late), "syncs": spool.syncs}

    def retry_late(self) -> int:
        """Try the ends again that the disk had lost; how many there were."""
        late, self._late = self._late, []
        for last in late:
            with suppress(SpoolFull):  # it was put back
                self.append_last(last)
        return len(late)

    async def durable(self, future: asyncio.Future[int]) -> None:
        """Wait until the record is on disk. Raises SpoolUnwritable, SpoolStalled."""
        try:
            await self._deadlines.wait(future)
        except TimeoutError:
            raise SpoolStalled(seconds=int(self._bounds.record), why="the disk does not answer") from None

    def box(self, words: Words, rules: Rules) -> Box:
        return self._sealer.box(words, rules.spool_key, self.clock())

    def refuse_larger(self, size: int) -> None:
        if size > self._bounds.response:
            raise AnswerTooLarge(limit=self._bounds.response, why="it was cut off there")


def _not_begun(refused: SpoolUnwritable) -> SpoolUnwritable:
    """The same failure of a request of which nothing is on disk: nobody should look for its record."""
    failure = SpoolUnwritable(why=refused.why, hint=refused.hint)
    failure.recorded = False
    return failure


def _undelivered(last: Ended | Repeated) -> Ended | Repeated:
    """What is true of an answer whose end did not reach the disk: its caller never had it whole."""
    if isinstance(last, Repeated):
        return Repeated(replace(last.again, given=False))
    if last.close.ending != "answered":
        return last
    close = replace(last.close, ending="failed", reason="spool-unwritable", status=503)
    return Ended(close, last.words)


class Record:
    """One answer from first byte to last. Owned by its request."""

    def __init__(
        self,
        recorder: Recorder,
        answer: str,
        asked: Asked,
        caller: KeyView,
        service: ServiceView,
        rules: Rules,
        endings: dict[Ending, int],
    ) -> None:
        self.answer = answer
        self.since = asked.at
        """From when its time is counted, microseconds UTC."""
        self._endings = endings
        self.leave: Leave | None = None
        self.idempotency: str | None = None
        self.tally = Tally()
        self.verdicts = Verdicts()
        self._recorder, self._rules = recorder, rules
        self._asked, self._caller, self._service = asked, caller, service
        self._route: Route | None = None
        self._salt = os.urandom(16)
        self._pieces: list[bytes] = []
        self._size = 0
        self._begun = self._done = self._looked_at = False
        self._pledge: tuple[asyncio.Future[int], Again | None] | None = None
        """What says that the answer left, from when it is queued until the answer has left."""

    async def __aenter__(self) -> Self:
        return self

    def drawn(self, route: Route) -> None:
        """Remember whose answer it is to be, before anything can refuse it: what fails or is refused from now
