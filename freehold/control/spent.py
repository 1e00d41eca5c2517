"""What each model took so far: energy of the runs behind it and of its answers; the parts sum to the whole.

Reckoned as the day's meter is (`control.day`): runs by the seconds that a core was busy, answers by the time
from first byte to last, and no more than an hour of it in an hour, shared out by that time. A copy
for a shadow takes the device and is nobody's answer: its energy counts, it does not. No meter is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from freehold.control.day import HOUR
from freehold.release import shadows
from freehold.spec.config import Config
from freehold.store.tables import answers, models, releases, runs, services

NO_MODEL = ""
"""Of runs that left no model, and of answers that no model gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One version of a model."""

    model: str
    """`name@version`, or NO_MODEL."""
    runs: int
    trained: float
    """Watt-hours of its runs, evaluations too."""
    answers: int
    """Without copies for a shadow: nobody was given them."""
    served: float
    """Watt-hours of its answers, copies too."""


@dataclass(slots=True)
class _Sum:
    count: int = 0
    watt_hours: float = 0.0

    def add(self, count: int, watt_hours: float) -> None:
        self.count += count
        self.watt_hours += watt_hours


def spent(
    conn: sa.Connection, seen: Sequence[str], config: Config, service: str | None = None
) -> tuple[Spent, ...]:
    """Of the projects `seen`, or of one service in them; those that took the most come first."""
    trained = _trained(conn, seen, service)
    served = _served(conn, seen, float(config.watts_per_core), service)
    names = _names(conn, {*trained, *served})
    found = [
        Spent(
            model=names.get(model, NO_MODEL),
            runs=trained.get(model, _Sum()).count,
            trained=trained.get(model, _Sum()).watt_hours,
            answers=served.get(model, _Sum()).count,
            served=served.get(model, _Sum()).watt_hours,
        )
        for model in {*trained, *served}
    ]
    return tuple(sorted(found, key=lambda one: (-one.trained - one.served, one.model)))


def _trained(conn: sa.Connection, seen: Sequence[str], service: str | None) -> dict[str | None, _Sum]:
    r = runs.c
    query = (
        sa.select(r.model, sa.func.count(), sa.func.coalesce(sa.func.sum(r.watt_hours), 0.0))
        .where(r.project.in_(seen), *([r.service == service] if service else []))
        .group_by(r.model)
    )
    return {model: _Sum(int(count), float(energy)) for model, count, energy in conn.execute(query)}


def _served(
    conn: sa.Connection, seen: Sequence[str], watts: float, service: str | None
) -> dict[str | None, _Sum]:
    """By the model of each release; providers' answers take no device of ours."""
    released = conn.execute(sa.select(releases.c.id, releases.c.model))
    model_of: dict[str | None, str | None] = {row.id: row.model for row in released}
    alone = frozenset(shadows.shadows_alone(conn))
    found: dict[str | None, _Sum] = {}
    for release, count, hours in _shared(_hours(conn, seen), service):
        found.setdefault(model_of.get(release), _Sum()).add(0 if release in alone else count, hours * watts)
    return found


_Hour = Mapping[tuple[str, str | None], tuple[int, int]]
"""(service, release) -> (answers, microseconds), of one hour."""


def _hours(conn: sa.Connection, seen: Sequence[str]) -> Iterator[_Hour]:
    """Each hour in which anything was answered, from one index without touching the rows."""
    attached = set(conn.scalars(sa.select(services.c.name).where(services.c.kind == "attached")))
    a = answers.c
    hour = (a.at // HOUR).label("hour")
    count, micros = sa.func.count(), sa.func.coalesce(sa.func.sum(a.micros), 0)
    query = (
        sa.select(hour, a.service, a.release, count, micros)
        .where(a.project.in_(seen))
        .group_by(hour, a.service, a.release)
    )
    hours: dict[int, dict[tuple[str, str | None], tuple[int, int]]] = {}
    for at, service, release, number, took in conn.execute(query):
        if service not in attached:
            hours.setdefault(int(at), {})[service, release] = (int(number), int(took))
    yield from hours.values()


def _shared(hours: Iterator[_Hour], service: str | None) -> Iterator[tuple[str | None, int, float]]:
    """(release, answers, hours of the device): an hour that is full is shared out by the time each took."""
    for hour in hours:
        took = sum(micros for _, micros in hour.values())
        held = min(1.0, HOUR / took) if took else 0.0
        for (of, release), (count, micros) in hour.items():
            if service in (None, of):
                yield release, count, micros * held / HOUR


def _names(conn: sa.Connection, ids: set[str | None]) -> dict[str | None, str]:
    m = models.c
    query = sa.select(m.id, m.name, m.version).where(m.id.in_([id for id in ids if id]))
    return {id: f"{name}@{version}" for id, name, version in conn.execute(query)}
