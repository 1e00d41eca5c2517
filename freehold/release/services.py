"""A service's row: what was declared of it. Owned here; traffic comes only by a release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, NotFound
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest
from freehold.spec.plain import plain
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.service import Service
from freehold.store.rows import Tx
from freehold.store.tables import people, services

Row = Mapping[str, Any]


class NameTaken(Conflict):
    """the name `{name}` is taken"""


def find(conn: sa.Connection, name: str) -> Row:
    """A service's row. Raises NotFound."""
    row = conn.execute(sa.select(services).where(services.c.name == name)).mappings().first()
    if row is None:
        raise NotFound(kind="service", name=name[:80], hint="`freehold status` lists the services")
    return dict(row)


def hold(tx: Tx, name: str) -> Row:
    """A service's row, held until the transaction ends: whoever changes its traffic waits here.

    On SQLite there is one writer anyway. Raises NotFound.
    """
    tx.execute(sa.select(services.c.name).where(services.c.name == name).with_for_update())
    return find(tx.connection, name)


def listed(conn: sa.Connection, project: str | None = None) -> list[Row]:
    """All services, or those of one project, by name."""
    query = sa.select(services).order_by(services.c.name)
    if project is not None:
        query = query.where(services.c.project == project)
    return [dict(row) for row in conn.execute(query).mappings()]


def spec_of(row: Row) -> dict[str, Any]:
    """What was declared, as plain data."""
    return dict(json.loads(row["spec"]))


def owner_ids(conn: sa.Connection, owner: str) -> frozenset[str]:
    """Everything that means the owner: the text itself, and the person's id behind an address."""
    found = conn.scalar(sa.select(people.c.id).where(sa.func.lower(people.c.email) == owner.lower()))
    return frozenset({owner} | ({str(found)} if found else set()))


def declare(tx: Tx, *, by: Principal, service: Service, owner: str) -> None:
    """Write a service down, as `new`: no gateway hears of it before its first release.

    Silent when it is there already; `change` brings a new declaration in force, together with the
    release that was approved under it. Raises NameTaken.
    """
    there = _mine(tx.connection, service)
    if there is not None:
        return
    values = _declared(service, owner)
    tx.execute(
        services.insert().values(
            name=service.service,
            project=service.project,
            kind="own",
            provider="{}",
            state="new",
            because="",
            created_at=tx.at,
            changed_at=tx.at,
            **values,
        )
    )
    _note(tx, by, service, values["spec_digest"], before=None)


def change(tx: Tx, *, by: Principal, service: Service, owner: str) -> None:
    """Bring a new declaration in force; silent when it says the same. Raises NotFound, NameTaken."""
    there = _mine(tx.connection, service)
    if there is None:
        raise NotFound(kind="service", name=service.service)
    values = _declared(service, owner)
    if there["spec_digest"] == values["spec_digest"] and there["owner"] == values["owner"]:
        return
    tx.execute(services.update().where(services.c.name == service.service).values(changed_at=tx.at, **values))
    _note(tx, by, service, values["spec_digest"], before=there["spec_digest"])


def _mine(conn: sa.Connection, service: Service) -> Row | None:
    """The row of this name, when it is this project's own kind of service."""
    row = conn.execute(sa.select(services).where(services.c.name == service.service)).mappings().first()
    if row is None:
        return None
    if row["project"] != service.project or row["kind"] != "own":
        raise NameTaken(
            name=service.service,
            why="callers name a service without its project, so a name is given once",
            hint="choose another name",
        )
    return dict(row)


def _declared(service: Service, owner: str) -> dict[str, Any]:
    spec = plain(service)
    return {
        "owner": owner,
        "purpose": service.purpose,
        "sensitivity": int(Sensitivity.parse(service.sensitivity)),
        "tier": service.tier,
        "spec": canonical(spec).decode(),
        "spec_digest": digest(spec),
    }


def _note(tx: Tx, by: Principal, service: Service, spec_digest: str, before: str | None) -> None:
    record(
        tx,
        "service.declared",
        by=by,
        object=service.service,
        project=service.project,
        detail={"service": service.service, "spec": spec_digest, "kind": "own", "before": before},
    )
