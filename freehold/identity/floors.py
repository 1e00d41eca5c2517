"""What a project's services are guarded by at least: by whom and since when stands in the ledger."""

from __future__ import annotations

import json
from dataclasses import replace

import sqlalchemy as sa

from freehold.identity import projects
from freehold.identity.projects import Project
from freehold.ledger.record import record
from freehold.spec import checks
from freehold.spec.floor import Floor
from freehold.spec.guard import BadGuard, read_guards
from freehold.spec.ids import canonical, check_name
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store import tables
from freehold.store.rows import Tx


def guard(tx: Tx, *, by: Principal, name: str, floor: Floor) -> Project:
    """Say what services of a purpose, from a sensitivity on, are guarded by at least; no words lift it.

    It takes the place of what was said of the same purpose and sensitivity. Raises BadGuard, BadName,
    NotFound.
    """
    tx.execute(sa.select(tables.projects.c.name).where(tables.projects.c.name == name).with_for_update())
    project = projects.find(tx.connection, name)
    check_words(floor.guard)
    if floor.purpose:
        check_name(floor.purpose, "purpose")
    said = (floor.purpose, floor.sensitivity)
    others = [one for one in read(project.guards) if (one.purpose, one.sensitivity) != said]
    text = written((*others, floor) if floor.guard else tuple(others))
    tx.execute(tables.projects.update().where(tables.projects.c.name == name).values(guards=text or None))
    detail = {"name": name, "guards": text, "before": project.guards}
    record(tx, "project.guarded", by=by, object=name, project=name, detail=detail)
    return replace(project, guards=text)


def check_words(words: tuple[str, ...]) -> None:
    """Every word is a guard, and does something. Raises BadGuard."""
    for side, said in read_guards(words).items():
        for finding in checks.guarding(("guard", side), side, said):
            raise BadGuard(word=".".join(map(str, finding.path)), why=finding.why, hint=finding.hint)
    for word in words:
        if word.endswith("=none"):
            raise BadGuard(word=word, why="it asks for nothing", hint="leave it out")


def read(text: str | None) -> tuple[Floor, ...]:
    """The rules of a project's row."""
    return tuple(Floor(**{**one, "guard": tuple(one["guard"])}) for one in json.loads(text or "[]"))


def written(floors: tuple[Floor, ...]) -> str:
    """The same as text, in the order of purpose and sensitivity; empty for none."""
    rows = [
        {"purpose": one.purpose, "sensitivity": one.sensitivity, "guard": list(one.guard)}
        for one in sorted(floors, key=lambda floor: (floor.purpose, floor.sensitivity))
    ]
    return canonical(rows).decode() if rows else ""


def floors_of(text: str | None, purpose: str, sensitivity: int) -> tuple[Floor, ...]:
    """Those that hold for a service."""
    return tuple(floor for floor in read(text) if floor.holds_for(purpose, sensitivity))


def least(conn: sa.Connection, project: str, purpose: str, sensitivity: int) -> list[str]:
    """What the project wants guarded of such a service, whatever it says of itself, in words."""
    text = conn.scalar(sa.select(tables.projects.c.guards).where(tables.projects.c.name == project))
    return [word for floor in floors_of(text, purpose, sensitivity) for word in floor.guard]


def in_words(text: str | None) -> list[dict[str, object]]:
    """The rules for people."""
    return [
        {
            "purpose": one.purpose or None,
            "sensitivity": Sensitivity(one.sensitivity).word,
            "guard": list(one.guard),
        }
        for one in read(text)
    ]
