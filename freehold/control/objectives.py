"""How services keep what was declared of them, counted from the records of their answers. Reading only.

What was asked and may be asked counts: `answered`; `failed`; `cut off` where the caller had not left. Who is
denied, who leaves, what is under way and what a shadow made of a copy say nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from freehold.control.day import HOUR, given
from freehold.release import services
from freehold.spec.answer import GONE
from freehold.spec.objectives import Counted, Kept, Objective, read_all
from freehold.store.tables import answers

SLOW = 0.05
"""Seconds: what took longer to count is not counted again at once."""
REMEMBERED = 15_000_000
"""Microseconds for which it is told as it was."""


def declared(service: services.Row) -> tuple[Objective, ...]:
    """What a service has to keep."""
    return read_all(services.spec_of(service).get("objectives", ()))


@dataclass(slots=True)
class Objectives:
    """How services keep their objectives, and how they did a moment ago where counting takes long."""

    _told: dict[str, tuple[int, tuple[Kept, ...]]] = field(default_factory=dict)

    def of(self, conn: sa.Connection, service: services.Row, at: int) -> tuple[Kept, ...]:
        """How this service keeps each of its objectives at that time."""
        name, wanted = service["name"], declared(service)
        then, told = self._told.get(name, (0, ()))
        if 0 <= at - then < REMEMBERED and tuple(one.objective for one in told) == wanted:
            return told
        began = time.perf_counter()
        found = count(conn, service, wanted, at)
        if time.perf_counter() - began > SLOW:
            self._told[name] = (at, found)
        return found

    def missed(
        self, conn: sa.Connection, at: int, projects: Collection[str] | None = None
    ) -> dict[str, list[str]]:
        """service -> what it misses; in these projects, or in all."""
        rows = [row for row in services.listed(conn) if projects is None or row["project"] in projects]
        every = {row["name"]: self.of(conn, row, at) for row in rows}
        found = {name: [str(k.objective) for k in kept if k.holds is False] for name, kept in every.items()}
        return {name: texts for name, texts in found.items() if texts}


def count(
    conn: sa.Connection, service: services.Row, wanted: tuple[Objective, ...], at: int
) -> tuple[Kept, ...]:
    """How they are kept: one look at the records for each span among them, and one at the last hour."""
    if not wanted:
        return ()
    bounds = {one.within for one in wanted if one.within is not None}
    looks = {span: _Look(conn, service, at - span * 1_000_000, bounds) for span in {o.span for o in wanted}}
    hour = _Look(conn, service, at - HOUR, bounds)
    return tuple(Kept(objective=one, span=looks[one.span].of(one), hour=hour.of(one)) for one in wanted)


class _Look:
    """How the answers of a service since some time ended, from one index; of those cut off, why."""

    def __init__(
        self, conn: sa.Connection, service: Mapping[str, Any], since: int, bounds: Collection[int]
    ) -> None:
        a = answers.c
        here = (a.project == service["project"], a.service == service["name"], a.at >= since, given(conn))

        def ended(word: str, *more: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
            return sa.func.count().filter(a.ending == word, *more)

        within = [ended("answered", a.micros <= bound) for bound in bounds]
        row = conn.execute(sa.select(ended("answered"), ended("failed"), *within).where(*here)).one()
        cut = sa.select(sa.func.count()).where(*here, a.ending == "cut off", a.reason != GONE)
        self._answered, self._failed = int(row[0]), int(row[1]) + int(conn.scalar(cut) or 0)
        self._within = dict(zip(bounds, map(int, row[2:]), strict=True))

    def of(self, one: Objective) -> Counted:
        if one.within is None:
            return Counted(all=self._answered + self._failed, bad=self._failed)
        return Counted(all=self._answered, bad=self._answered - self._within[one.within])
