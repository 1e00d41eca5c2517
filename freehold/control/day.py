"""What the last 24 hours were like: answers by hour, the line they came along, and what it took.

Reading only. Hours are whole ones, the present one last; everything is counted from rows, within the
projects the reader may see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from freehold.release import shadows
from freehold.release.views import RUNNING
from freehold.spec.config import Config
from freehold.store.tables import (
    answers,
    approvals,
    data_versions,
    datasets,
    entries,
    models,
    outbox,
    projects,
    releases,
    runs,
    services,
)

HOUR = 3_600_000_000
"""Microseconds."""
HOURS = 24
ENDINGS = ("answered", "denied", "cut off", "failed")


def first_hour(at: int) -> int:
    """The beginning of the oldest of the hours that are told."""
    return (at // HOUR - HOURS + 1) * HOUR


# -- answers hour by hour -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slice:
    """Answers of one hour, service, release and ending; `ending` is none while they are under way."""

    hour: int
    service: str
    release: str | None
    ending: str | None
    count: int
    micros: int


def slices(conn: sa.Connection, seen: Sequence[str], at: int) -> list[Slice]:
    """The last 24 hours in these projects without copies for shadows, from one index alone."""
    return _slices(conn, seen, at, given(conn))


def _slices(conn: sa.Connection, seen: Sequence[str], at: int, which: sa.ColumnElement[bool]) -> list[Slice]:
    a = answers.c
    hour = (a.at // HOUR).label("hour")
    count, micros = sa.func.count(), sa.func.coalesce(sa.func.sum(a.micros), 0)
    query = (
        sa.select(hour, a.service, a.release, a.ending, count, micros)
        .where(a.project.in_(seen), a.at >= first_hour(at), which)
        .group_by(hour, a.service, a.release, a.ending)
    )
    return [Slice(int(h) * HOUR, s, r, e, int(n), int(m)) for h, s, r, e, n, m in conn.execute(query)]


def given(conn: sa.Connection) -> sa.ColumnElement[bool]:
    """What was asked for somebody: without the answers of shadows, as far as the index alone tells."""
    alone, release = shadows.shadows_alone(conn), answers.c.release
    return sa.or_(release.is_(None), release.not_in(alone)) if alone else sa.true()


def _copies(conn: sa.Connection, seen: Sequence[str], at: int) -> list[Slice]:
    """What shadows were asked: nobody was given it, and it takes the device as any answer does."""
    alone = shadows.shadows_alone(conn)
    return _slices(conn, seen, at, answers.c.release.in_(alone)) if alone else []


def p95(conn: sa.Connection, seen: Sequence[str], hour: int, answered: int) -> int | None:
    """Microseconds within which 95 of 100 answers of an hour were given, of `answered` in all."""
    if not answered:
        return None
    a = answers.c
    query = (
        sa.select(a.micros)
        .where(a.project.in_(seen), a.at >= hour, a.at < hour + HOUR, a.ending == "answered", given(conn))
        .order_by(a.micros)
        .offset(max(0, -(-answered * 95 // 100) - 1))
        .limit(1)
    )
    found: int | None = conn.scalar(query)
    return found


# -- answers against records --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Since the installation began: ended answers, and the entries that say so."""

    answers: int
    records: int
    """With a place in the ledger."""
    on_their_way: int
    """Entries that get their place this second."""


def totals(conn: sa.Connection, seen: Sequence[str]) -> Totals:
    """Counted from two tables that nothing but the truth keeps equal."""
    closed = sa.select(sa.func.count()).where(answers.c.project.in_(seen), answers.c.ending.in_(ENDINGS))
    kept = entries.c.kind == "answer.close", entries.c.project.in_(seen)
    one = sa.exists().where(entries.c.id == outbox.c.id, *kept)  # looked up for each of the few that wait
    waiting = int(conn.scalar(sa.select(sa.func.count()).select_from(outbox).where(one)) or 0)
    recorded = int(conn.scalar(sa.select(sa.func.count()).where(*kept)) or 0)
    return Totals(answers=int(conn.scalar(closed) or 0), records=recorded - waiting, on_their_way=waiting)


# -- the line -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A service with what it stands on, as far as the line is drawn."""

    service: str
    project: str
    state: str
    kind: str
    sensitivity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A model version on the line."""

    id: str
    ref: str
    state: str
    sensitivity: int
    service: str | None
    """The service it answers, or asks to answer."""
    waiting: int
    """Approvals that wait for people."""
    releases: tuple[str, ...]
    """Those that get traffic."""
    data: str | None
    """The data set version it learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set version on the line."""

    id: str
    project: str
    ref: str
    rows: int
    sensitivity: int


def stages(conn: sa.Connection, seen: Sequence[str]) -> list[Stage]:
    """The services that answer, are stopped, or wait for their first release."""
    s = services.c
    columns = (s.name, s.project, s.state, s.kind, s.sensitivity)
    query = sa.select(*columns).where(s.project.in_(seen)).order_by(s.name)
    rows = conn.execute(query)
    return [Stage(service=n, project=p, state=st, kind=k, sensitivity=x) for n, p, st, k, x in rows]


def versions(conn: sa.Connection, seen: Sequence[str], most: int = 24) -> list[Version]:
    """Model versions with traffic, with approvals that wait, and the newest held ones."""
    running = _by_model(conn, sa.select(releases.c.model, releases.c.id, releases.c.service).where(
        releases.c.state.in_(RUNNING), releases.c.model.is_not(None)
    ))  # fmt: skip
    asked = _by_model(conn, sa.select(approvals.c.model, approvals.c.id, approvals.c.service).where(
        approvals.c.state == "waiting", approvals.c.project.in_(seen)
    ))  # fmt: skip
    held = (
        sa.select(models.c.id).where(models.c.state == "held").order_by(models.c.created_at.desc()).limit(4)
    )
    query = (
        sa.select(models, runs.c.data_version, runs.c.service.label("for_service"))
        .select_from(models.outerjoin(runs, runs.c.id == models.c.run))
        .where(models.c.project.in_(seen), models.c.id.in_([*running, *asked, *conn.scalars(held)]))
        .order_by(models.c.created_at.desc())
        .limit(most)
    )
    return [_version(row, running, asked) for row in conn.execute(query)]


def _by_model(conn: sa.Connection, query: sa.Select[Any, Any, str]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for model, id, service in conn.execute(query):
        found.setdefault(model, []).append((id, service))
    return found


def _version(
    row: sa.Row[Any],
    running: dict[str, list[tuple[str, str]]],
    asked: dict[str, list[tuple[str, str]]],
) -> Version:
    said = row._mapping
    serves, asks = running.get(said["id"], []), asked.get(said["id"], [])
    service = next((service for _, service in (*serves, *asks)), said["for_service"])
    return Version(
        id=said["id"],
        ref=f"{said['name']}@{said['version']}",
        state=said["state"],
        sensitivity=said["sensitivity"],
        service=service,
        waiting=len(asks),
        releases=tuple(id for id, _ in serves),
        data=said["data_version"],
    )


def sources(conn: sa.Connection, ids: Sequence[str]) -> list[Source]:
    """These data set versions."""
    v, d = data_versions.c, datasets.c
    query = (
        sa.select(v.id, d.project, d.name, v.version, v.rows, d.sensitivity)
        .join(datasets, d.id == v.dataset)
        .where(v.id.in_(ids))
        .order_by(d.name, v.version)
    )
    return [
        Source(id=i, project=p, ref=f"{n}@{x}", rows=int(r), sensitivity=s)
        for i, p, n, x, r, s in conn.execute(query)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A release that began or was taken back today."""

    at: int
    service: str
    word: str


def events(conn: sa.Connection, seen: Sequence[str], at: int, most: int = 12) -> list[Event]:
    """The newest releases of the last 24 hours, oldest first."""
    r = releases.c
    query = (
        sa.select(r.created_at, r.service, r.state, models.c.name, models.c.version)
        .select_from(
            releases.join(services, services.c.name == r.service).outerjoin(models, models.c.id == r.model)
        )
        .where(services.c.project.in_(seen), r.created_at >= first_hour(at))
        .order_by(r.created_at.desc())
        .limit(most)
    )
    return [
        Event(at=begun, service=service, word=f"{f'{name}@{version}' if name else 'a provider'} on {service}")
        for begun, service, _, name, version in reversed(conn.execute(query).all())
    ]


# -- what it took -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Device-hours, energy and money of 24 hours; all of it estimated."""

    hours: float
    """How long the device was there: since the first of the hours, or since the installation began."""
    training: float
    serving: float
    kwh: Decimal
    energy_cost: Decimal
    provider_costs: dict[str, Decimal]
    """What providers charged, by currency."""

    @property
    def idle(self) -> float:
        return max(0.0, self.hours - self.training - self.serving)

    @property
    def used(self) -> float:
        return (self.hours - self.idle) / self.hours if self.hours else 0.0


def meter(
    conn: sa.Connection, seen: Sequence[str], told: Sequence[Slice], config: Config, at: int, began: int
) -> Meter:
    """Runs by their wall-clock time, answers of our own models by the time from first byte to last.

    Answers at the same moment count once an hour is full; providers' answers take no device of ours. Copies
    for shadows, which are not among those `told`, count too.
    """
    start = max(first_hour(at), began)
    hours = max((at - start) / HOUR, 1 / 3600)
    training, watt_hours = _training(conn, seen, start, at)
    serving = _serving(conn, [*told, *_copies(conn, seen, at)])
    kwh = Decimal(str(watt_hours)) / 1000 + Decimal(str(serving)) * Decimal(config.watts_per_core) / 1000
    return Meter(
        hours=hours,
        training=min(training, hours),
        serving=min(serving, max(0.0, hours - training)),
        kwh=kwh,
        energy_cost=kwh * Decimal(config.tariff),
        provider_costs=_provider_costs(conn, seen, start),
    )


def _training(conn: sa.Connection, seen: Sequence[str], start: int, at: int) -> tuple[float, float]:
    """Hours and watt-hours of runs, each with the part of it that lies after `start`."""
    r = runs.c
    query = sa.select(r.started_at, r.ended_at, r.wall_seconds, r.watt_hours).where(
        r.project.in_(seen), sa.or_(r.ended_at >= start, sa.and_(r.ended_at.is_(None), r.state == "running"))
    )
    hours = watt_hours = 0.0
    for began, ended, wall, energy in conn.execute(query):
        whole = max(1, (ended or at) - began)
        part = ((ended or at) - max(began, start)) / whole
        hours += (wall / 3600 if ended else whole / HOUR) * part
        watt_hours += energy * part
    return hours, watt_hours


def _serving(conn: sa.Connection, told: Sequence[Slice]) -> float:
    attached = set(conn.scalars(sa.select(services.c.name).where(services.c.kind == "attached")))
    by_hour: dict[int, int] = {}
    for piece in told:
        if piece.service not in attached:
            by_hour[piece.hour] = by_hour.get(piece.hour, 0) + piece.micros
    return sum(min(micros, HOUR) for micros in by_hour.values()) / HOUR


def _provider_costs(conn: sa.Connection, seen: Sequence[str], start: int) -> dict[str, Decimal]:
    """Sums per currency; only answers of attached services cost money, and there are few such services."""
    a = answers.c
    total: dict[str, Decimal] = {}
    query = (
        sa.select(projects.c.currency, a.cost, sa.func.count())
        .select_from(answers.join(projects, projects.c.name == a.project))
        .join(services, sa.and_(services.c.name == a.service, services.c.kind == "attached"))
        .where(a.project.in_(seen), a.at >= start, a.cost != "0")
        .group_by(projects.c.currency, a.cost)
    )
    for currency, cost, count in conn.execute(query):
        total[currency] = total.get(currency, Decimal(0)) + Decimal(cost) * count
    return total


def began(conn: sa.Connection) -> int:
    """When the installation began."""
    query = sa.select(sa.func.min(entries.c.at)).where(entries.c.kind == "installation.created")
    return int(conn.scalar(query) or 0)
