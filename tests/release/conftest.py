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
from freehold.release import approvals, roll, services, versions
from freehold.release.versions import ModelVersion
from freehold.spec.ids import canonical
from freehold.spec.model import About
from freehold.spec.principal import SYSTEM, Principal
from freehold.spec.service import Approver, Gate, Limits, Model, Service
from freehold.spec.snapshot import PAYLOAD_TYPE, Column
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
        payload = verify(ground.release_key.public_key(), Envelope.from_kept(str(text)), PAYLOAD_TYPE)
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


def a_service(name: str = "claims-triage", **more: Any) -> Service:
    """A declaration as a file would make it."""
    said: dict[str, Any] = {
        "service": name,
        "project": "claims",
        "owner": "per_olga",
        "purpose": "claims-handling",
        "sensitivity": "Confidential",
        "model": Model(data="claims@1", task="classify"),
        "gates": {"quality": Gate(metric="macro_f1", lower_bound=0.86)},
        "approve": (Approver(role="model-risk"), Approver(role="data-protection")),
        "limits": Limits(requests="600/min", spend="20 EUR/day"),
    }
    return Service(**(said | more))


ABOUT = About(
    task="classify",
    trainer="linear",
    inputs=(Column(name="text", datatype="BYTES"),),
    classes=("property", "motor"),
    data="claims@1",
    data_digest="sha256:" + "d" * 64,
    run="-",
)


@pytest.fixture
def declared(ground: Ground) -> Callable[..., Service]:
    """Writes a service down, as `new`."""

    def write(name: str = "claims-triage", **more: Any) -> Service:
        service = a_service(name, **more)
        with ground.db.write() as tx:
            services.declare(tx, by=person("tim"), service=service, owner=service.owner)
        return service

    return write


@pytest.fixture
def trained(ground: Ground) -> Callable[..., ModelVersion]:
    """Registers a model version with a file of its own, as far as `state`."""

    def make(
        content: str = "weights",
        state: str = "evaluated",
        name: str = "claims-triage",
        about: About | None = None,
    ) -> ModelVersion:
        prepared = versions.prepare(
            ground,
            project="claims",
            name=name,
            run=None,
            about=about or ABOUT,
            files={"model.onnx": content.encode(), "about.json": b"{}"},
            engine="onnxruntime 1.0",
            flags={"threads": "1"},
            sensitivity=3,
        )
        with ground.db.write() as tx:
            made = versions.register(tx, by=SYSTEM, prepared=prepared)
            for step in ("evaluated", "approved"):
                if made.state != state:
                    made = versions.set_state(tx, by=SYSTEM, model=made.id, state=step)  # type: ignore[arg-type]
        return made

    return make


@pytest.fixture
def asked(ground: Ground) -> Callable[..., tuple[str, ...]]:
    """Asks for the approvals that the service's file names."""

    def ask(model: ModelVersion, service: str = "claims-triage", **more: Any) -> tuple[str, ...]:
        said: dict[str, Any] = {
            "by": SYSTEM,
            "service": service,
            "model": model.id,
            "serving_digest": model.serving_digest,
            "roles": ("model-risk", "data-protection"),
            "owner": "per_olga",
            "submitter": "per_tim",
            "evidence": {"card": "sha256:" + "c" * 64},
            "journey": None,
        }
        with ground.db.write() as tx:
            return approvals.request(tx, ground, **(said | more))

    return ask


@pytest.fixture
def decide(ground: Ground) -> Callable[..., approvals.Approval]:
    def say(who: Principal, approval: str, give: bool = True, because: str = "") -> approvals.Approval:
        with ground.db.write() as tx:
            return approvals.decide(tx, ground, by=who, approval=approval, give=give, because=because)

    return say


@pytest.fixture
def approved(
    trained: Callable[..., ModelVersion],
    asked: Callable[..., tuple[str, ...]],
    decide: Callable[..., approvals.Approval],
) -> Callable[..., ModelVersion]:
    """A model version that two people approved."""

    def make(content: str = "weights") -> ModelVersion:
        model = trained(content)
        first, second = asked(model)
        decide(person("ann"), first)
        decide(person("bob"), second)
        return model

    return make


@pytest.fixture
def released(ground: Ground) -> Callable[..., roll.Released]:
    """Releases a model version as the journey would."""

    def run(model: ModelVersion, service: str = "claims-triage", **more: Any) -> roll.Released:
        with ground.db.write() as tx:
            return roll.release(tx, ground, by=SYSTEM, service=service, model=model.id, **more)

    return run
