"""What may still be used: requests, tokens, money, places; of a service, a key, a project, a person.

The most that a request can use is held before it begins, and what it did not use is given back when it
ends, however it ends. All scopes of a request are looked at and changed together: it is let through by
all of them, or counted by none.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from freehold.errors import OverLimit
from freehold.gateway.counts import Counts, CountsUnusable, Kept, Row
from freehold.gateway.restrained import paces
from freehold.gateway.rules import Rules
from freehold.gateway.spend import Tally, billionths
from freehold.spec.snapshot import KeyView, Most, ServiceView, Target

Header = tuple[bytes, bytes]
_Named = tuple[str, str, Most]
_NONE = Most()
_BLOCKS = 20
"""A budget is written through in this many steps or more."""


class TooMany(OverLimit):
    """{whose} may be asked no more for now

    Counted and told, not recorded: a flood of refusals must not fill the ledger.
    """

    recorded = False
    retry_after = 60
    headers: tuple[Header, ...] = ()


class TooManyRequests(TooMany):
    """{whose} has had its requests of this minute"""


class TooManyTokens(TooMany):
    """{whose} has had its tokens of this minute"""


class TooManyAtOnce(TooMany):
    """{whose} has as many requests under way as it may"""

    retry_after = 1


class BudgetUsedUp(OverLimit):
    """{whose} has spent what it may spend today"""

    retry_after = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Something whose use is limited."""

    name: str
    whose: str
    """In messages: never a person."""
    most: Most


def scopes_of(
    rules: Rules, caller: KeyView, service: ServiceView, subject: str | None, at: int
) -> tuple[Scope, ...]:
    """The limits that a request is under; none is the usual case. `at` is microseconds UTC."""
    project = rules.snapshot.projects.get(service.project, _NONE)
    throttled = paces(rules, caller.id, subject or "", at)
    unlimited = service.most == project == caller.most == service.each_key == service.each_subject == _NONE
    if unlimited and not throttled:
        return ()
    found = [
        (f"service/{service.name}", f"`{service.name}`", service.most),
        (f"project/{service.project}", f"the project `{service.project}`", project),
        *_of_key(caller, service),
    ]
    if subject is not None:
        whose = f"this person at `{service.name}`"
        found.append((f"person/{service.name}/{subject}", whose, service.each_subject))
    return _limited((*found, *throttled))


def scopes_refused(
    rules: Rules, caller: KeyView, service: ServiceView, subject: str | None, at: int
) -> tuple[Scope, ...]:
    """The limits that a request is under which is refused: those of who sent it, and not what they share with
    others, who may ask. `subject` is whom it names."""
    return _limited((*_of_key(caller, service), *paces(rules, caller.id, subject or "", at)))


def _of_key(caller: KeyView, service: ServiceView) -> tuple[_Named, _Named]:
    key = caller.origin or caller.id
    return (
        (f"key/{key}", "this key", caller.most),
        (f"each/{service.name}/{key}", f"this key at `{service.name}`", service.each_key),
    )


def _limited(found: Iterable[_Named]) -> tuple[Scope, ...]:
    return tuple(Scope(name=n, whose=w, most=most) for n, w, most in found if most != _NONE)


def scope_of(service: ServiceView) -> tuple[Scope, ...]:
    """What is limited of a service itself, whoever asks: it counts where it stands in for another, too."""
    if service.most == _NONE:
        return ()
    return (Scope(name=f"service/{service.name}", whose=f"`{service.name}`", most=service.most),)


def bound_tokens(scopes: tuple[Scope, ...]) -> bool:
    """Whether it has to be said upstream how long an answer may be."""
    return any(scope.most.tokens is not None or scope.most.spend is not None for scope in scopes)


class Limits:
    """The limits of one gateway process, shared with those beside it through `counts`."""

    def __init__(self, counts: Counts, elapsed: Callable[[], float], patience: float = 5.0) -> None:
        """`patience` is for how many seconds the disk is waited for."""
        self._counts, self._elapsed, self._patience = counts, elapsed, patience
        self._unsettled: list[_Over] = []
        self._writing: asyncio.Future[None] | None = None

    def count(self, scopes: tuple[Scope, ...]) -> tuple[Header, ...]:
        """Count one request; how much is left, as headers. Raises TooManyRequests with an honest wait."""
        if not scopes:
            return ()
        with self._rows(scopes) as rows:
            second = int(self._elapsed())  # under the lock: whatever is counted there is not of the future
            used = [row.used(second) for row in rows]
            for scope, row, (requests, _) in zip(scopes, rows, used, strict=True):
                if scope.most.requests is not None and requests >= scope.most.requests:
                    late = TooManyRequests(
                        whose=scope.whose, why=f"{scope.most.requests} a minute are the limit", hint=_WAIT
                    )
                    late.retry_after = row.frees(second, 1, requests - scope.most.requests + 1)
                    late.headers = _standing(scopes, used, late.retry_after)
                    raise late
            for row in rows:
                row.add(second, 1, 0)
        return _standing(scopes, [(requests + 1, tokens) for requests, tokens in used], 60)

    def held(
        self,
        scopes: tuple[Scope, ...],
        service: ServiceView,
        target: Target,
        worst: tuple[int, int],
        tally: Tally,
        at: int,
    ) -> AbstractContextManager[None]:
        """Hold the most that a request can use while the block runs; keep what `tally` used.

        `worst` is tokens in and out, `at` microseconds UTC. Raises TooManyTokens, BudgetUsedUp,
        TooManyAtOnce; then nothing is held.
        """
        return self._held(scopes, service, target, worst, tally, at) if scopes else nullcontext()

    @contextmanager
    def _held(
        self,
        scopes: tuple[Scope, ...],
        service: ServiceView,
        target: Target,
        worst: tuple[int, int],
        tally: Tally,
        at: int,
    ) -> Iterator[None]:
        day = _Day.at(service.timezone, at)
        with self._rows(scopes) as rows:
            hold = _Hold(int(self._elapsed()), day, sum(worst), billionths(target, *worst))
            pairs = tuple(zip(scopes, rows, strict=True))
            self._refuse(pairs, hold)
            for scope, row in pairs:
                hold.take(scope.most, row)
        try:
            yield
        finally:
            used = tally.tokens_in + tally.tokens_out
            self._unsettled.append(
                _Over(scopes, hold, used, billionths(target, tally.tokens_in, tally.tokens_out))
            )
            self.settle()

    def settle(self) -> None:
        """Give back what was held by all that is over; what cannot be given back now is held until it can."""
        while self._unsettled:
            over = self._unsettled[-1]
            try:
                with self._rows(over.scopes) as rows:
                    over.give_back(rows)
            except CountsUnusable:
                return
            self._unsettled.pop()

    async def written(self, scopes: tuple[Scope, ...]) -> None:
        """Return when the disk has as spent what is held, so that a power cut does not give it back.

        Raises CountsUnusable when it refuses, or does not answer in time.
        """
        paid = tuple(scope.name for scope in scopes if scope.most.spend is not None)
        wanted = self._unkept(paid) if paid else {}
        if not wanted:
            return
        try:
            async with asyncio.timeout(self._patience):
                while wanted:
                    if self._writing is None or self._writing.done():
                        self._writing = asyncio.ensure_future(self._write(wanted))
                    await asyncio.shield(self._writing)
                    wanted = self._lacking(wanted)  # one write at a time: that one may not have been ours
        except TimeoutError:
            why = f"the disk did not answer in {self._patience:g} s"
            raise CountsUnusable(why=why, hint="it goes on by itself when the disk does") from None

    async def _write(self, wanted: dict[str, Kept]) -> None:
        await asyncio.to_thread(self._counts.keep, tuple(wanted))
        with self._counts.rows(tuple(wanted)) as rows:
            for row, kept in zip(rows, wanted.values(), strict=True):
                row.kept(kept)

    def _unkept(self, names: tuple[str, ...]) -> dict[str, Kept]:
        with self._counts.rows(names) as rows:
            found = [row.unkept() for row in rows]
        return {name: kept for name, kept in zip(names, found, strict=True) if kept is not None}

    def _lacking(self, wanted: dict[str, Kept]) -> dict[str, Kept]:
        with self._counts.rows(tuple(wanted)) as rows:
            found = [row.lacks(kept) for row, kept in zip(rows, wanted.values(), strict=True)]
        return {name: kept for (name, kept), lacks in zip(wanted.items(), found, strict=True) if lacks}

    async def sweep(self, now: float) -> None:
        """Remove the numbers of scopes that nobody uses; tried again in an hour when the disk refuses.

        Nobody counts on in a removed file: every process lets go of all it has at hand, and what it used
        since is not old.
        """
        self._counts.let_go()
        with suppress(CountsUnusable):
            await asyncio.to_thread(self._counts.sweep, now)

    def _rows(self, scopes: tuple[Scope, ...]) -> AbstractContextManager[tuple[Row, ...]]:
        return self._counts.rows(tuple(scope.name for scope in scopes))

    def _refuse(self, pairs: tuple[tuple[Scope, Row], ...], hold: _Hold) -> None:
        for scope, row in pairs:
            most = scope.most
            if most.at_once is not None and row.running() >= most.at_once:
                row.leave(self._counts.sits)
                if row.running() >= most.at_once:
                    why = f"{most.at_once} at once are the limit"
                    raise TooManyAtOnce(whose=scope.whose, why=why, hint=_WAIT)
            if most.tokens is not None and hold.tokens:
                _refuse_tokens(scope, row, hold, most.tokens)
            if most.spend is not None and hold.money:
                _refuse_money(scope, row, hold, most.spend)


_WAIT = "wait as long as `Retry-After` says"


@dataclass(frozen=True, slots=True)
class _Day:
    number: int
    left: int
    """Seconds until it ends."""

    @classmethod
    def at(cls, timezone: str, at: int) -> _Day:
        """The day at `at` where the project is."""
        here = dt.datetime.fromtimestamp(at / 1_000_000, ZoneInfo(timezone))
        midnight = dt.datetime.combine(here.date() + dt.timedelta(days=1), dt.time(), here.tzinfo)
        return cls(here.toordinal(), max(1, int(midnight.timestamp() - here.timestamp())))


@dataclass(frozen=True, slots=True)
class _Hold:
    """What one request holds."""

    second: int
    day: _Day
    tokens: int
    money: int

    def take(self, most: Most, row: Row) -> None:
        if most.tokens is not None:
            row.add(self.second, 0, self.tokens)
        if most.spend is not None and self.money:
            left = _limit(most.spend) - row.spent(self.day.number) - self.money
            row.spend(self.day.number, self.money, block=left // _BLOCKS)
        if most.at_once is not None:
            row.begin(1)


@dataclass(frozen=True, slots=True)
class _Over:
    """A request that is over, with what it used."""

    scopes: tuple[Scope, ...]
    hold: _Hold
    tokens: int
    money: int

    def give_back(self, rows: tuple[Row, ...]) -> None:
        hold = self.hold
        for scope, row in zip(self.scopes, rows, strict=True):
            if scope.most.at_once is not None:
                row.begin(-1)
            if scope.most.tokens is not None:
                row.correct(hold.second, self.tokens - hold.tokens)
            if scope.most.spend is not None and self.money != hold.money:
                row.spend(hold.day.number, self.money - hold.money)


def _limit(spend: str) -> int:
    return int(Decimal(spend).scaleb(9))


def _refuse_tokens(scope: Scope, row: Row, hold: _Hold, most: int) -> None:
    _, tokens = row.used(hold.second)
    if tokens + hold.tokens <= most:
        return
    late = TooManyTokens(
        whose=scope.whose,
        why=f"{most} a minute are the limit, and this request could use {hold.tokens}",
        hint="lower `max_tokens`, or " + _WAIT,
    )
    late.retry_after = row.frees(hold.second, 2, tokens + hold.tokens - most)
    raise late


def _refuse_money(scope: Scope, row: Row, hold: _Hold, spend: str) -> None:
    if row.spent(hold.day.number) + hold.money <= _limit(spend):
        return
    could = Decimal(hold.money).scaleb(-9).normalize()
    failure = BudgetUsedUp(
        whose=scope.whose,
        why=f"the limit is {spend} a day, and this request could cost {could:f}",
        hint="lower `max_tokens`, wait until the day ends, or raise the limit",
    )
    failure.retry_after = hold.day.left
    raise failure


def _standing(scopes: tuple[Scope, ...], used: list[tuple[int, int]], reset: int) -> tuple[Header, ...]:
    """OpenAI's headers, of whichever scope has least left."""
    headers: list[Header] = []
    for kind, place in ((b"requests", 0), (b"tokens", 1)):
        limits = [(scope.most.requests, scope.most.tokens)[place] for scope in scopes]
        left = [(most - now[place], most) for most, now in zip(limits, used, strict=True) if most is not None]
        if left:
            remaining, most = min(left)
            headers.append((b"x-ratelimit-limit-" + kind, b"%d" % most))
            headers.append((b"x-ratelimit-remaining-" + kind, b"%d" % max(0, remaining)))
            headers.append((b"x-ratelimit-reset-" + kind, b"%ds" % math.ceil(reset)))
    return tuple(headers)
