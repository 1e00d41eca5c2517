"""Incidents over the API: page by page, for those who may; keys that are unlocked and renewed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freehold.ledger.agree import disagreements
from freehold.release.views import restraints
from tests.support.records import an_incident, rule

DAY = 86_400_000_000
RENEW = rule("renew")


def opened(house: Any, key: str = "key_1", rule: Any = None, **found: Any) -> str:
    return an_incident(house.parts.ground, rule, key=key, **found)


def test_a_list_is_read_page_by_page_newest_first(house: Any) -> None:
    ids = [opened(house, key=f"key_{n}") for n in range(5)]
    _, olga = house.person("olga@example.org", "claims/operator")
    client = house.client("incidents")
    found: list[str] = []
    older = None
    for _ in range(3):
        asked = {"limit": 2, **({"older": older} if older else {})}
        said = client.get("/api/incidents", params=asked, headers=olga).json()
        found += [one["id"] for one in said["incidents"]]
        older = said["next"]
    assert found == ids[::-1]
    assert older is None
    assert client.get("/api/incidents", params={"older": "1"}, headers=olga).status_code == 400
    assert client.get("/api/incidents", params={"state": "shut"}, headers=olga).status_code == 400


def test_who_may_not_see_them_sees_none(house: Any) -> None:
    incident = opened(house)
    client = house.client("incidents")
    house.project("motor")
    _, tim = house.person("tim@example.org", "claims/trainer")
    _, moe = house.person("moe@example.org", "motor/operator")
    assert client.get("/api/incidents", headers=tim).status_code == 403
    assert client.get(f"/api/incidents/{incident}", headers=tim).status_code == 403
    assert client.get("/api/incidents", headers=moe).json()["incidents"] == []
    assert client.get(f"/api/incidents/{incident}", headers=moe).status_code == 404
    assert client.get("/api/incidents").status_code == 401


@pytest.mark.parametrize("way", ["close", "unlock"])
def test_an_operator_frees_a_key_and_says_why(house: Any, way: str) -> None:
    key = house.serving_key_id("claims")
    incident = opened(house, key=key)
    client = house.client("incidents")
    olga_id, olga = house.person("olga@example.org", "claims/operator")
    _, ann = house.person("ann@example.org", "claims/auditor")
    path = f"/api/incidents/{incident}/close" if way == "close" else f"/api/keys/{key}/unlock"
    assert client.post(path, json={"because": "ours"}, headers=ann).status_code == 403
    assert client.post(path, json={}, headers=olga).status_code == 400
    said = client.post(path, json={"because": "a test of ours"}, headers=olga)
    assert said.status_code == 200, said.text
    assert said.json()["applied"]
    shown = client.get(f"/api/incidents/{incident}", headers=ann).json()
    assert (shown["state"], shown["held"], shown["changed_by"]) == ("closed", False, olga_id)
    assert shown["because"] == "a test of ours"
    assert "a test" not in house.entries("incident.closed")[0]["body"]
    assert client.post(path, json={"because": "again"}, headers=olga).status_code == 409


@pytest.mark.parametrize("way", ["close", "unlock"])
def test_another_person_frees_a_key_than_who_answers_for_it(house: Any, way: str) -> None:
    key = house.serving_key_id("claims")  # the administrator's
    incident = opened(house, key=key)
    client = house.client("incidents")
    path = f"/api/incidents/{incident}/close" if way == "close" else f"/api/keys/{key}/unlock"
    said = client.post(path, json={"because": "it was me"}, headers=house.administrator)
    assert said.status_code == 403
    assert "a second person" in said.text
    assert "another-person-frees-a-key" in house.entries("refusal")[-1]["body"]
    looked = client.post(f"/api/incidents/{incident}/acknowledge", json={}, headers=house.administrator)
    assert looked.status_code == 200
    _, olga = house.person("olga@example.org", "claims/operator")
    assert client.post(path, json={"because": "it was hers"}, headers=olga).status_code == 200


def test_whoever_answers_for_a_key_renews_it_with_the_same_rights(house: Any) -> None:
    client = house.client("people", "incidents")
    asked = {"zone": "serving", "project": "claims", "purpose": "claims-handling", "limits": "60/min"}
    asked |= {"label": "app", "guard": ["in.pii=mask"]}
    ann_id, ann = house.person("ann@example.org", "claims/trainer")
    _, ben = house.person("ben@example.org", "claims/trainer")
    made = client.post("/api/keys", json={**asked, "owner": ann_id}, headers=house.administrator).json()
    opened(house, key=made["id"], rule=RENEW)
    path = f"/api/keys/{made['id']}/renew"
    assert client.post(path, json={}, headers=ben).status_code == 403
    new = client.post(path, json={}, headers=ann)
    assert new.status_code == 201, new.text
    assert new.json()["voided"] == [made["id"]]
    rows = {row["id"]: row for row in client.get("/api/keys", headers=ann).json()}
    before, after = rows[made["id"]], rows[new.json()["id"]]
    same = ("project", "services", "purpose", "label", "limits", "guard", "owner")
    assert [before[name] for name in same] == [after[name] for name in same]
    assert (before["state"], after["state"]) == ("revoked", "active")
    entry = next(one for one in house.entries("key.created") if one["object"] == new.json()["id"])
    created = json.loads(entry["body"])["detail"]
    assert (created["renews"], created["origin"]) == (made["id"], made["id"])
    with house.parts.ground.db.read() as conn:
        assert disagreements(conn)[1] == []
    assert client.post(path, json={}, headers=ann).status_code == 403
    assert client.post(path, json={}, headers=house.administrator).status_code == 400


def test_a_renewal_that_was_asked_for_is_done_with_it_and_holds_nobody_any_more(house: Any) -> None:
    client = house.client("people", "incidents")
    key = house.serving_key_id("claims")
    incident = opened(house, key=key, rule=RENEW)
    assert client.post(f"/api/keys/{key}/renew", json={}, headers=house.administrator).status_code == 201
    shown = client.get(f"/api/incidents/{incident}", headers=house.administrator).json()
    assert (shown["state"], shown["held"]) == ("closed", False)
    with house.parts.ground.db.read() as conn:
        assert restraints(conn, 0) == ()


@pytest.mark.parametrize("then", ["lock", "throttle", "renew", "observe"])
def test_a_key_that_an_incident_holds_is_listed_as_held_by_it(house: Any, then: Any) -> None:
    client = house.client("people", "incidents")
    key = house.serving_key_id("claims")
    incident = opened(house, key=key, rule=rule(then))
    at = client.get(f"/api/incidents/{incident}", headers=house.administrator).json()["at"]
    held = _listed(client, house.administrator, key)["held"]
    if then == "observe":
        assert held is None
    else:
        until = held.pop("until")
        assert held == {"incident": incident, "does": then, "since": at}
        assert (until is not None) == (then == "throttle")
    assert _listed(client, house.administrator, key)["state"] == ("locked" if then == "lock" else "active")
    _, olga = house.person("olga@example.org", "claims/operator")
    freed = client.post(f"/api/incidents/{incident}/close", json={"because": "ours"}, headers=olga)
    assert freed.status_code == 200
    told = _listed(client, house.administrator, key)
    assert (told["state"], told["held"]) == ("active", None)


def test_of_several_that_hold_a_key_the_list_names_the_strictest(house: Any) -> None:
    client = house.client("people")
    key = house.serving_key_id("claims")
    opened(house, key=key, rule=RENEW)
    strictest = opened(house, key=key, rule=rule("lock"))
    opened(house, key=key, rule=rule("lock"), subject="hmac-sha256:" + "1" * 64)
    assert _listed(client, house.administrator, key)["held"]["incident"] == strictest


def test_a_key_of_which_one_person_is_locked_is_not_listed_as_locked(house: Any) -> None:
    client = house.client("people")
    key = house.serving_key_id("claims")
    opened(house, key=key, subject="hmac-sha256:" + "1" * 64)
    told = _listed(client, house.administrator, key)
    assert (told["state"], told["held"]) == ("active", None)


def test_a_throttle_that_is_over_is_not_listed_and_a_void_key_is_held_by_nothing(house: Any) -> None:
    client = house.client("people")
    key, void = house.serving_key_id("claims"), house.serving_key_id("claims")
    opened(house, key=key, rule=rule("throttle"), seen_at=1)
    opened(house, key=void)
    assert client.delete(f"/api/keys/{void}", headers=house.administrator).json()["held"] is None
    assert _listed(client, house.administrator, key)["held"] is None
    assert _listed(client, house.administrator, void)["state"] == "revoked"


def _listed(client: Any, headers: dict[str, str], key: str) -> dict[str, Any]:
    return next(one for one in client.get("/api/keys", headers=headers).json() if one["id"] == key)


def _ann_with_key(house: Any, client: Any, **more: Any) -> tuple[dict[str, str], str]:
    """Somebody who answers for a key that an incident wants renewed."""
    ann_id, ann = house.person("ann@example.org", "claims/trainer")
    asked = {"zone": "serving", "project": "claims", "owner": ann_id, **more}
    key = client.post("/api/keys", json=asked, headers=house.administrator).json()["id"]
    opened(house, key=key, rule=RENEW)
    return ann, key


@pytest.mark.parametrize("asked", ["never", "365d", "10d"])
def test_its_owner_makes_no_key_good_for_longer_than_it_was(house: Any, asked: str) -> None:
    client = house.client("people")
    ann, key = _ann_with_key(house, client, expires="30d")
    at = house.parts.ground.clock()
    new = client.post(f"/api/keys/{key}/renew", json={"expires": asked}, headers=ann).json()
    days = (new["expires_at"] - at) / DAY
    assert days == pytest.approx(10 if asked == "10d" else 30, abs=0.1)


def test_who_may_issue_keys_says_until_when_a_renewed_one_is_good(house: Any) -> None:
    client = house.client("people")
    _, key = _ann_with_key(house, client, expires="30d")
    path = f"/api/keys/{key}/renew"
    new = client.post(path, json={"expires": "never"}, headers=house.administrator).json()
    assert new["expires_at"] is None


def test_a_key_whose_time_is_over_is_not_renewed(house: Any, clock: Any) -> None:
    client = house.client("people")
    ann, key = _ann_with_key(house, client, expires="30d")
    clock.at += 31 * DAY
    said = client.post(f"/api/keys/{key}/renew", json={}, headers=ann)
    assert (said.status_code, "expired" in said.text) == (400, True)


def test_a_throttle_that_is_over_keeps_no_key_from_being_renewed(house: Any, clock: Any) -> None:
    client = house.client("people")
    key = house.serving_key_id("claims")
    opened(house, key=key, rule=rule("throttle", lasts="15m"))
    path = f"/api/keys/{key}/renew"
    assert client.post(path, json={}, headers=house.administrator).status_code == 409
    clock.at += 901_000_000
    assert client.post(path, json={}, headers=house.administrator).status_code == 201


def test_a_locked_key_is_not_renewed_around_its_lock(house: Any) -> None:
    client = house.client("people")
    key = house.serving_key_id("claims")
    opened(house, key=key)
    said = client.post(f"/api/keys/{key}/renew", json={}, headers=house.administrator)
    assert said.status_code == 409
    assert "freehold keys unlock" in said.text


def test_a_control_key_is_renewed_by_its_own_way(house: Any) -> None:
    _, ann = house.person("ann@example.org", "claims/trainer")
    key = house.control_key_of("ann@example.org")
    assert house.client("people").post(f"/api/keys/{key}/renew", json={}, headers=ann).status_code == 404
