"""A line without its computing: candidates with cards, approvals, releases, as journeys write them."""

from __future__ import annotations

from typing import Any

from freehold.data import intake
from freehold.data.declare import Intake
from freehold.ledger.record import record
from freehold.release import approvals, roll, services, versions
from freehold.release.versions import ModelVersion
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.model import About
from freehold.spec.principal import SYSTEM
from freehold.spec.service import Approver, Limits, Model, Service
from freehold.spec.snapshot import Column
from freehold.store import tables
from freehold.store.ground import Ground
from freehold.store.rows import Tx

ROLES = {
    "ann": ("claims/model-risk",),
    "bob": ("claims/data-protection",),
    "tim": ("claims/trainer",),
    "olga": ("claims/operator",),
    "otto": ("claims/operator",),
    "aud": ("claims/auditor",),
    "eve": ("motor/model-risk", "motor/operator"),
}


class Line:
    """A service `claims-triage` of the project `claims`, and the people around it."""

    def __init__(self, house: Any) -> None:
        self.house, self.ground = house, house.parts.ground
        house.project("motor")
        self.ids: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        for name, held in ROLES.items():
            self.ids[name], header = house.person(f"{name}@example.org", *held)
            self.keys[name] = header["authorization"].removeprefix("Bearer ")

    def data(self, rows: str, name: str = "inbox", **more: Any) -> str:
        """A version of a data set from CSV; its reference."""
        said: dict[str, Any] = {
            "name": name,
            "purposes": ("claims-handling",),
            "basis": "contract",
            "sensitivity": "Internal",
            "owner": "claims-platform",
            "keep": "3y",
            "regions": ("eu",),
        }
        source = _file(rows)
        request = Intake(**(said | more))
        added = intake.add(
            self.ground, by=SYSTEM, project="claims", request=request, source=source, format="csv"
        )
        return str(added.ref)

    def service(self, **more: Any) -> Service:
        said: dict[str, Any] = {
            "service": "claims-triage",
            "project": "claims",
            "owner": self.ids["olga"],
            "purpose": "claims-handling",
            "sensitivity": "Internal",
            "model": Model(data="inbox@1", task="classify"),
            "approve": (Approver(role="model-risk"), Approver(role="data-protection")),
            "limits": Limits(requests="600/min"),
        }
        return Service(**(said | more))

    def model(self, content: str = "one", data: str = "inbox@1", **more: Any) -> ModelVersion:
        """An evaluated candidate with its card."""
        candidate = prepared(self.ground, content, data)
        with self.ground.db.write() as tx:
            service = self.service()
            services.declare(tx, by=SYSTEM, service=service, owner=service.owner)
            made = versions.register(tx, by=SYSTEM, prepared=candidate)
            self._card(tx, made, data, **more)
            return versions.set_state(tx, by=SYSTEM, model=made.id, state="evaluated")

    def _card(self, tx: Any, model: ModelVersion, data: str, **more: Any) -> None:
        body = a_card(model, data) | more
        id = new_id("crd")
        values = {"id": id, "digest": digest(body), "model": model.id, "passed": True}
        values["serving_digest"] = model.serving_digest
        tx.execute(
            tables.cards.insert().values(run=None, body=canonical(body).decode(), created_at=tx.at, **values)
        )
        detail = {"card": id, **{name: value for name, value in values.items() if name != "id"}}
        record(tx, "card.issued", by=SYSTEM, object=id, project="claims", detail=detail)

    def ask(self, model: ModelVersion, **evidence: Any) -> tuple[str, ...]:
        """The ids of its approvals: model-risk, then data-protection."""
        with self.ground.db.write() as tx:
            said = {"tier": "limited"} | evidence
            return asked(tx, self.ground, model, owner=self.ids["olga"], submitter=self.ids["tim"], **said)

    def live(self, content: str = "one", data: str = "inbox@1") -> ModelVersion:
        """A candidate that two people approved and that serves now."""
        model = self.model(content, data)
        self.release(model)
        return model

    def release(self, model: ModelVersion, **share: Any) -> str:
        """Two people approve it, and it gets all of the traffic, or this share; the release."""
        for id, name in zip(self.ask(model), ("ann", "bob"), strict=True):
            self.approve(id, name)
        with self.ground.db.write() as tx:
            done = roll.release(tx, self.ground, by=SYSTEM, service="claims-triage", model=model.id, **share)
        return done.release

    def approve(self, approval: str, name: str) -> None:
        with self.ground.db.write() as tx:
            approvals.decide(tx, self.ground, by=self.who(tx, name), approval=approval, give=True)

    def who(self, tx: Any, name: str) -> Any:
        from freehold.identity import keys

        return keys.authenticate(tx.connection, self.keys[name], zone="control", at=tx.at)


def waiting(ground: Ground, service: Service, content: str, *, submitter: str) -> tuple[str, ...]:
    """A candidate of a service, without a card, for which two people have to decide; the approvals' ids."""
    candidate = prepared(ground, content, service.model.data)
    with ground.db.write() as tx:
        services.declare(tx, by=SYSTEM, service=service, owner=service.owner)
        model = versions.register(tx, by=SYSTEM, prepared=candidate)
        versions.set_state(tx, by=SYSTEM, model=model.id, state="evaluated")
        return asked(tx, ground, model, owner=service.owner, submitter=submitter)


def prepared(ground: Ground, content: str, data: str) -> versions.Prepared:
    """A model whose only file holds `content`."""
    about = About(
        task="classify",
        trainer="linear",
        inputs=(Column(name="text", datatype="BYTES"),),
        classes=("property", "motor"),
        data=data,
        data_digest="sha256:" + "d" * 64,
        run="-",
    )
    return versions.prepare(
        ground,
        project="claims",
        name="claims-triage",
        run=None,
        about=about,
        files={"model.onnx": content.encode()},
        engine="onnxruntime 1.0",
        flags={},
        sensitivity=1,
    )


def asked(
    tx: Tx, ground: Ground, model: ModelVersion, *, owner: str, submitter: str, **evidence: Any
) -> tuple[str, ...]:
    """The ids of its approvals: model-risk, then data-protection."""
    return approvals.request(
        tx,
        ground,
        by=SYSTEM,
        service="claims-triage",
        model=model.id,
        serving_digest=model.serving_digest,
        roles=("model-risk", "data-protection"),
        owner=owner,
        submitter=submitter,
        evidence={"card": "sha256:" + "c" * 64} | evidence,
        journey=None,
    )


def a_card(model: ModelVersion, data: str) -> dict[str, Any]:
    """What an evaluation finds, with all its parts."""
    figure = {"value": "0.911000", "low": "0.880000", "high": "0.930000", "method": "Wilson score"}
    return {
        "card": 1,
        "service": {"service": "claims-triage", "project": "claims", "purpose": "claims-handling"},
        "model": {
            "digest": model.digest,
            "serving_digest": model.serving_digest,
            "task": "classify",
            "trainer": "linear",
            "inputs": [{"name": "text", "datatype": "BYTES"}],
            "classes": ["property", "motor"],
            "engine": "onnxruntime 1.0",
            "engine_flags": {},
            "bytes": 1000,
        },
        "data": {
            "ref": data,
            "digest": "sha256:" + "d" * 64,
            "target": "category",
            "settings": {"l2": "0.1"},
        },
        "confidence": "0.95",
        "measured": {
            "held-out": {
                "rows": 100,
                "unlabelled": 0,
                "also_in_training": 1,
                "metrics": {"accuracy": figure, "macro_f1": figure, "auc": None},
                "gaps": [],
                "classes": [
                    {"class": "motor", "rows": 40, "precision": "0.9", "f1": "0.9", "recall": figure},
                ],
                "mistakes": [{"label": "motor", "answer": "property", "rows": 2}],
                "calibration": {"error": "0.02", "bins": []},
            }
        },
        "examples": [],
        "probes": {"asked": 1, "tolerance": "1e-06"},
        "asked_gates": {},
        "gates": [
            {
                "name": "quality",
                "metric": "accuracy",
                "against": "held-out",
                "value": "0.911000",
                "low": "0.880000",
                "high": "0.930000",
                "bound": "lower end >= 0.86",
                "passed": True,
                "because": "accuracy 0.911 (0.880 to 0.930): lower end 0.88 >= 0.86",
            }
        ],
        "passed": True,
    }


def _file(rows: str) -> Any:
    import io

    return io.BytesIO(rows.encode())
