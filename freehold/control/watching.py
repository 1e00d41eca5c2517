"""Who looks like an attacker: judged over records, when they are taken in.

Rows alone are the truth: what is kept here between two batches only says when a look is worth it. A key is
counted by its own records, so nobody with another key hides or accuses them. Nothing sealed is opened: a
record says who asked which service, how that ended, and what its guards said.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from freehold.control.day import ENDINGS
from freehold.release import incidents
from freehold.release.incidents import Sighting
from freehold.spec.answer import FORGOTTEN
from freehold.spec.watching import MANY, WORST, Pattern, Rule
from freehold.store.few import few
from freehold.store.ground import Ground
from freehold.store.tables import answers, models, releases

if TYPE_CHECKING:
    from freehold.control.parts import Parts

ABUSE = ("purpose-refused", "sensitivity-refused", "subject-of-other", "consent-withdrawn")
"""Reasons of a refusal that somebody gets who tries what a key is not for."""
MOST_WAITING = 10_000
"""Of those of whom it is remembered when a look is worth it; beyond it every look is."""

_SECOND = 1_000_000
_LEARNED = ("classify", "tabular")
_GUARDED = ("jailbreak", "extraction")
"""Rules about what guards said."""
_log = logging.getLogger("freehold.control")

Who = tuple[Rule, str, str | None, bool]
"""Rule, key and person, and whether it is about the key as a whole though its persons are told apart."""


def declare(parts: Parts) -> None:
    """Judge by what freehold.yaml says, from now on."""
    with parts.ground.db.write() as tx:
        incidents.declare(tx, rules=parts.config.watch)


@dataclass(slots=True)
class Watching:
    """When the next look at somebody is worth it. One for a control process, for all its threads."""

    _missing: dict[Who, int] = field(default_factory=dict)
    """How many records more there have to be before it is."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    failing_since: int | None = None
    """Since when looks fail, microseconds UTC; None when the last one did not."""
    why: str = ""

    def look(self, ground: Ground, ended: Sequence[str]) -> tuple[str, ...]:
        """Judge those whose answers these are; the incidents that were opened, or hold anew.

        Fails quietly but for a line in the log, and in `freehold status` until a look succeeds: the records
        are in, and the next one of the same caller brings the next look.
        """
        if not ended:
            return ()
        try:
            found = self._found(ground, ended)
        except Exception as error:
            self._stands(ground, error)
            return ()
        tried = [_opened(ground, rule, sighting) for rule, sighting in found]
        self._stands(ground, *(one for one in tried if isinstance(one, Exception)))
        return tuple(one for one in tried if isinstance(one, str))

    def _stands(self, ground: Ground, *failed: Exception) -> None:
        for error in failed:
            _log.error("who asks could not be looked at: %s", type(error).__name__)
        with self._lock:
            self.failing_since = (self.failing_since or ground.clock()) if failed else None
            self.why = type(failed[0]).__name__ if failed else ""

    def _found(self, ground: Ground, ended: Sequence[str]) -> list[tuple[Rule, Sighting]]:
        """What looks like an attack, by the strictest rule first: of two broken at once that one acts."""
        with ground.db.read() as conn:
            found = [
                (rule, sighting)
                for rule in incidents.rules(conn)
                for sighting in self._sightings(conn, rule, _signs(conn, rule, ended))
            ]
        return sorted(found, key=lambda one: -WORST.index(one[0].then))

    def _sightings(self, conn: sa.Connection, rule: Rule, signs: Sequence[Any]) -> Iterator[Sighting]:
        """Whoever has been at it often enough, among those who just did it."""
        for (project, key, subject, whole), mine in _by_whom(rule, signs).items():
            who, last = (rule, key, subject, whole), max(mine, key=lambda row: row.at)
            about: dict[str, Any] = {"project": project, "key": key, "subject": subject, "reacts": not whole}
            if not self._worth_it(who, len(mine)):
                continue
            if incidents.is_dealt_with(conn, rule, **about, at=last.at):
                continue
            since = incidents.since(conn, rule, key, subject)
            records = _Records(conn, rule, project, key, subject, whole, since)
            windows = [records.ending(at) for at in records.ends([row.at for row in mine])]
            missing = min(window.missing for window in windows)
            self._remember(who, missing)
            if missing <= 0:
                found = next(window for window in windows if window.missing <= 0)
                yield Sighting(**about, service=last.service, count=found.count, seen_at=found.at)

    def _worth_it(self, who: Who, more: int) -> bool:
        with self._lock:
            missing = self._missing.get(who, 0) - more
            if missing > 0:
                self._missing[who] = missing
            return missing <= 0

    def _remember(self, who: Who, missing: int) -> None:
        """A quarter of what is missing: several controls take in records of the same caller."""
        with self._lock:
            if len(self._missing) >= MOST_WAITING:
                self._missing.clear()
            if missing >= 8:
                self._missing[who] = missing // 4
            else:
                self._missing.pop(who, None)


def _opened(ground: Ground, rule: Rule, sighting: Sighting) -> str | Exception | None:
    """The incident, or why there is none: what fails keeps no other from being told."""
    try:
        with ground.db.write() as tx:
            return incidents.seen(tx, ground, rule, sighting)
    except Exception as error:
        return error


# -- what looks so --------------------------------------------------------------------------------------


def _sign(rule: Rule, *, named: bool) -> sa.ColumnElement[bool]:
    """Which records look like what a rule is about; `named`: of requests about one person.

    Requests about nobody, or many about one that may be a shop or a machine, are ordinary somewhere: they
    count where somebody says how many are too many.
    """
    a = answers.c
    signs: dict[Pattern, sa.ColumnElement[bool]] = {
        "jailbreak": _said("in injection refuse", "in injection flag"),
        "key-abuse": sa.and_(a.ending == "denied", a.reason.in_(ABUSE)),
        "scraping": sa.and_(a.ending == "answered", sa.true() if rule.said else _is_named()),
        "extraction": _said("in domain observe", "in domain refuse"),
    }
    if rule.name == "extraction" and named and rule.said:
        return sa.or_(signs[rule.name], sa.and_(a.ending == "answered", _learned()))
    return signs[rule.name]


def _said(*words: str) -> sa.ColumnElement[bool]:
    """A guard said one of these; the index over what guards said has few records."""
    guards = answers.c.guards
    return sa.and_(guards.is_not(None), sa.or_(*(guards.contains(word) for word in words)))


def _learned() -> sa.ColumnElement[bool]:
    """Answers of a model of ours that says how likely each class is: what a copy is made from."""
    ours = (
        sa.select(releases.c.id)
        .join(models, models.c.id == releases.c.model)
        .where(models.c.task.in_(_LEARNED))
    )
    return answers.c.release.in_(ours)


def _given() -> sa.ColumnElement[bool]:
    """What somebody asked: without the copies that shadows answer to nobody."""
    return answers.c.id.like("ans%")


def _is_named() -> sa.ColumnElement[bool]:
    return sa.and_(answers.c.subject.is_not(None), answers.c.subject != FORGOTTEN)


def _signs(conn: sa.Connection, rule: Rule, ended: Sequence[str]) -> Sequence[Any]:
    """Those of these answers that look so."""
    a = answers.c
    looks_so = sa.or_(_sign(rule, named=False), sa.and_(_is_named(), _sign(rule, named=rule.by == "person")))
    query = sa.select(a.project, a.service, a.key, a.subject, a.at).where(_given(), looks_so)
    found: list[Any] = []
    for some in few(ended):
        found += conn.execute(query.where(a.id.in_(some)))
    return [row for row in found if rule.covers(row.project, row.service)]


Whose = tuple[str, str, str | None, bool]
"""Project, key, person, and whether it is about the key as a whole though its persons are told apart."""


def _by_whom(rule: Rule, signs: Sequence[Any]) -> dict[Whose, list[Any]]:
    mine: dict[Whose, list[Any]] = {}
    for row in signs:
        subject = None if rule.by == "key" or row.subject == FORGOTTEN else row.subject
        mine.setdefault((row.project, row.key, subject, False), []).append(row)
        if subject is not None:
            mine.setdefault((row.project, row.key, None, True), []).append(row)
    return mine


def _densest(times: list[int], within: int) -> int:
    """Where the most of them came together; `times` in their order."""
    first, most, end = 0, 0, times[-1]
    for number, at in enumerate(times):
        while times[first] <= at - within:
            first += 1
        if number - first >= most:
            most, end = number - first, at
    return end


@dataclass(frozen=True, slots=True)
class _Window:
    """What a rule looks back at, from some moment."""

    at: int
    count: int
    """How many records looked so."""
    missing: int
    """How many more it takes until it is an attack; none, or less, where it is one."""


@dataclass(frozen=True, slots=True)
class _Records:
    """The records of one caller, or of one person with one key, that a rule looks at."""

    conn: sa.Connection
    rule: Rule
    project: str
    key: str
    subject: str | None
    whole: bool
    since: int
    """What is older was looked into."""

    def ends(self, mine: list[int]) -> tuple[int, ...]:
        """Up to which moments it is looked at when records of these times came in.

        Their last; where most of them came together, for a gateway that was cut off sends many minutes at
        once; and the newest that others sent meanwhile, for they belong to the same series.
        """
        last, within = max(mine), self.rule.within * _SECOND
        newest = sa.select(sa.func.max(answers.c.at)).where(*self._looking_so(last + within - 1))
        others = int(self.conn.scalar(newest) or last)
        return tuple(dict.fromkeys((last, others, _densest(sorted(mine), within))))

    def ending(self, at: int) -> _Window:
        """The window that ends at `at`."""
        count, share = self._count(at), self.rule.share
        missing = self.rule.after * (MANY if self.whole else 1) - count
        if missing <= 0 and share:  # how many more, were all from now on to look so
            lacking = share * self._all_of_them(at) - 100 * count
            missing = max(missing, -(-lacking // max(1, 100 - share)))
        return _Window(at, count, missing)

    def _count(self, at: int) -> int:
        """How many look so in the time up to `at`; of scraping, how many different ones."""
        a = answers.c
        what = sa.func.count()
        if self.rule.name == "scraping":  # of one person many times is one person
            what = sa.func.count(sa.distinct(sa.func.coalesce(a.subject, a.id)))
        return int(self.conn.scalar(sa.select(what).where(*self._looking_so(at))) or 0)

    def _looking_so(self, at: int) -> list[sa.ColumnElement[bool]]:
        mine = [*self._mine(at), _sign(self.rule, named=self.subject is not None)]
        if self.rule.name not in _GUARDED:  # those find it by a person, or by what guards said
            mine.append(answers.c.ending.in_(ENDINGS))
        return mine

    def _all_of_them(self, at: int) -> int:
        """How many whoever would be held asked in that time: of a key, all of its."""
        mine = [*self._mine(at, whoever=True), answers.c.ending.in_(ENDINGS)]  # by the index over keys
        return int(self.conn.scalar(sa.select(sa.func.count()).where(*mine)) or 0)

    def _mine(self, at: int, *, whoever: bool = False) -> Iterator[sa.ColumnElement[bool]]:
        a, rule = answers.c, self.rule
        yield a.key == self.key
        yield a.at > max(at - rule.within * _SECOND, self.since)
        yield a.at <= at
        yield _given()
        if rule.services:
            yield a.service.in_(rule.services)
        if self.subject is not None:
            yield a.project == self.project
            yield a.subject == self.subject
        elif rule.by == "person" and not self.whole and not whoever:
            yield sa.not_(_is_named())
