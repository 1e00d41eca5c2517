"""A model that asks for traffic, and the two people who may let it have some."""

from __future__ import annotations

from typing import Literal

from freehold.identity import keys, people
from freehold.release import approvals, roll, services, versions
from freehold.release.versions import ModelVersion
from freehold.spec.guard import Guard
from freehold.spec.model import About
from freehold.spec.principal import SYSTEM, Principal
from freehold.spec.service import Approver, Model, Service
from freehold.spec.snapshot import Column
from freehold.store.ground import Ground
from freehold.store.rows import Tx

SERVICE = "proved"
ROLES: tuple[Literal["model-risk", "data-protection"], ...] = ("model-risk", "data-protection")


def candidate(
    ground: Ground,
    project: str,
    content: bytes,
    service: str = SERVICE,
    guard: Guard | None = None,
    about: About | None = None,
) -> ModelVersion:
    """A model version that was evaluated and that nobody has approved."""
    about = about or about_nothing()
    declared = _service(project, service, about.task, guard)
    prepared = versions.prepare(
        ground,
        project=project,
        name=service,
        run=None,
        about=about,
        files={"model.onnx": content},
        engine="fake 1",
        flags={},
        sensitivity=1,
    )
    with ground.db.write() as tx:
        services.declare(tx, by=SYSTEM, service=declared, owner="per_owner")
        model = versions.register(tx, by=SYSTEM, prepared=prepared)
        return versions.set_state(tx, by=SYSTEM, model=model.id, state="evaluated")


def approve(ground: Ground, project: str, model: ModelVersion, service: str = SERVICE) -> None:
    """Two people who are neither owner nor submitter say yes to its digest."""
    with ground.db.write() as tx:
        asked = approvals.request(
            tx,
            ground,
            by=SYSTEM,
            service=service,
            model=model.id,
            serving_digest=model.serving_digest,
            roles=ROLES,
            owner="per_owner",
            submitter="per_submitter",
            evidence={"card": "sha256:" + "0" * 64},
            journey=None,
        )
        for approval, role in zip(asked, ROLES, strict=True):
            by = _somebody(tx, project, role)
            approvals.decide(tx, ground, by=by, approval=approval, give=True)


def release(ground: Ground, model: ModelVersion, service: str = SERVICE) -> None:
    """Give it the traffic. Raises what a release raises."""
    with ground.db.write() as tx:
        roll.release(tx, ground, by=SYSTEM, service=service, model=model.id)


def _somebody(tx: Tx, project: str, role: str) -> Principal:
    email = f"{role}@proofs.invalid"
    try:
        person = people.find(tx.connection, email)
    except people.NoSuchPerson:
        person = people.add(tx, by=SYSTEM, email=email, roles=[(project, role)])
    key = keys.create(tx, by=SYSTEM, owner=person.id, zone="control")
    return keys.authenticate(tx.connection, key.text, zone="control", at=tx.at)


def _service(
    project: str, name: str, task: Literal["classify", "tabular", "generate"], guard: Guard | None
) -> Service:
    return Service(
        service=name,
        project=project,
        owner="per_owner",
        purpose="proving",
        sensitivity="Internal",
        model=Model(data="proof@1", task=task),
        guard={"in": guard} if guard else {},
        approve=tuple(Approver(role=role) for role in ROLES),
    )


def about_nothing() -> About:
    """What a model says of itself that learned nothing."""
    return About(
        task="classify",
        trainer="linear",
        inputs=(Column(name="text", datatype="BYTES"),),
        classes=("a", "b"),
        data="proof@1",
        data_digest="sha256:" + "0" * 64,
        run="",
    )
