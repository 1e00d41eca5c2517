"""Copies for a shadow: what the live release has answered is asked of another one, and answered to nobody.

A copy is put aside when its answer has left, and asked by one of a few loops beside the requests. Where there
is no room for it, it is dropped and counted: nobody waits for a copy, and nothing is charged for one. It goes
to a model of ours only, as the guards had left the request; what was decided before the answer is decided
again by the rules in force when it is its turn, and where they say anything else now it is dropped. Its
record is an answer's in every other way: begun on disk before it is asked, its words sealed, its person
named.

Copies that wait are in memory: they end with their process, and the record says which answers had none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress

from msgspec.structs import replace

from freehold.errors import Failure
from freehold.gateway.alike import Given, alike
from freehold.gateway.answering import UpstreamSlow
from freehold.gateway.asked import Asked
from freehold.gateway.bounds import Bounds
from freehold.gateway.breaker import Breaker, LeftAlone
from freehold.gateway.deadlines import Blocks
from freehold.gateway.guard_out import go_out
from freehold.gateway.guards import CameIn, Detectors
from freehold.gateway.may import Leave, may_ask
from freehold.gateway.private import Private
from freehold.gateway.questions import read_question
from freehold.gateway.records import Record, Recorder
from freehold.gateway.reply import Piece
from freehold.gateway.rulebook import Rulebook
from freehold.gateway.rules import Rules
from freehold.gateway.trained_on import in_domain
from freehold.gateway.upstream import Upstreams
from freehold.spec.snapshot import KeyView, ServiceView

AT_ONCE = 4
"""Copies of one gateway that are asked together."""
_STREAMED = ("stream", "stream_options")


class Copy(Private, frozen=True, kw_only=True):
    """A request that was answered, to be asked of a shadow as well."""

    answer: str
    """The id of the answer that was given."""
    rules: Rules
    """By which it was."""
    caller: KeyView
    service: ServiceView
    came: CameIn
    given: Given

    @property
    def size(self) -> int:
        """Bytes, as far as they count."""
        return len(self.came.asked.body) + len(self.given.data)


class Copies:
    """The copies of one gateway process. Owned by its event loop."""

    def __init__(
        self,
        rulebook: Rulebook,
        recorder: Recorder,
        upstreams: Upstreams,
        detectors: Detectors,
        bounds: Bounds,
        breaker: Breaker,
    ) -> None:
        """`breaker` is its own: a shadow that is down says nothing of who answers callers."""
        self._rulebook, self._recorder, self._upstreams = rulebook, recorder, upstreams
        self._detectors, self._bounds, self._breaker = detectors, bounds, breaker
        self._within = Blocks(bounds.answer, lambda: _too_slow(bounds))
        self._waiting: asyncio.Queue[Copy] = asyncio.Queue(bounds.copies)
        self._bytes = 0
        self._leaving = False
        self.dropped = 0
        """Copies that were never asked."""

    def offer(self, copy: Copy) -> None:
        """Put a copy aside, at once; one for which there is no room is dropped."""
        if copy.service.name not in copy.rules.shadows:
            return  # its engine is not there yet
        full = self._waiting.full() or self._bytes + copy.size > self._bounds.copied
        if full or self._leaving or not self._recorder.has_room():
            self.dropped += 1
            return
        self._bytes += copy.size
        self._waiting.put_nowait(copy)

    def follow(self, rules: Rules) -> None:
        """Drop what waits from before somebody was forgotten, and what is known of targets of before."""
        self._breaker.forget(rules.targets())
        self._keep(lambda copy: copy.rules.snapshot.forgotten_at == rules.snapshot.forgotten_at)

    async def run(self) -> None:
        """Ask for ever, one copy after the other; several of these run beside each other."""
        while True:
            copy = await self._waiting.get()
            self._bytes -= copy.size
            try:
                await self._take(copy)
            finally:
                self._waiting.task_done()

    async def drain(self, seconds: float) -> None:
        """Begin no more, and wait so long for what is under way; what goes on then is recorded as cut off."""
        self._leaving = True
        self._keep(lambda _copy: False)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._waiting.join()

    def _keep(self, wanted: Callable[[Copy], bool]) -> None:
        for _ in range(self._waiting.qsize()):
            copy = self._waiting.get_nowait()
            self._waiting.task_done()
            if wanted(copy):
                self._waiting.put_nowait(copy)
            else:
                self._bytes -= copy.size
                self.dropped += 1

    async def _take(self, copy: Copy) -> None:
        """Ask a copy, unless nobody may any more; how it ended is in its record."""
        rules = self._rulebook.rules()
        leave = self._leave(copy, rules)
        if leave is None:
            self.dropped += 1
            return
        try:
            await self._ask(copy, rules, leave)
        except Failure as failure:
            self.dropped += isinstance(failure, LeftAlone) or not getattr(failure, "recorded", True)

    def _leave(self, copy: Copy, rules: Rules) -> Leave | None:
        """Leave to ask it now; None where anything is not as it was when its answer was given."""
        name, caller, then = copy.service.name, copy.caller, copy.rules
        if rules.services.get(name) != then.services.get(name) or name not in rules.shadows:
            return None
        if rules.snapshot.forgotten_at != then.snapshot.forgotten_at:
            return None
        if caller.id in then.keys and rules.keys.get(caller.id) != caller:
            return None
        try:
            return may_ask(copy.came.asked.said, caller, copy.service, rules, self._rulebook.silence())
        except Failure:
            return None

    async def _ask(self, copy: Copy, rules: Rules, leave: Leave) -> None:
        route, asked = rules.shadows[copy.service.name], _whole(copy.came.asked)
        with self._breaker.asking(route.target.serving_digest, copy.service.name) as answers:
            async with (
                self._recorder.copy(copy.answer, asked, copy.caller, copy.service, rules) as record,
                self._within.within(),
            ):
                record.leave = leave
                record.goes_on_as(asked)
                question = read_question(asked, copy.service, record.answer)
                record.drawn(route)
                await record.begin()
                question = in_domain(question, copy.service, route.target, record.verdicts)
                asking = question.ask(self._upstreams, route.target, None, record.tally)
                guarded = go_out(asking, copy.came, copy.service, self._detectors, record.verdicts)
                async with aclosing(guarded) as pieces:
                    async for piece in pieces:
                        answers()
                        await _keeps(record, piece, copy)


async def _keeps(record: Record, piece: Piece, copy: Copy) -> None:
    """Nobody is given it: it is recorded, and whether it says what the answer said."""
    if not piece.last:
        record.says(piece)
        return
    ours = Given(data=record.response + piece.data, kind=piece.kind, headers=piece.headers)
    await record.close(piece, alike(copy.given, ours, classes=copy.service.task != "generate"))
    record.given()


def _whole(asked: Asked) -> Asked:
    """The same request, its answer wanted at once: nobody reads along."""
    fields = {name: value for name, value in asked.fields.items() if name not in _STREAMED}
    return replace(asked, fields=fields) if len(fields) < len(asked.fields) else asked


def _too_slow(bounds: Bounds) -> UpstreamSlow:
    return UpstreamSlow(why=f"a copy was not answered in {bounds.answer:g} s")
