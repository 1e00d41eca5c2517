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
from freehold.gateway.may import Leave, named_person, named_purpose
from freehold.gateway.reply import Piece
from freehold.gateway.rules import Rules
from freehold.gateway.spend import Tally, cost
from freehold.spec.answer import DIED, GONE, Again, Close, Ending, Intent, Turn, Words, copy_of
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
        on is this release's."""
        self._route = route

    async def begin(self) -> None:
        """Write down that this answer begins, and by which release; returns when that is on disk."""
        try:
            await self._recorder.durable(self._append_begin())
        except SpoolUnwritable as refused:
            self._done = True  # it did not begin: there is nothing to end, and nothing to record
            raise _not_begun(refused) from refused

    async def turns(self, route: Route, instead: tuple[str, ...]) -> None:
        """Write down that `route` is asked, and who was asked before and why they did not answer; returns
        when that is on disk."""
        begun, turn = self._begun, self._turn(route, instead)
        try:
            with self._recorder.at_once():
                if not begun:
                    self._append_begin()
                future = self._recorder.append_turn(turn)
            self._route = route
            await self._recorder.durable(future)
        except SpoolUnwritable as refused:
            if begun:
                raise
            self._done = True
            raise _not_begun(refused) from refused

    def _turn(self, route: Route, instead: tuple[str, ...]) -> Turn:
        return Turn(
            answer=self.answer,
            at=self._recorder.clock(),
            release=route.release,
            serving_digest=route.target.serving_digest,
            instead=instead,
        )

    async def close(self, last: Piece, reason: str = "ok") -> None:
        """Write down how it ended, answered or refused by a guard; returns when that is on disk: now
        `last` may leave."""
        self.says(last)
        if last.refused:
            await self._recorder.durable(self._end("denied", 200, "content-filter"))
            return
        future = self._end("answered", 200, reason)
        self._pledge = (future, None)
        await self._recorder.durable(future)

    async def repeats(self, answer: str) -> None:
        """Write down that this caller is given `answer` again; returns when that is on disk."""
        self._done = True  # no record of its own: the first one's stands
        again = Again(
            id=new_id("agn"),
            answer=answer,
            at=self._asked.at,
            project=self._service.project,
            key=self._caller.id,
            request_id=self._asked.heads.request_id,
            given=True,
        )
        future = self._recorder.append_last(Repeated(again))
        self._pledge = (future, again)
        await self._recorder.durable(future)

    def given(self) -> None:
        """The answer has left, as its record says."""
        if self._begun:
            self._endings["answered"] += 1
        self._pledge = None

    def goes_on_as(self, asked: Asked) -> None:
        """What guards left of the request: this is what is asked, and what is kept."""
        self._asked, self._looked_at = asked, True

    def says(self, piece: Piece) -> None:
        """Remember what leaves. Raises AnswerTooLarge."""
        self._size += len(piece.data)
        self._recorder.refuse_larger(self._size)
        self._pieces.append(piece.data)

    @property
    def response(self) -> bytes:
        """What has left so far, the last piece included."""
        return b"".join(self._pieces)

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._pledge is not None:
            self._take_back(*self._pledge, error)
        if self._done or (not self._begun and not getattr(error, "recorded", True)):
            return
        if isinstance(error, asyncio.CancelledError):
            if self._begun:  # nobody is there to wait for the disk
                self._end(*_ending_of(error, begun=True))
            return
        ending, status, reason = _ending_of(error, begun=self._begun)
        if self._begun:
            await self._recorder.durable(self._end(ending, status, reason))
            return
        with self._recorder.at_once():
            begin = self._append_begin()
            end = self._end(ending, status, reason, begin)
        try:
            await self._recorder.durable(end)
        except SpoolUnwritable as refused:
            raise _not_begun(refused) from refused

    def _take_back(
        self, future: asyncio.Future[int], again: Again | None, error: BaseException | None
    ) -> None:
        """It is written down, or will be, that an answer left which did not: say what is true."""
        if again is not None:
            self._recorder.take_back(future, Repeated(replace(again, given=False)))
            return
        ending, status, reason = _ending_of(error, begun=True)
        self._endings[ending] += 1
        self._recorder.take_back(future, self._ended(ending, status, reason))

    def _append_begin(self) -> asyncio.Future[int]:
        try:
            future = self._recorder.append_begin(self._intent())
        except (SpoolFull, SpoolStalled) as refused:  # at once: it did not begin, there is nothing to record
            self._done, refused.recorded = True, False
            raise
        self._begun = True
        return future

    def _end(
        self, ending: Ending, status: int, reason: str, begin: asyncio.Future[int] | None = None
    ) -> asyncio.Future[int]:
        """Queue the end; `begin` is its beginning where that is not on disk yet, for both or neither."""
        self._done = True
        if ending != "answered":  # that is counted when it has left
            self._endings[ending] += 1
        if self._endings is self._recorder.endings:  # what guards say of a copy nobody was given
            self._recorder.guarded.update(set(self.verdicts.done))
        ended = self._ended(ending, status, reason)
        return self._recorder.append_last(ended, kept=begin is None)

    def _ended(self, ending: Ending, status: int, reason: str) -> Ended:
        close = self._close(ending, status, reason)
        # a refused request leaves no words: they may be the very ones that must not be kept; nor does one
        # that broke before its guards had looked at it
        refused = ending == "denied" and not self._pieces
        words = None if refused or not self._looked_at else self._recorder.box(self._words(), self._rules)
        return Ended(close, words)

    def _intent(self) -> Intent:
        leave, route, heads = self.leave, self._route, self._asked.heads
        said, service = self._asked.said, self._service
        return Intent(
            answer=self.answer,
            at=self._asked.at,
            project=service.project,
            service=service.name,
            key=self._caller.id,
            purpose=leave.purpose if leave else named_purpose(said, self._caller),
            subject=leave.subject if leave else named_person(said, service, self._rules),
            release=route.release if route else None,
            serving_digest=route.target.serving_digest if route else None,
            snapshot=self._rules.snapshot.ix,
            sandbox=self._service.tier == "sandbox",
            request=commitment(self._salt, self._asked.body),
            request_id=heads.request_id,
            trace=heads.trace,
            idempotency=self.idempotency,
        )

    def _close(self, ending: Ending, status: int, reason: str) -> Close:
        at, tally = self._recorder.clock(), self.tally
        spent = cost(self._route.target, tally.tokens_in, tally.tokens_out) if self._route else Decimal(0)
        return Close(
            answer=self.answer,
            at=at,
            ending=ending,
            status=status,
            reason=reason,
            response=commitment(self._salt, self.response) if self._pieces else None,
            tokens_in=tally.tokens_in,
            tokens_out=tally.tokens_out,
            estimated=tally.estimated,
            micros=max(0, at - self.since),
            cost=f"{spent.normalize():f}" if spent else "0",
            guards=self.verdicts.texts(),
            went=tally.went,
        )

    def _words(self) -> Words:
        return Words(
            answer=self.answer, request=self._asked.body, response=self.response, salt=self._salt.hex()
        )


def _ending_of(error: BaseException | None, *, begun: bool) -> tuple[Ending, int, str]:
    """Denied: we said no before anything began. Failed: it broke. Cut off: nobody was there any more."""
    if isinstance(error, asyncio.CancelledError):
        return "cut off", CUT_OFF, GONE if GONE in error.args else "gateway-left"
    if not isinstance(error, Failure):
        return "failed", 500, "broken" if error else "unfinished"
    denied = not begun and (error.status < 500 or getattr(error, "denies", False))
    denied = denied or getattr(error, "denies_late", False)
    return "denied" if denied else "failed", error.status, error.code


def orphaned(intent: Intent, at: int) -> Ended:
    """The end of an answer whose process died before it could write one."""
    close = Close(
        answer=intent.answer,
        at=at,
        ending="failed",
        status=0,
        reason=DIED,
        response=None,
        tokens_in=0,
        tokens_out=0,
        estimated=False,
        micros=max(0, at - intent.at),
        cost="0",
    )
    return Ended(close)
