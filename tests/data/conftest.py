"""A ground with a project, a person who adds, and files as bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.data import intake
from freehold.data.intake import Added, Intake
from freehold.ledger.record import record
from freehold.spec.principal import SYSTEM, Principal
from freehold.store import tables
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Database

TOM = Principal(kind="person", id="per_tom", zone="control", key="key_tom")

Add = Callable[..., Added]


@pytest.fixture
def ground(db: Database, keyring: Keyring, blobs: FileBlobs, clock: Any) -> Ground:
    ground = Ground(
        db=db,
        keyring=keyring,
        blobs=blobs,
        release_key=Ed25519PrivateKey.generate(),
        origin="test",
        clock=clock,
    )
    with db.write() as tx:
        for name in ("claims", "other"):
            row = {"name": name, "timezone": "UTC", "currency": "EUR", "state": "active"}
            tx.execute(tables.projects.insert().values(**row, created_at=tx.at))
            record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})
    return ground


DECLARED: dict[str, Any] = {
    "name": "inbox",
    "purposes": ("claims-handling",),
    "basis": "contract",
    "sensitivity": "Confidential",
    "owner": "claims-platform",
    "keep": "3y",
    "regions": ("eu",),
}


@pytest.fixture
def add(ground: Ground) -> Add:
    """Add bytes as a file: `add(b"a,b\\n1,2\\n", subject=("a",))`."""

    def adding(
        data: bytes | str, *, format: str = "csv", project: str = "claims", also: Any = None, **said: Any
    ) -> Added:
        source = io.BytesIO(data.encode() if isinstance(data, str) else data)
        request = Intake(**(DECLARED | said))
        return intake.add(
            ground, by=TOM, project=project, request=request, source=source, format=format, also=also
        )

    return adding


@pytest.fixture
def stored(ground: Ground) -> Callable[[], dict[str, set[str]]]:
    """Everything an intake can leave: rows, objects, names of keys."""

    def look() -> dict[str, set[str]]:
        with ground.db.read() as conn:
            found = {
                table.name: {str(row) for row in conn.execute(sa.select(table))}
                for table in (
                    tables.datasets,
                    tables.data_versions,
                    tables.data_subjects,
                    tables.consents,
                    tables.intakes,
                    tables.entries,
                )
            }
        names = ground.keyring._db.execute("SELECT name FROM keys").fetchall()
        return found | {"blobs": set(ground.blobs.list()), "keys": {name for (name,) in names}}

    return look


@pytest.fixture
def entries(ground: Ground) -> Callable[[str], list[dict[str, Any]]]:
    """The details of all entries of a kind, oldest first."""

    def of(kind: str) -> list[dict[str, Any]]:
        e = tables.entries.c
        with ground.db.read() as conn:
            bodies = conn.execute(sa.select(e.body).where(e.kind == kind).order_by(e.at)).scalars()
            return [json.loads(body)["detail"] for body in bodies]

    return of
