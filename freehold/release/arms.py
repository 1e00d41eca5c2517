"""How the answers of a canary or a shadow end beside those of the live release, and whether it fails more.

The rule, in one sentence: a candidate of which at least 20 answers have ended fails more than the live
release when a one-sided exact test at 1 % says so. It is looked at each time its answers have doubled
(20, 40, 80, …) and at the end of its time, not all the time: who looks often enough finds something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, lgamma

import sqlalchemy as sa

from freehold.release.views import RUNNING
from freehold.spec.answer import DIED
from freehold.store.tables import answers, releases

FEWEST = 20
"""Answers of the candidate before anything is said."""
MOST = 20_480
"""Of each arm the newest so many count: enough to see a difference of a tenth of a percent."""
LEVEL = 0.01

COUNTED = ("answered", "failed", "cut off")
"""Endings of answers that reached a model, or did not because it had just failed; who is denied says nothing
about it, nor does what ended with its gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """How many answers of one release have ended, and how."""

    answered: int = 0
    failed: int = 0
    cut_off: int = 0

    @property
    def ended(self) -> int:
        """All of them."""
        return self.answered + self.failed + self.cut_off


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the two arms say."""

    fails_more: bool
    because: str


def verdict(candidate: Arm, live: Arm, called: str = "canary") -> Verdict:
    """Whether the candidate, `called` so, fails more of its answers than the live release.

    One-sided exact test of Fisher (The Design of Experiments, 1935; Agresti, Categorical Data Analysis,
    3rd ed., section 3.5) at 1 %.
    """
    said = f"{candidate.failed} of {candidate.ended} answers of the {called} failed"
    said += f", {live.failed} of {live.ended} live"
    if candidate.ended < FEWEST:
        return Verdict(fails_more=False, because=f"{said}: too few to say more")
    chance = chance_of(candidate.failed, candidate.ended, live.failed, live.ended)
    if chance < LEVEL:
        return Verdict(fails_more=True, because=f"{said} (by chance in fewer than 1 of 100 cases)")
    return Verdict(fails_more=False, because=said)


def chance_of(failed: int, ended: int, other_failed: int, other_ended: int) -> float:
    """How likely so many failures or more fall on the first arm, were both alike (hypergeometric tail)."""
    failures, rows = failed + other_failed, ended + other_ended
    most = min(failures, ended)
    all_ways = _log_ways(rows, ended)
    tail = sum(
        exp(_log_ways(failures, k) + _log_ways(rows - failures, ended - k) - all_ways)
        for k in range(max(failed, ended - (rows - failures)), most + 1)
    )
    return min(1.0, tail)


def _log_ways(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


# -- counting ---------------------------------------------------------------------------------------


def judged(
    conn: sa.Connection, *, canary: str, live: str, at_the_end: bool, called: str = "canary"
) -> Verdict:
    """The verdict on a canary or shadow beside the live release, on what has ended since it began.

    At the end of its time on everything; before on as many of its answers as the last look saw, so
    that asking again, after a restart for instance, gives the same.
    """
    since = conn.scalar(sa.select(releases.c.created_at).where(releases.c.id == canary)) or 0
    ended = count(conn, canary, since=since).ended
    looked = ended if at_the_end else _last_look(ended)
    if not looked and not at_the_end:
        return Verdict(fails_more=False, because="")
    until = None if at_the_end else _time_of(conn, canary, since, looked)
    ours, theirs = (count(conn, one, since=since, until=until) for one in (canary, live))
    return verdict(ours, theirs, called)


def count(conn: sa.Connection, release: str, *, since: int = 0, until: int | None = None) -> Arm:
    """How the newest answers of a release, begun in this time, have ended."""
    newest = (
        sa.select(answers.c.ending)
        .where(*_counted(release, since))
        .where(answers.c.at <= until if until is not None else sa.true())
        .order_by(answers.c.at.desc())
        .limit(MOST)
        .subquery()
    )
    rows = conn.execute(sa.select(newest.c.ending, sa.func.count()).group_by(newest.c.ending))
    ended: Mapping[str, int] = {str(ending): int(number) for ending, number in rows}
    return Arm(**{ending.replace(" ", "_"): number for ending, number in ended.items()})


def _counted(release: str, since: int) -> tuple[sa.ColumnElement[bool], ...]:
    a = answers.c
    said = sa.or_(a.ending != "failed", a.reason != DIED)
    return a.release == release, a.ending.in_(COUNTED), a.at >= since, said


def totals(conn: sa.Connection, service: str) -> dict[str, dict[str, int]]:
    """release -> ending -> how many, of everything that is running on a service, a shadow too."""
    running = sa.select(releases.c.id).where(releases.c.service == service, releases.c.state.in_(RUNNING))
    ending = sa.func.coalesce(answers.c.ending, "under way")
    query = sa.select(answers.c.release, ending, sa.func.count()).where(answers.c.release.in_(running))
    told: dict[str, dict[str, int]] = {str(id): {} for id in conn.scalars(running)}
    for release, word, number in conn.execute(query.group_by(answers.c.release, ending)):
        told[release][str(word)] = int(number)
    return told


def _last_look(ended: int) -> int:
    """The largest of 20, 40, 80, … that is not above `ended`; 0 before the first."""
    look = FEWEST
    while look * 2 <= ended:
        look *= 2
    return look if ended >= FEWEST else 0


def _time_of(conn: sa.Connection, release: str, since: int, nth: int) -> int:
    """When the n-th answer of a release began."""
    query = (
        sa.select(answers.c.at)
        .where(*_counted(release, since))
        .order_by(answers.c.at)
        .offset(nth - 1)
        .limit(1)
    )
    return int(conn.scalar(query) or 0)
