"""A small house for release: two projects, four people, the keys first run makes, and short ways."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from freehold.ledger.record import record
from freehold.spec.ids import canonical
from freehold.spec.principal import SYSTEM, Principal
from freehold.spec.snapshot import PAYLOAD_TYPE
from freehold.store import tables
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.rows import Database
from freehold.store.signing import Envelope, verify

PEOPLE = {
    "ann": ("claims", "model-risk"),
    "bob": ("claims", "data-protection"),
    "tim": ("claims", "trainer"),
    "olga": ("claims", "operator"),
    "otto": ("claims", "operator"),
    "eve": ("marketing", "model-risk"),
}


def person(name: str, *more: tuple[str, str]) -> Principal:
    """A principal as signing in would make it."""
    return Principal(
        kind="person",
        id=f"per_{name}",
        zone="control",
        key=f"key_{name}",
        roles=frozenset({PEOPLE[name], *more}),
    )


@pytest.fixture
def gateway_private() -> bytes:
    return X25519PrivateKey.generate().private_bytes_raw()


@pytest.fixture
def ground(
    db: Database, keyring: Keyring, blobs: FileBlobs, home: Home, clock: Any, gateway_private: bytes
) -> Ground:
    ground = Ground(
        db=db,
        keyring=keyring,
        blobs=blobs,
        release_key=Ed25519PrivateKey.generate(),
        origin="freehold.test/0",
        clock=clock,
    )
    _furnish(ground, gateway_private)
    return ground


def _furnish(ground: Ground, gateway_private: bytes) -> None:
    gateway = X25519PrivateKey.from_private_bytes(gateway_private).public_key().public_bytes_raw()
    with ground.db.write() as tx:
        at = tx.at
        for name, value in (("gateway_key", gateway), ("spool_key", b"s" * 32)):
            tx.execute(tables.settings.insert().values(name=name, value=base64.b64encode(value).decode()))
        for project in ("claims", "marketing"):
            tx.execute(
                tables.projects.insert().values(
                    name=project, timezone="UTC", currency="EUR", state="active", created_at=at
                )
            )
        for name, (project, role) in PEOPLE.items():
            tx.execute(
                tables.people.insert().values(
                    id=f"per_{name}", email=f"{name}@example.org", state="active", created_at=at
                )
            )
            tx.execute(
                tables.memberships.insert().values(
                    person=f"per_{name}", project=project, role=role, created_at=at
                )
            )
        record(
            tx, "installation.created", by=SYSTEM, object="test", detail={"origin": "test", "version": "0"}
        )


@pytest.fixture
def sequenced(ground: Ground) -> Callable[[], None]:
    """Gives every entry its place, as the sequencer would."""
    import sqlalchemy as sa

    def run() -> None:
        with ground.db.write() as tx:
            placed = tx.execute(sa.select(sa.func.coalesce(sa.func.max(tables.ledger.c.ix), -1))).scalar_one()
            todo = sa.select(tables.entries.c.id).where(
                tables.entries.c.id.not_in(sa.select(tables.ledger.c.id))
            )
            for entry in tx.execute(todo.order_by(tables.entries.c.at)).scalars().all():
                placed += 1
                tx.execute(tables.ledger.insert().values(ix=placed, id=entry, leaf=b"0" * 32))

    return run


@pytest.fixture
def snapshot(ground: Ground) -> Callable[[], dict[str, Any]]:
    """The newest snapshot, as a gateway reads it: the signature first."""
    import sqlalchemy as sa

    def read() -> dict[str, Any]:
        with ground.db.read() as conn:
            table = tables.snapshots
            text = conn.scalar(sa.select(table.c.envelope).order_by(table.c.ix.desc()).limit(1))
        payload = verify(
            ground.release_key.public_key(), Envelope.from_json(json.loads(str(text))), PAYLOAD_TYPE
        )
        said = json.loads(payload)
        assert canonical(said) == payload
        return dict(said)

    return read


@pytest.fixture
def recorded(ground: Ground) -> Callable[[str], list[dict[str, Any]]]:
    """The bodies of all entries of one kind, oldest first."""
    import sqlalchemy as sa

    def read(kind: str) -> list[dict[str, Any]]:
        table = tables.entries
        with ground.db.read() as conn:
            bodies = conn.scalars(sa.select(table.c.body).where(table.c.kind == kind).order_by(table.c.at))
            return [json.loads(body) for body in bodies]

    return read
