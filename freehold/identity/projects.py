"""Projects: the walls between teams. Everything belongs to one."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound
from freehold.ledger.record import record
from freehold.spec.ids import check_name
from freehold.spec.limits import most
from freehold.spec.principal import Principal
from freehold.store.rows import Tx
from freehold.store.tables import projects

_CURRENCY = re.compile(r"[A-Z]{3}")


class ProjectExists(Conflict):
    """there is a project `{name}` already"""


class BadTimezone(BadInput):
    """`{name}` is not a time zone"""


class BadCurrency(BadInput):
    """`{name}` is not a currency"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as its row says."""

    name: str
    timezone: str
    """Where its days begin and end, for budgets and retention."""
    currency: str
    state: str
    created_at: int
    limits: str = ""
    """What all its services may use together; empty means no limit."""
    guards: str = ""
    """What they are guarded by at least, as `identity.floors` writes it."""


def add(tx: Tx, *, by: Principal, name: str, timezone: str = "UTC", currency: str = "EUR") -> Project:
    """Begin a project. Raises BadName, BadTimezone, BadCurrency, ProjectExists."""
    project = Project(
        name=check_name(name, "project"),
        timezone=_checked_timezone(timezone),
        currency=_checked_currency(currency),
        state="active",
        created_at=tx.at,
    )
    if _row(tx.connection, name) is not None:
        raise ProjectExists(
            name=name,
            why="a name is given once, for good",
            hint="`freehold project list` shows what there is",
        )
    tx.execute(
        projects.insert().values(
            name=project.name,
            timezone=project.timezone,
            currency=project.currency,
            state=project.state,
            created_at=project.created_at,
        )
    )
    record(tx, "project.added", by=by, object=name, project=name, detail={"name": name})
    return project


def limit(tx: Tx, *, by: Principal, name: str, limits: str) -> Project:
    """Say what all services of a project may use together; empty lifts it. Raises BadLimit, NotFound."""
    project = find(tx.connection, name)
    text = limits.strip()
    most(text, project.currency)
    tx.execute(projects.update().where(projects.c.name == name).values(limits=text or None))
    detail = {"name": name, "limits": text, "before": project.limits}
    record(tx, "project.limited", by=by, object=name, project=name, detail=detail)
    return replace(project, limits=text)


def find(conn: sa.Connection, name: str) -> Project:
    """The project called `name`. Raises NotFound."""
    row = _row(conn, name)
    if row is None:
        raise NotFound(
            kind="project", name=name[:80], hint="`freehold project list` shows the projects you may see"
        )
    return _project(row)


def listed(conn: sa.Connection) -> tuple[Project, ...]:
    """Every project, by name."""
    return tuple(_project(row) for row in conn.execute(sa.select(projects).order_by(projects.c.name)))


def _row(conn: sa.Connection, name: str) -> sa.Row[Any] | None:
    return conn.execute(sa.select(projects).where(projects.c.name == name)).first()


def _project(row: sa.Row[Any]) -> Project:
    return Project(
        name=row.name,
        timezone=row.timezone,
        currency=row.currency,
        state=row.state,
        created_at=row.created_at,
        limits=row.limits or "",
        guards=row.guards or "",
    )


def _checked_timezone(name: str) -> str:
    known = zoneinfo.available_timezones()
    if name in known:
        return name
    near = difflib.get_close_matches(name, sorted(known), n=1)
    raise BadTimezone(
        name=name[:40],
        why="it is not in the time zone database",
        hint=f"did you mean `{near[0]}`?" if near else "write it like `Europe/Vienna`",
    )


def _checked_currency(code: str) -> str:
    if _CURRENCY.fullmatch(code):
        return code
    raise BadCurrency(
        name=code[:40], why="it is written with the three letters of ISO 4217", hint="such as `EUR`"
    )
