"""People, projects and keys over the wire; walls between projects; nobody helps themselves."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.control.applied import wait_applied
from freehold.ledger.verify import verify
from freehold.release.publish import newest, publish
from freehold.spec.principal import SYSTEM
from freehold.store import tables


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("people")
    return client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def told(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def ok(response: Any) -> Any:
    assert response.status_code < 300, response.text
    return response.json()


# -- people


def test_a_new_person_gets_a_key_once_and_may_sign_in_with_it(house: Any, client: TestClient) -> None:
    body = {"email": "ann@example.org", "roles": ["model-risk", "auditor"], "projects": ["claims"]}
    made = ok(client.post("/api/people", json=body, headers=house.administrator))
    me = ok(client.get("/api/me", headers=bearer(made["key_text"])))
    assert me["email"] == "ann@example.org"
    assert me["roles"] == [
        {"project": "claims", "role": "auditor"},
        {"project": "claims", "role": "model-risk"},
    ]
    assert "approve" in me["may"]["claims"]
    assert "*" not in me["may"]
    assert made["key_text"] not in client.get("/api/keys", headers=house.administrator).text


def test_without_a_project_a_role_holds_everywhere(house: Any, client: TestClient) -> None:
    body = {"email": "ann@example.org", "roles": ["auditor"]}
    made = ok(client.post("/api/people", json=body, headers=house.administrator))
    assert made["roles"] == [{"project": "*", "role": "auditor"}]


def test_a_persons_key_ends_after_a_year_unless_said_otherwise(house: Any, client: TestClient) -> None:
    day = 86_400_000_000
    for expires, days in (("365d", 365), ("30d", 30)):
        body = {"email": f"a{days}@example.org", "roles": ["auditor"], "expires": expires}
        made = ok(client.post("/api/people", json=body, headers=house.administrator))
        assert made["expires_at"] == made["created_at"] + days * day
    body = {"email": "ben@example.org", "roles": ["auditor"], "expires": "never"}
    assert ok(client.post("/api/people", json=body, headers=house.administrator))["expires_at"] is None


@pytest.mark.parametrize("role", ["trainer", "model-risk", "operator", "auditor"])
def test_only_administrators_add_people(house: Any, client: TestClient, role: str) -> None:
    _, ann = house.person("ann@example.org", f"*/{role}")
    body = {"email": "ben@example.org", "roles": ["trainer"]}
    assert told(client.post("/api/people", json=body, headers=ann), 403)["code"] == "not-allowed"
    assert len(house.entries("person.added")) == 2


def test_an_administrator_of_one_project_adds_people_there_and_nowhere_else(
    house: Any, client: TestClient
) -> None:
    house.project("motor")
    _, ann = house.person("ann@example.org", "claims/administrator")
    body = {"email": "ben@example.org", "roles": ["trainer"], "projects": ["claims"]}
    ok(client.post("/api/people", json=body, headers=ann))
    for places in (["motor"], ["*"], ["claims", "motor"]):
        asked = {**body, "email": "eva@example.org", "projects": places}
        told(client.post("/api/people", json=asked, headers=ann), 403)
    for path in ("/api/people/lock", "/api/people/unlock"):
        told(client.post(path, json={"person": "ben@example.org"}, headers=ann), 403)


def test_nobody_gives_roles_to_themselves(house: Any, client: TestClient) -> None:
    for role in ("operator", "trainer", "model-risk"):
        body = {"person": "administrator@localhost", "give": [role]}
        error = told(client.post("/api/people/roles", json=body, headers=house.administrator), 403)
        assert "nobody gives roles to themselves" in error["why"]
    error = told(
        client.post(
            "/api/people/lock", json={"person": "administrator@localhost"}, headers=house.administrator
        ),
        403,
    )
    assert "locks themselves out" in error["why"]
    assert len(house.entries("refusal")) == 4


def test_roles_change_and_the_next_request_knows(house: Any, client: TestClient) -> None:
    _, ann = house.person("ann@example.org", "claims/trainer")
    body = {"person": "ann@example.org", "give": ["operator"], "take": ["trainer"], "projects": ["claims"]}
    ok(client.post("/api/people/roles", json=body, headers=house.administrator))
    assert "service:stop" in ok(client.get("/api/me", headers=ann))["may"]["claims"]
    assert "train:submit" not in ok(client.get("/api/me", headers=ann))["may"]["claims"]


def test_a_locked_persons_keys_are_void_also_those_of_services(house: Any, client: TestClient) -> None:
    id, ann = house.person("ann@example.org", "claims/trainer")
    body = {"zone": "serving", "project": "claims", "owner": "ann@example.org"}
    ok(client.post("/api/keys", json=body, headers=house.administrator))
    locked = ok(
        client.post("/api/people/lock", json={"person": id}, headers=house.administrator),
    )
    assert locked["state"] == "locked"
    assert len(locked["voided"]) == 2
    assert told(client.get("/api/me", headers=ann), 401)["why"] == "this key is revoked"
    assert serving_keys(house) == []
    assert (
        ok(client.post("/api/people/unlock", json={"person": id}, headers=house.administrator))["state"]
        == "active"
    )
    told(client.get("/api/me", headers=ann), 401)


def test_serving_keys_of_a_locked_person_stay_when_asked(house: Any, client: TestClient) -> None:
    house.person("ann@example.org", "claims/trainer")
    body = {"zone": "serving", "project": "claims", "owner": "ann@example.org"}
    kept = ok(client.post("/api/keys", json=body, headers=house.administrator))["id"]
    asked = {"person": "ann@example.org", "keep_serving_keys": True}
    ok(client.post("/api/people/lock", json=asked, headers=house.administrator))
    assert serving_keys(house) == [kept]


def test_whoever_manages_nobody_does_not_learn_who_exists(house: Any, client: TestClient) -> None:
    house.person("ben@example.org", "claims/trainer")
    _, ann = house.person("ann@example.org", "claims/trainer")
    answers = [
        told(client.post("/api/people/lock", json={"person": name}, headers=ann), 403)
        for name in ("ben@example.org", "nobody@example.org")
    ]
    assert answers[0] == answers[1]
    told(client.post("/api/people/lock", json={"person": "x@example.org"}, headers=house.administrator), 404)


def test_lists_show_what_is_yours_to_see(house: Any, client: TestClient) -> None:
    house.project("motor")
    house.person("ann@example.org", "claims/trainer")
    house.person("mia@example.org", "motor/trainer", "claims/auditor")
    _, eva = house.person("eva@example.org", "motor/auditor")
    _, tom = house.person("tom@example.org", "claims/trainer")
    everyone = ok(client.get("/api/people", headers=house.administrator))
    assert len(everyone) == 5
    seen = ok(client.get("/api/people", headers=eva))
    assert [person["email"] for person in seen] == ["mia@example.org", "eva@example.org"]
    assert seen[0]["roles"] == [{"project": "motor", "role": "trainer"}]
    told(client.get("/api/people", headers=tom), 403)
    assert [p["name"] for p in ok(client.get("/api/projects", headers=tom))] == ["claims"]
    assert [p["name"] for p in ok(client.get("/api/projects", headers=eva))] == ["motor"]
    assert len(ok(client.get("/api/projects", headers=house.administrator))) == 2


def test_all_of_it_stands_in_a_ledger_that_verifies(house: Any, client: TestClient) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/api/people", {"email": "tom@example.org", "roles": ["trainer"], "projects": ["claims"]}),
        (
            "/api/people/roles",
            {"person": "tom@example.org", "give": ["operator"], "take": ["trainer"], "projects": ["claims"]},
        ),
        ("/api/keys", {"zone": "serving", "project": "claims", "owner": "tom@example.org"}),
        ("/api/people/lock", {"person": "tom@example.org"}),
        ("/api/people/unlock", {"person": "tom@example.org"}),
        ("/api/people/lock", {"person": "tom@example.org"}),
        ("/api/projects", {"name": "motor"}),
    ]
    for path, body in asked:
        ok(client.post(path, json=body, headers=house.administrator))
    house.parts.sequencer.run_once()
    verdict = verify(house.parts.home)
    assert verdict.broken == ()
    assert verdict.waiting == 0


# -- projects


def test_a_project_is_added_and_gateways_hear_of_it(house: Any, client: TestClient) -> None:
    body = {"name": "motor", "timezone": "Europe/Vienna", "currency": "CHF"}
    made = ok(client.post("/api/projects", json=body, headers=house.administrator))
    assert (made["name"], made["currency"]) == ("motor", "CHF")
    assert len(house.entries("snapshot.published")) == 2
    told(client.post("/api/projects", json=body, headers=house.administrator), 409)


def test_only_an_administrator_of_the_installation_adds_projects(house: Any, client: TestClient) -> None:
    _, ann = house.person("ann@example.org", "claims/administrator")
    told(client.post("/api/projects", json={"name": "motor"}, headers=ann), 403)


# -- keys


def test_what_a_key_may_use_is_told_where_keys_are_listed(house: Any, client: TestClient) -> None:
    body = {"zone": "serving", "project": "claims", "limits": "60/min, 2 EUR/day"}
    made = ok(client.post("/api/keys", json=body, headers=house.administrator))
    listed = {key["id"]: key["limits"] for key in ok(client.get("/api/keys", headers=house.administrator))}
    assert listed.pop(made["id"]) == "60/min, 2 EUR/day"
    assert set(listed.values()) == {None}


def test_a_serving_key_reaches_gateways_with_the_next_snapshot(house: Any, client: TestClient) -> None:
    body = {"zone": "serving", "project": "claims", "purpose": "claims-handling", "expires": "90d"}
    made = ok(client.post("/api/keys", json=body, headers=house.administrator))
    assert made["key_text"].startswith("fhs_")
    assert made["applied"] is True
    assert serving_keys(house) == [made["id"]]
    ok(client.delete(f"/api/keys/{made['id']}", headers=house.administrator))
    assert serving_keys(house) == []
    published = len(house.entries("snapshot.published"))
    ok(client.delete(f"/api/keys/{made['id']}", headers=house.administrator))
    assert len(house.entries("snapshot.published")) == published


def test_a_key_for_a_service_that_is_not_there_is_refused_with_the_nearest(
    house: Any, client: TestClient
) -> None:
    service(house, "claims-triage", "claims")
    body = {"zone": "serving", "project": "claims", "services": ["claims-triag"]}
    error = told(client.post("/api/keys", json=body, headers=house.administrator), 400)
    assert error["hint"] == "did you mean `claims-triage`?"
    ok(client.post("/api/keys", json={**body, "services": ["claims-triage"]}, headers=house.administrator))


def test_a_service_of_another_project_cannot_be_had(house: Any, client: TestClient) -> None:
    house.project("motor")
    service(house, "motor-triage", "motor")
    body = {"zone": "serving", "project": "claims", "services": ["motor-triage"]}
    error = told(client.post("/api/keys", json=body, headers=house.administrator), 400)
    assert error["code"] == "no-such-service"
    assert "motor" not in error["hint"]


def test_everyone_makes_and_revokes_control_keys_of_their_own(house: Any, client: TestClient) -> None:
    id, ann = house.person("ann@example.org", "claims/trainer")
    made = ok(client.post("/api/keys", json={"zone": "control", "label": "ci"}, headers=ann))
    assert made["voided"] == []
    assert ok(client.get("/api/me", headers=bearer(made["key_text"])))["id"] == id
    assert {key["label"] for key in ok(client.get("/api/keys", headers=ann))} == {"", "ci"}
    ok(client.delete(f"/api/keys/{made['id']}", headers=ann))
    told(client.get("/api/me", headers=bearer(made["key_text"])), 401)


def test_nobody_makes_or_revokes_keys_of_others(house: Any, client: TestClient) -> None:
    _, ann = house.person("ann@example.org", "claims/trainer")
    id, ben = house.person("ben@example.org", "claims/trainer")
    ben_key = ok(client.get("/api/me", headers=ben))["key"]
    told(client.post("/api/keys", json={"zone": "control", "owner": id}, headers=ann), 403)
    told(client.post("/api/keys", json={"zone": "serving", "project": "claims"}, headers=ann), 403)
    told(client.delete(f"/api/keys/{ben_key}", headers=ann), 403)
    ok(client.get("/api/me", headers=ben))


def test_a_key_issued_for_somebody_else_voids_theirs_so_that_they_notice(
    house: Any, client: TestClient
) -> None:
    id, ann = house.person("ann@example.org", "claims/model-risk")
    body = {"zone": "control", "owner": "ann@example.org"}
    made = ok(client.post("/api/keys", json=body, headers=house.administrator))
    assert len(made["voided"]) == 1
    told(client.get("/api/me", headers=ann), 401)
    assert ok(client.get("/api/me", headers=bearer(made["key_text"])))["id"] == id


def test_an_administrator_of_one_project_issues_no_control_keys_to_others(
    house: Any, client: TestClient
) -> None:
    id, _ = house.person("ann@example.org", "claims/model-risk")
    _, root = house.person("root@example.org", "claims/administrator")
    told(client.post("/api/keys", json={"zone": "control", "owner": id}, headers=root), 403)
    ok(client.post("/api/keys", json={"zone": "serving", "project": "claims"}, headers=root))


def test_a_renewed_key_replaces_the_one_it_was_asked_with(house: Any, client: TestClient) -> None:
    id, ann = house.person("ann@example.org", "claims/trainer")
    made = ok(client.post("/api/keys/renew", json={}, headers=ann))
    told(client.get("/api/me", headers=ann), 401)
    assert ok(client.get("/api/me", headers=bearer(made["key_text"])))["id"] == id


def test_keys_of_machines_are_neither_listed_nor_revoked(house: Any, client: TestClient) -> None:
    from freehold.spec.keys import KeyText

    border = KeyText.read(house.parts.home.gateway_border.read_text())
    assert border is not None
    assert border.id not in client.get("/api/keys", headers=house.administrator).text
    told(client.delete(f"/api/keys/{border.id}", headers=house.administrator), 404)


def test_revoking_waits_until_the_gateway_has_heard(house: Any, client: TestClient) -> None:
    ground = house.parts.ground
    with ground.db.write() as tx:
        tx.execute(tables.gateways.insert().values(id="g", applied=2, engines="{}", seen_at=ground.clock()))
        for _ in range(2):
            publish(tx, ground, by=SYSTEM)
    assert wait_applied(ground, 2, timeout=0)
    assert not wait_applied(ground, 3, timeout=0)
    catches_up = threading.Timer(0.05, report, [ground, 3])
    catches_up.start()
    assert wait_applied(ground, 3)
    catches_up.join()
    house.parts.ground.clock.forward(seconds=60)
    assert wait_applied(ground, 99, timeout=0), "a gateway that went silent is not waited for"


def report(ground: Any, ix: int) -> None:
    with ground.db.write() as tx:
        tx.execute(tables.gateways.update().values(applied=ix, seen_at=ground.clock()))


# -- the walls, and bad requests


ROUTES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "/api/me", None),
    ("GET", "/api/people", None),
    ("POST", "/api/people", {"email": "x@example.org", "roles": ["auditor"]}),
    ("POST", "/api/people/roles", {"person": "x@example.org", "give": ["auditor"]}),
    ("POST", "/api/people/lock", {"person": "x@example.org"}),
    ("POST", "/api/people/unlock", {"person": "x@example.org"}),
    ("GET", "/api/projects", None),
    ("POST", "/api/projects", {"name": "motor"}),
    ("POST", "/api/projects/{name}/limits", {"limits": "60/min"}),
    ("POST", "/api/projects/{name}/guards", {"guard": ["in.pii=mask"]}),
    ("GET", "/api/keys", None),
    ("POST", "/api/keys", {"zone": "control"}),
    ("POST", "/api/keys/renew", {}),
    ("POST", "/api/keys/key_x/renew", {}),
    ("DELETE", "/api/keys/key_x", None),
]


def test_every_route_is_in_the_table(client: TestClient) -> None:
    there = {
        (method.upper(), path.replace("{key}", "key_x"))
        for path, methods in client.app.openapi()["paths"].items()  # type: ignore[attr-defined]  # ASGI
        for method in methods
    }
    assert there == {(method, path) for method, path, _ in ROUTES}


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_no_route_answers_without_a_key_or_with_another_zones(
    house: Any, client: TestClient, method: str, path: str, body: Any
) -> None:
    made = ok(
        client.post("/api/keys", json={"zone": "serving", "project": "claims"}, headers=house.administrator)
    )
    border = house.parts.home.gateway_border.read_text()
    for headers in ({}, bearer("fhc_x"), bearer(made["key_text"]), bearer(border)):
        error = told(client.request(method, path, json=body, headers=headers), 401)
        assert error["exit"] == 4
        assert error["why"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/people", {"email": "ann@example.org"}),
        ("/api/people", {"email": "ann@example.org", "roles": []}),
        ("/api/people", {"email": "ann@example.org", "roles": ["trainr"]}),
        ("/api/people", {"email": "ann@example.org", "roles": ["trainer"], "projcts": ["claims"]}),
        ("/api/people", {"email": "ann@example.org", "roles": ["trainer"], "expires": "soon"}),
        ("/api/people", {"email": "ann\x00@example.org", "roles": ["trainer"]}),
        ("/api/people", {"email": 7, "roles": ["trainer"]}),
        ("/api/people/roles", {"person": "ann@example.org", "give": "trainer"}),
        ("/api/projects", {"name": "Claims"}),
        ("/api/projects", {"name": "motor", "currency": "euro"}),
        ("/api/keys", {"zone": "border"}),
        ("/api/keys", {"zone": "serving", "project": "claims", "expires": "0d"}),
        ("/api/keys", {"zone": "serving", "project": "claims", "purpose": "Any Thing"}),
    ],
)
def test_a_bad_body_is_told_and_changes_nothing(
    house: Any, client: TestClient, path: str, body: dict[str, Any]
) -> None:
    error = told(client.post(path, json=body, headers=house.administrator), 400)
    assert error["what"]
    assert error["why"] or error["hint"]
    assert "ann@" not in client.get("/api/people", headers=house.administrator).text


def test_a_serving_key_needs_a_project(house: Any, client: TestClient) -> None:
    # no project means the question is about the installation, and nobody but its administrator gets to ask
    told(client.post("/api/keys", json={"zone": "serving"}, headers=house.administrator), 400)
    _, root = house.person("root@example.org", "claims/administrator")
    told(client.post("/api/keys", json={"zone": "serving"}, headers=root), 403)


def serving_keys(house: Any) -> list[str]:
    """The keys in the newest snapshot."""
    import base64
    import json

    house.parts.sequencer.run_once()
    with house.parts.ground.db.read() as conn:
        found = newest(conn, 0)
    assert found is not None
    snapshot = json.loads(base64.b64decode(json.loads(found[1])["payload"]))
    return [key["id"] for key in snapshot["keys"]]


def service(house: Any, name: str, project: str) -> None:
    from freehold.ledger.record import record

    with house.parts.ground.db.write() as tx:
        tx.execute(
            tables.services.insert().values(
                name=name, project=project, kind="own", owner="per_x", purpose="claims-handling",
                sensitivity=2, tier="sandbox", spec="{}", spec_digest="x", provider="{}", state="new",
                because="", created_at=tx.at, changed_at=tx.at,
            )
        )  # fmt: skip
        record(
            tx,
            "service.declared",
            by=SYSTEM,
            object=name,
            project=project,
            detail={"service": name, "spec": "x"},
        )
