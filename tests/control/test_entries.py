"""Entries are found by object, actor, kind, project and time, page by page, by who may read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.control import server
from freehold.ledger.record import record
from freehold.spec.ids import new_id
from freehold.spec.principal import SYSTEM


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("people", "entries")
    return client


def listed(client: TestClient, headers: dict[str, str], **asked: Any) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    older: str | None = None
    while True:
        page = client.get("/api/entries", params=asked | ({"older": older} if older else {}), headers=headers)
        assert page.status_code == 200, page.text
        found += page.json()["entries"]
        older = page.json()["next"]
        if older is None:
            return found


def test_every_entry_is_on_one_page_exactly_newest_first(house: Any, client: TestClient) -> None:
    for name in ("motor", "travel", "fleet"):
        house.project(name)
    house.parts.sequencer.run_once()
    found = listed(client, house.administrator, limit=2)
    with house.parts.ground.db.read() as conn:
        every = conn.exec_driver_sql("SELECT id FROM entries").scalars().all()
    assert sorted(one["id"] for one in found) == sorted(every)
    assert [one["at"] for one in found] == sorted((one["at"] for one in found), reverse=True)
    assert sorted(one["ix"] for one in found) == list(range(len(every)))


def test_what_was_committed_together_stands_in_the_order_of_its_places(
    house: Any, client: TestClient
) -> None:
    with house.parts.ground.db.write() as tx:
        for number in range(8):
            detail = {"name": "tariff", "digest": f"sha256:{number}"}
            record(tx, "setting.changed", by=SYSTEM, object="tariff", detail=detail)
    house.parts.sequencer.run_once()
    found = [one["ix"] for one in listed(client, house.administrator, object="tariff")]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("wanted", ["object", "actor", "kind", "project"])
def test_each_way_of_asking_finds_what_reading_everything_finds(
    house: Any, client: TestClient, wanted: str
) -> None:
    house.project("motor")
    house.person("mia@example.org", "motor/trainer")
    house.person("tim@example.org", "claims/trainer")
    client.post("/api/projects", json={"name": "fleet"}, headers=house.administrator)
    every = listed(client, house.administrator)
    for value in {one[wanted] for one in every if one[wanted] is not None}:
        found = listed(client, house.administrator, limit=1, **{wanted: value})
        assert {one["id"] for one in found} == {one["id"] for one in every if one[wanted] == value}
        for kind in ("key.created", "project.added"):
            both = listed(client, house.administrator, **({"kind": kind} | {wanted: value}))
            expected = [
                o["id"] for o in every if o[wanted] == value and (wanted == "kind" or o["kind"] == kind)
            ]
            assert sorted(one["id"] for one in both) == sorted(expected)


def test_times_cut_a_list_on_both_sides(house: Any, client: TestClient, clock: Any) -> None:
    house.project("motor")
    clock.forward(days=1)
    since = clock()
    house.project("fleet")
    until = clock()
    clock.forward(days=1)
    house.project("travel")
    found = listed(client, house.administrator, since=since, until=until)
    assert [one["object"] for one in found] == ["fleet"]


def test_an_auditor_of_one_project_reads_its_entries_and_no_others(house: Any, client: TestClient) -> None:
    house.project("motor")
    _, aud = house.person("aud@example.org", "motor/auditor")
    assert {one["project"] for one in listed(client, aud)} == {"motor"}
    refused = client.get("/api/entries", params={"project": "claims"}, headers=aud)
    assert refused.status_code == 403
    (claims,) = listed(client, house.administrator, kind="project.added", project="claims")
    assert client.get(f"/api/entries/{claims['id']}", headers=aud).status_code == 404
    (motor,) = listed(client, aud, kind="project.added")
    assert client.get(f"/api/entries/{motor['id']}", headers=aud).json() == motor


def test_who_audits_nothing_is_told_so(house: Any, client: TestClient) -> None:
    _, tim = house.person("tim@example.org", "claims/trainer")
    assert client.get("/api/entries", headers=tim).status_code == 403


@pytest.mark.parametrize("asked", [{"kind": "tea.drunk"}, {"older": "yesterday"}, {"limit": 0}])
def test_what_cannot_be_asked_is_said(house: Any, client: TestClient, asked: dict[str, Any]) -> None:
    assert client.get("/api/entries", params=asked, headers=house.administrator).status_code == 400


# -- whose request it was -----------------------------------------------------------------------------


@pytest.fixture
def numbered(house: Any) -> TestClient:
    return TestClient(server.build(house.parts))


def test_an_entry_names_the_request_and_its_trace(house: Any, numbered: TestClient) -> None:
    headers = house.administrator | {"traceparent": f"00-{'4b' * 16}-{'07' * 8}-01", "x-request-id": "7" * 32}
    made = numbered.post("/api/projects", json={"name": "motor"}, headers=headers)
    assert made.headers["x-request-id"] == "7" * 32
    (entry,) = house.entries("project.added")[-1:]
    body = json.loads(entry["body"])
    assert (body["request"], body["trace"]) == ("7" * 32, "4b" * 16)


@pytest.mark.parametrize("said", ["anna-k", "Anna Kowalska", "req_anna", "x" * 64, ""])
def test_a_callers_words_do_not_become_an_id(house: Any, numbered: TestClient, said: str) -> None:
    headers = house.administrator | {"x-request-id": said, "traceparent": said}
    made = numbered.post("/api/projects", json={"name": "motor"}, headers=headers)
    assert made.headers["x-request-id"].startswith("req_")
    body = json.loads(house.entries("project.added")[-1]["body"])
    assert (body["request"], body["trace"]) == (made.headers["x-request-id"], None)


def test_our_own_ids_are_taken_back(numbered: TestClient) -> None:
    id = new_id("req")
    assert numbered.get("/api/people", headers={"x-request-id": id}).headers["x-request-id"] == id


def test_an_entry_names_the_policy_that_allowed_it(house: Any, numbered: TestClient) -> None:
    numbered.post("/api/projects", json={"name": "motor"}, headers=house.administrator)
    first = json.loads(house.entries("project.added")[-1]["body"])
    _, tim = house.person("tim@example.org", "claims/trainer")
    numbered.post("/api/projects", json={"name": "another"}, headers=tim)
    (refused,) = house.entries("refusal")
    assert first["allowed"] == ["administrators-run-the-house"]
    assert "allowed" not in json.loads(refused["body"]), "it says by itself why not"
    assert json.loads(refused["body"])["detail"]["reasons"]


def test_a_refusal_names_the_request_too(house: Any, numbered: TestClient) -> None:
    _, tim = house.person("tim@example.org", "claims/trainer")
    refused = numbered.post("/api/projects", json={"name": "motor"}, headers=tim)
    (entry,) = house.entries("refusal")
    assert json.loads(entry["body"])["request"] == refused.headers["x-request-id"]


def test_what_comes_by_itself_names_nobodys_request(house: Any) -> None:
    house.project("motor")
    body = json.loads(house.entries("project.added")[-1]["body"])
    assert body["request"] is None
    assert "allowed" not in body
