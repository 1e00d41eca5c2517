"""Approvals, services, attaching and notices over the wire: who may, who may not, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.release import approvals, forgetting, roll
from freehold.spec.principal import SYSTEM
from freehold.spec.service import Approver, Limits, Model, Service
from freehold.spec.snapshot import REBUILT
from tests.support.line import waiting

Headers = dict[str, str]


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("release")
    return client


@pytest.fixture
def people(house: Any) -> dict[str, tuple[str, Headers]]:
    """name -> (id, headers)."""
    roles = {
        "ann": ("claims/model-risk",),
        "bob": ("claims/data-protection",),
        "tim": ("claims/trainer", "claims/model-risk"),
        "olga": ("claims/operator",),
        "otto": ("claims/operator",),
        "eve": ("motor/model-risk", "motor/operator"),
    }
    house.project("motor")
    return {name: house.person(f"{name}@example.org", *held) for name, held in roles.items()}


@pytest.fixture
def candidate(house: Any, people: dict[str, tuple[str, Headers]]) -> Callable[[str], tuple[str, ...]]:
    """Brings a candidate to the point where people decide; returns the approvals' ids."""
    ground = house.parts.ground
    service = Service(
        service="claims-triage",
        project="claims",
        owner=people["olga"][0],
        purpose="claims-handling",
        sensitivity="Internal",
        model=Model(data="claims@1", task="classify"),
        approve=(Approver(role="model-risk"), Approver(role="data-protection")),
        limits=Limits(requests="600/min"),
    )

    return lambda content: waiting(ground, service, content, submitter=people["tim"][0])


@pytest.fixture
def live(
    house: Any,
    client: TestClient,
    people: dict[str, tuple[str, Headers]],
    candidate: Callable[[str], tuple[str, ...]],
) -> Callable[[str], roll.Released]:
    """Approves a candidate by two people and releases it, as the journey would."""
    ground = house.parts.ground

    def make(content: str) -> roll.Released:
        for id, name in zip(candidate(content), ("ann", "bob"), strict=True):
            answer = client.post(f"/api/approvals/{id}", json={"give": True}, headers=people[name][1])
            assert answer.status_code == 200, answer.text
        with ground.db.write() as tx:
            model = approvals.find(tx.connection, id, tx.at).model
            return roll.release(tx, ground, by=SYSTEM, service="claims-triage", model=model)

    return make


# -- approvals --------------------------------------------------------------------------------------


def test_what_waits_is_listed_with_whether_you_may_decide(
    client: TestClient, people: dict[str, tuple[str, Headers]], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, protection = candidate("one")
    seen = {a["id"]: a["not_you"] for a in client.get("/api/approvals", headers=people["ann"][1]).json()}
    assert seen[risk] == ""
    assert seen[protection] == "it asks for the role data-protection in claims"
    assert client.get("/api/approvals", headers=people["eve"][1]).json() == []


def test_the_evidence_is_shown_and_nobody_elses_project_is(
    client: TestClient, people: dict[str, tuple[str, Headers]], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, protection = candidate("one")
    shown = client.get(f"/api/approvals/{risk}", headers=people["ann"][1]).json()
    assert shown["evidence"] == {"card": "sha256:" + "c" * 64}
    assert {o["id"]: o["state"] for o in shown["set"]} == {risk: "waiting", protection: "waiting"}
    assert client.get(f"/api/approvals/{risk}", headers=people["eve"][1]).status_code == 404
    assert (
        client.post(f"/api/approvals/{risk}", json={"give": True}, headers=people["eve"][1]).status_code
        == 404
    )


def test_two_people_give_and_the_second_hears_that_it_is_complete(
    client: TestClient, people: dict[str, tuple[str, Headers]], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, protection = candidate("one")
    first = client.post(f"/api/approvals/{risk}", json={"give": True}, headers=people["ann"][1]).json()
    assert (first["complete"], first["waiting"]) == (False, ["data-protection"])
    second = client.post(
        f"/api/approvals/{protection}", json={"give": True, "because": "fine"}, headers=people["bob"][1]
    ).json()
    assert (second["complete"], second["because"]) == (True, "fine")


def test_approving_ones_own_is_forbidden_by_policy_and_recorded(
    house: Any,
    client: TestClient,
    people: dict[str, tuple[str, Headers]],
    candidate: Callable[[str], tuple[str, ...]],
) -> None:
    risk, _ = candidate("one")
    answer = client.post(f"/api/approvals/{risk}", json={"give": True}, headers=people["tim"][1])
    assert answer.status_code == 403
    assert "nobody-approves" in house.entries("refusal")[-1]["body"]


@pytest.mark.parametrize(("name", "status"), [("olga", 403), ("bob", 403), ("eve", 404)])
def test_the_wrong_role_or_project_decides_nothing(
    client: TestClient,
    people: dict[str, tuple[str, Headers]],
    candidate: Callable[[str], tuple[str, ...]],
    name: str,
    status: int,
) -> None:
    risk, _ = candidate("one")
    answer = client.post(f"/api/approvals/{risk}", json={"give": True}, headers=people[name][1])
    assert answer.status_code == status


def test_an_administrator_sees_and_does_not_approve(
    house: Any, client: TestClient, candidate: Callable[[str], tuple[str, ...]]
) -> None:
    risk, _ = candidate("one")
    assert client.get(f"/api/approvals/{risk}", headers=house.administrator).status_code == 200
    answer = client.post(f"/api/approvals/{risk}", json={"give": True}, headers=house.administrator)
    assert answer.status_code == 403


def test_deciding_wakes_the_journey(
    house: Any, people: dict[str, tuple[str, Headers]], candidate: Callable[[str], tuple[str, ...]]
) -> None:
    from dataclasses import replace

    woken: list[bool] = []
    object.__setattr__(house, "parts", replace(house.parts, wake=lambda: woken.append(True)))
    risk, _ = candidate("one")
    house.client("release").post(f"/api/approvals/{risk}", json={"give": True}, headers=people["ann"][1])
    assert woken == [True]


@pytest.mark.parametrize("state", ["maybe", ""])
def test_a_mistyped_state_is_an_error_and_not_an_empty_list(
    client: TestClient, people: dict[str, tuple[str, Headers]], state: str
) -> None:
    answer = client.get("/api/approvals", params={"state": state}, headers=people["ann"][1])
    assert answer.status_code == 400


# -- services ---------------------------------------------------------------------------------------


def test_a_service_is_shown_with_what_runs_and_what_ran(
    client: TestClient,
    people: dict[str, tuple[str, Headers]],
    live: Callable[[str], roll.Released],
) -> None:
    first, second = live("one"), live("two")
    shown = client.get("/api/services/claims-triage", headers=people["tim"][1]).json()
    assert shown["state"] == "live"
    assert [r["id"] for r in shown["running"]] == [second.release]
    assert [(r["id"], r["state"]) for r in shown["releases"]] == [
        (second.release, "live"),
        (first.release, "ended"),
    ]
    assert [s["name"] for s in client.get("/api/services", headers=people["tim"][1]).json()] == [
        "claims-triage"
    ]
    assert client.get("/api/services", headers=people["eve"][1]).json() == []
    assert client.get("/api/services/claims-triage", headers=people["eve"][1]).status_code == 404


def test_rollback_is_planned_then_done_by_an_operator_alone(
    client: TestClient,
    people: dict[str, tuple[str, Headers]],
    live: Callable[[str], roll.Released],
) -> None:
    live("one")
    live("two")
    path = "/api/services/claims-triage/rollback"
    plan = client.get(path, headers=people["olga"][1]).json()
    assert (plan["ends"]["model"], plan["serves"]["model"]) == ("claims-triage@2", "claims-triage@1")
    for name, status in (("tim", 403), ("ann", 403), ("eve", 404)):
        assert client.post(path, json={"because": "x"}, headers=people[name][1]).status_code == status
    done = client.post(path, json={"because": "wrong answers"}, headers=people["olga"][1]).json()
    assert (done["model"], done["applied"]) == ("claims-triage@1", True)
    shown = client.get("/api/services/claims-triage", headers=people["olga"][1]).json()
    assert shown["releases"][1]["because"] == "wrong answers"
    assert client.post(path, json={"because": "x"}, headers=people["olga"][1]).status_code == 409


def test_stop_and_resume_take_two_operators(
    house: Any,
    client: TestClient,
    people: dict[str, tuple[str, Headers]],
    live: Callable[[str], roll.Released],
) -> None:
    live("one")
    stop, resume = "/api/services/claims-triage/stop", "/api/services/claims-triage/resume"
    assert client.post(stop, json={"because": ""}, headers=people["olga"][1]).status_code == 400
    assert client.post(stop, json={"because": "x"}, headers=people["ann"][1]).status_code == 403
    done = client.post(stop, json={"because": "it insults people"}, headers=people["olga"][1])
    assert done.json()["state"] == "stopped"
    assert client.post(stop, json={"because": "again"}, headers=people["otto"][1]).status_code == 409
    same = client.post(resume, json={}, headers=people["olga"][1])
    assert same.status_code == 403
    assert "another-person-resumes" in house.entries("refusal")[-1]["body"]
    shown = client.get("/api/services/claims-triage", headers=people["otto"][1]).json()
    assert (shown["because"], shown["stopped_by"]) == ("it insults people", people["olga"][0])
    assert client.post(resume, json={}, headers=people["otto"][1]).json()["state"] == "live"


def test_models_are_listed_inside_the_walls(
    client: TestClient,
    people: dict[str, tuple[str, Headers]],
    live: Callable[[str], roll.Released],
) -> None:
    live("one")
    (model,) = client.get("/api/models", headers=people["tim"][1]).json()
    assert (model["model"], model["state"], model["data"]) == ("claims-triage@1", "approved", "claims@1")
    assert client.get("/api/models", headers=people["eve"][1]).json() == []


# -- attaching --------------------------------------------------------------------------------------

ATTACH = {
    "service": "claims-chat",
    "project": "claims",
    "purpose": "claims-handling",
    "url": "http://127.0.0.1:8000",
    "model": "tiny-1b",
}


def test_an_operator_attaches_and_the_plan_before_it_changes_nothing(
    client: TestClient, people: dict[str, tuple[str, Headers]]
) -> None:
    olga = people["olga"][1]
    plan = client.post("/api/attached", json=ATTACH | {"plan": True}, headers=olga).json()
    assert (plan["url"], plan["replaces"]) == ("http://127.0.0.1:8000/v1", False)
    assert client.get("/api/services", headers=olga).json() == []
    done = client.post("/api/attached", json=ATTACH | {"key": "sk-secret"}, headers=olga).json()
    assert done["applied"] is True
    shown = client.get("/api/services/claims-chat", headers=olga)
    assert shown.json()["owner"] == people["olga"][0]
    assert "sk-secret" not in shown.text


def test_attaching_is_for_those_who_may_and_in_their_project(
    client: TestClient, people: dict[str, tuple[str, Headers]]
) -> None:
    for name in ("tim", "ann", "eve"):
        assert client.post("/api/attached", json=ATTACH, headers=people[name][1]).status_code == 403


def test_a_key_that_is_refused_is_not_repeated(
    client: TestClient, people: dict[str, tuple[str, Headers]]
) -> None:
    for body in ({"key": "two words"}, {"key": "x" * 6000}, {"kex": "sk-secret-mistyped"}):
        answer = client.post("/api/attached", json=ATTACH | body, headers=people["olga"][1])
        assert answer.status_code == 400
        assert not any(str(value) in answer.text for value in body.values())


# -- notices ----------------------------------------------------------------------------------------


def test_an_administrator_says_where_notices_go(
    house: Any, client: TestClient, people: dict[str, tuple[str, Headers]]
) -> None:
    asked = {"kind": "webhook", "url": "https://hooks.example.com/T0/secret"}
    assert client.post("/api/notices", json=asked, headers=people["olga"][1]).status_code == 403
    made = client.post("/api/notices", json=asked, headers=house.administrator).json()
    shown = client.get("/api/notices", headers=house.administrator)
    assert [c["to"] for c in shown.json()["channels"]] == ["https://hooks.example.com"]
    assert shown.json()["verify_with"].startswith("whpk_")
    assert "secret" not in shown.text
    assert client.delete(f"/api/notices/{made['id']}", headers=house.administrator).status_code == 200
    assert house.parts.ground.keyring.names("notice/") == []
    assert client.delete(f"/api/notices/{made['id']}", headers=house.administrator).status_code == 404


def test_mail_without_a_mail_host_is_told_at_once(house: Any, client: TestClient) -> None:
    answer = client.post("/api/notices", json={"kind": "mail"}, headers=house.administrator)
    assert answer.status_code == 400
    assert "freehold.yaml names no mail host" in answer.text


# -- a service whose model was forgotten ------------------------------------------------------------


def test_that_nothing_answers_since_somebody_was_forgotten_is_told_wherever_one_looks(
    house: Any, live: Callable[[str], roll.Released]
) -> None:
    ground, me, client = house.parts.ground, house.administrator, house.client("release", "deliver")
    model = live("one").model
    looks = ("/api/services/claims-triage", "/api/status/claims-triage")
    assert [client.get(look, headers=me).json()["silent"] for look in looks] == ["", ""]
    assert client.get("/api/status", headers=me).json()["wrong"] == []
    with ground.db.write() as tx:
        forgetting.revoke(tx, ground, by=SYSTEM, models=[model], versions=(), journey="jrn_f")
    assert [client.get(look, headers=me).json()["silent"] for look in looks] == [REBUILT, REBUILT]
    assert client.get("/api/status", headers=me).json()["wrong"] == [
        f"claims-triage answers nobody: {REBUILT}"
    ]
