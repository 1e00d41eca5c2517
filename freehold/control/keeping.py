"""The clock of retention: begins a purge where something is over, and notes how large everything is.

Rules of retention and legal holds are set here, too: their words are sealed as people's reasons are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import sqlalchemy as sa

from freehold.control.looking import Looking
from freehold.control.parts import Parts
from freehold.data import carried, holds, retention
from freehold.data.holds import EVERYTHING, Hold, What
from freehold.errors import BadInput, Failure
from freehold.identity import projects
from freehold.journeys import purge
from freehold.release import words
from freehold.spec.principal import SYSTEM, Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store import postgres
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.tables import answers, samples

EVERY = 60.0
"""Seconds between two looks."""
FIRST_AFTER = 10.0
PAUSE = 3_600_000_000
"""Microseconds without a new purge after one that failed."""
SAMPLED = 3_600_000_000
"""Microseconds between two samples of the size."""
REMEMBERED = 32 * 86_400_000_000
"""How long samples are kept."""
WEEK = 7 * 86_400_000_000
FURTHEST = 10 * 365 * 86_400_000_000
"""Nobody is told what the disk will be like after that."""

_log = logging.getLogger("freehold.control")


# -- the clock --------------------------------------------------------------------------------------


def begin_due(ground: Ground) -> list[str]:
    """Begin a purge in each project where something is over, or one has to be gone on with; the journeys."""
    begun, now = [], ground.clock()
    with ground.db.read() as conn:
        names = [project.name for project in projects.listed(conn)]
        left = {name for name in names if purge.unfinished(conn, name)}
        free = [
            name
            for name in names
            if not purge.under_way(conn, name) and not purge.failed_since(conn, name, now - PAUSE)
        ]
    for name in free:
        if name in left or retention.due(ground, name, now):
            with ground.db.write() as tx:
                begun.append(purge.begin(tx, by=SYSTEM, project=name, at=now))
    return begun


def name_days(ground: Ground) -> int:
    """Give the days of words from before there were such the key by which rules find a day; how many.

    It seals none of them: it goes with the words, and copies of these still open by the person's key.
    """
    with ground.db.read() as conn:
        names = [period.key for period in retention.nameless(conn)]
    ground.keyring.ensure(*names)
    return len(names)


@dataclass(slots=True, kw_only=True)
class Keeper(Looking):
    """The thread that looks. `start` and `stop` it with control."""

    name = "keeper"

    parts: Parts
    leads: Callable[[], bool] = lambda: True
    every: float = EVERY
    first_after: float = FIRST_AFTER
    _named: bool = False

    def look(self) -> None:
        """Once: what is over begins to go, and now and then the size is noted; neither while the clock is
        doubted, for it is the samples that say when it was believed last."""
        ground = self.parts.ground
        if self.parts.doubt.look(ground.clock(), _last_sample(ground)):
            return
        if not self._named:
            name_days(ground)
            self._named = True
        if begin_due(ground):
            self.parts.wake()
        sample(self.parts)
        carried.mend(ground)  # whoever changed the epoch key may have died before writing this anew

    def _run(self) -> None:
        pause = self.first_after
        while not self._over.wait(pause):
            pause = self.every
            try:
                if self.leads():
                    self.look()
            except (Failure, OSError, sa.exc.SQLAlchemyError) as error:  # away or full: the next look will do
                _log.error("retention was not looked at: %s", type(error).__name__)


# -- how large everything is ------------------------------------------------------------------------


def sample(parts: Parts) -> None:
    """Note answers and bytes, at most once an hour."""
    ground = parts.ground
    now, last = ground.clock(), _last_sample(ground)
    if last is not None and now - last < SAMPLED:
        return
    with ground.db.read() as conn:
        count = int(conn.scalar(sa.select(sa.func.count()).select_from(answers)) or 0)
    row = {"at": now, "answers": count, "bytes": size(parts)}
    with ground.db.write() as tx:
        tx.execute(samples.delete().where(samples.c.at < now - REMEMBERED))
        tx.execute(samples.insert().values(row))


def _last_sample(ground: Ground) -> int | None:
    with ground.db.read() as conn:
        last: int | None = conn.scalar(sa.select(sa.func.max(samples.c.at)))
    return last


def size(parts: Parts) -> int:
    """Bytes of rows, ledger, spools and objects that are files here."""
    home, ground = parts.home, parts.ground
    kept = sum(_below(folder) for folder in (home.ledger, home.spool, home.blobs))
    return kept + _size_of_rows(home, ground)


def _size_of_rows(home: Home, ground: Ground) -> int:
    if ground.db.is_sqlite:
        return home.database.stat().st_size
    with ground.db.read() as conn:
        return postgres.size(conn)


def _below(folder: Any) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue  # it went while we looked
    return total


def forecast(parts: Parts) -> dict[str, Any]:
    """Free bytes, bytes an answer as measured here, answers a day, and when the disk would be full.

    Of the last week; without two samples in it there is no forecast.
    """
    stat = os.statvfs(parts.home.control)
    free = stat.f_bavail * stat.f_frsize
    said: dict[str, Any] = {"free": free, "bytes_per_answer": None, "answers_per_day": None, "full_at": None}
    now = parts.ground.clock()
    with parts.ground.db.read() as conn:
        rows = conn.execute(sa.select(samples).where(samples.c.at >= now - WEEK).order_by(samples.c.at)).all()
    if len(rows) < 2 or rows[-1].at <= rows[0].at:
        return said
    micros = rows[-1].at - rows[0].at
    grown, more = rows[-1].bytes - rows[0].bytes, rows[-1].answers - rows[0].answers
    said["answers_per_day"] = round(more * 86_400_000_000 / micros)
    if more > 0 and grown > 0:
        said["bytes_per_answer"] = round(grown / more)
    if grown > 0 and (left := int(free / (grown / micros))) < FURTHEST:
        said["full_at"] = now + left
    return said


# -- rules and holds --------------------------------------------------------------------------------


def shown(ground: Ground, project: str) -> dict[str, Any]:
    """The rules of a project, the holds that stand, what is over by now, and what data sets end when."""
    now = ground.clock()
    with ground.db.read() as conn:
        projects.find(conn, project)
        rules = retention.rules_of(conn, project)
        standing = holds.standing(conn, project).holds
        data = retention.ends(conn, project)
    due = retention.due(ground, project, now)
    return {
        "rules": [rule_told(rule) for rule in rules],
        "holds": [_hold(hold) for hold in standing],
        "data": data,
        "due": {
            "days": len(due.periods),
            "data": len(due.versions),
            "runs": len(due.runs),
            "held": due.held,
        },
    }


def rule_told(rule: retention.Rule) -> dict[str, Any]:
    """A rule as it is told."""
    level = None if rule.sensitivity is None else Sensitivity(rule.sensitivity).word
    is_of_runs = rule.purpose == retention.RUNS
    said = {"what": "runs" if is_of_runs else "words", "purpose": None if is_of_runs else rule.purpose}
    return {**said, "sensitivity": level, "keep": rule.keep, "set_at": rule.set_at}


def _hold(hold: Hold) -> dict[str, Any]:
    """A hold without its words; of a person only that it is one."""
    said = {name: getattr(hold, name) for name in ("id", "what", "placed_by", "placed_at", "ended_at")}
    return {**said, "object": "a person" if hold.what == "subject" else hold.object}


def place_hold(ground: Ground, *, by: Principal, project: str, what: str, object: str, because: str) -> str:
    """Begin a hold; its id. A person is named as the data names them, and becomes an HMAC."""
    reason = words.checked_reason(because, needed_for="a legal hold")
    named = _object(ground, project, what, object)
    with ground.db.write() as tx:
        sealed = words.seal_words(ground, project, tx.at, f"hold/{project}", reason)
        told = words.commit_words(ground, project, tx.at, f"hold/{project}", reason)
        kind: What = what  # type: ignore[assignment]  # `_object` refused what is none
        return holds.place(
            tx, by=by, project=project, what=kind, object=named, because=sealed, commitment=told
        )


def end_hold(ground: Ground, hold: Hold, *, by: Principal, because: str) -> None:
    """End a hold. What was due meanwhile goes with the next purge."""
    reason = words.checked_reason(because, needed_for="ending a legal hold")
    with ground.db.write() as tx:
        told = words.commit_words(ground, hold.project, tx.at, f"hold/{hold.project}", reason)
        holds.end(tx, by=by, hold=hold, commitment=told)


def held(ground: Ground, project: str) -> list[dict[str, Any]]:
    """Every hold there was, the newest first, with its reason in clear."""
    with ground.db.read() as conn:
        projects.find(conn, project)
        every = holds.listed(conn, project)
    return [
        {**_hold(hold), "because": words.open_words(ground, f"hold/{project}", hold.because)}
        for hold in every
    ]


def _object(ground: Ground, project: str, what: str, object: str) -> str:
    if what not in get_args(What):
        raise BadInput(
            what=f"nothing is held by `{what[:20]}`",
            why=f"a hold is of {', '.join(get_args(What))}",
            hint="freehold hold place PROJECT --service NAME --because 'case 12/2026'",
        )
    if what == "everything":
        return EVERYTHING
    if what == "subject":
        return ground.keyring.subject(project, object)
    kind: What = what  # type: ignore[assignment]  # it is one of them
    with ground.db.read() as conn:
        holds.refuse_unknown(conn, project, kind, object)
    return object
