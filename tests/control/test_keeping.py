"""Retention over HTTP: rules, holds, what is over; how large everything is, and what that forecasts."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from freehold.control import keeping
from freehold.data import carried

DAY = 86_400_000_000


@pytest.fixture
def client(house: Any) -> Any:
    return house.client("retention", "keyring")


def test_rules_are_set_shown_and_taken_back_with_an_entry_each(
    house: Any, client: Any, dpo: dict[str, str]
) -> None:
    for body in ({"keep": "90d"}, {"keep": "1y", "purpose": "fraud"}, {"keep": "2y", "purpose": "fraud"}):
        assert client.post("/api/retention", json={"project": "claims", **body}, headers=dpo).is_success
    said = client.get("/api/retention", params={"project": "claims"}, headers=dpo).json()
    assert [(rule["purpose"], rule["keep"]) for rule in said["rules"]] == [("fraud", "P2Y"), ("*", "P90D")]
    assert said["due"] == {"days": 0, "data": 0, "runs": 0, "held": 0}
    body = {"project": "claims", "purpose": "fraud"}
    assert client.post("/api/retention/end", json=body, headers=dpo).is_success
    assert client.post("/api/retention/end", json=body, headers=dpo).status_code == 404
    assert len(house.entries("retention.set")) == 3
    assert len(house.entries("retention.ended")) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"keep": "soon"},
        {"keep": "90d", "purpose": "Not A Purpose"},
        {"keep": "90d", "sensitivity": "secret"},
        {"keep": "90d", "project": "nowhere"},
        {"keep": "90d", "what": "else"},
        {"keep": "90d", "what": "runs", "purpose": "fraud"},
        {"keep": "90d", "purpose": "@runs"},
    ],
)
def test_a_rule_that_cannot_be_read_changes_nothing(
    house: Any, client: Any, dpo: dict[str, str], body: dict[str, str]
) -> None:
    asked = client.post("/api/retention", json={"project": "claims", **body}, headers=dpo)
    assert asked.status_code in (400, 403, 404, 422)
    assert house.entries("retention.set") == []


def test_only_data_protection_sets_rules_and_holds(house: Any, client: Any) -> None:
    for path, body in (
        ("/api/retention", {"project": "claims", "keep": "90d"}),
        ("/api/retention/end", {"project": "claims"}),
        ("/api/holds", {"project": "claims", "what": "everything", "because": "case 12"}),
    ):
        assert client.post(path, json=body, headers=house.administrator).status_code == 403


def test_the_reason_of_a_hold_is_sealed_and_who_it_is_about_is_not_said(
    house: Any, client: Any, dpo: dict[str, str]
) -> None:
    body = {"project": "claims", "what": "subject", "object": "anna-k", "because": "case of Anna K."}
    hold = client.post("/api/holds", json=body, headers=dpo).json()["hold"]
    (row,) = client.get("/api/holds", params={"project": "claims"}, headers=dpo).json()
    assert (row["id"], row["object"], row["because"]) == (hold, "a person", "case of Anna K.")
    database = house.parts.home.database
    for path in (database, database.with_name("freehold.db-wal")):
        if path.exists():
            assert b"Anna K." not in path.read_bytes()
            assert b"anna-k" not in path.read_bytes()
    assert client.post(f"/api/holds/{hold}/end", json={"because": ""}, headers=dpo).status_code == 400
    assert client.post(f"/api/holds/{hold}/end", json={"because": "over"}, headers=dpo).is_success
    assert client.post(f"/api/holds/{hold}/end", json={"because": "over"}, headers=dpo).status_code == 409
    assert client.post("/api/holds/hld_none/end", json={"because": "x"}, headers=dpo).status_code == 404


def test_the_epoch_key_changes_while_everything_runs_and_both_is_told(house: Any, client: Any) -> None:
    ring = house.parts.ground.keyring
    (key,) = ring.ensure("dataset/one")
    before = ring.epoch
    said = client.post("/api/keyring/rotate", headers=house.administrator).json()
    assert said["epoch"] == ring.epoch != before
    assert ring.key("dataset/one") == key
    assert len(house.entries("keyring.rotation")) == len(house.entries("keyring.rotated")) == 1
    assert (ring.folder / "forgotten" / "forgotten.sealed").exists()


def test_the_epoch_key_may_change_while_a_journey_writes_what_was_forgotten(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the older of two stays: `forgotten` of an epoch whose keys nobody has opens no backup."""
    ground, write = house.parts.ground, carried.write_atomically
    reached, go_on = threading.Event(), threading.Event()

    def slowly(*given: Any) -> None:
        if not reached.is_set():
            reached.set()
            go_on.wait(10)
        write(*given)

    monkeypatch.setattr(carried, "write_atomically", slowly)
    journey = threading.Thread(target=carried.keep, args=(ground,))
    journey.start()
    assert reached.wait(10)
    asked = threading.Thread(target=lambda: (ground.keyring.rotate(), carried.keep(ground)))
    asked.start()
    asked.join(1)  # it waits for its turn
    go_on.set()
    journey.join(10)
    asked.join(10)
    assert carried.read(ground.keyring.folder, ground.keyring).epoch == ground.keyring.epoch


# -- how large everything is ----------------------------------------------------------------------------


def test_without_two_samples_there_is_no_forecast(house: Any) -> None:
    keeping.sample(house.parts)
    said = keeping.forecast(house.parts)
    assert said["free"] > 0
    assert (said["bytes_per_answer"], said["full_at"]) == (None, None)


def test_what_an_answer_takes_and_when_the_disk_is_full_is_measured_here(house: Any, clock: Any) -> None:
    from freehold.store.tables import samples

    now = house.parts.ground.clock()
    with house.parts.ground.db.write() as tx:
        for at, answers, size in (
            (now - 8 * DAY, 0, 0),
            (now - 2 * DAY, 1000, 10_000),
            (now, 3000, 7_010_000),
        ):
            tx.execute(samples.insert().values(at=at, answers=answers, bytes=size))
    said = keeping.forecast(house.parts)
    assert (said["bytes_per_answer"], said["answers_per_day"]) == (3500, 1000)
    if said["full_at"] is not None:  # beyond ten years nobody is told
        assert abs(said["full_at"] - now - said["free"] / 3_500_000 * DAY) < DAY


def test_a_sample_is_taken_once_an_hour(house: Any) -> None:
    import sqlalchemy as sa

    from freehold.store.tables import samples

    keeping.sample(house.parts)
    keeping.sample(house.parts)
    with house.parts.ground.db.read() as conn:
        row = conn.execute(sa.select(samples)).one()
    assert row.bytes > keeping._size_of_rows(house.parts.home, house.parts.ground) // 2


def test_what_is_carried_beside_the_keyring_is_mended_while_control_runs(house: Any) -> None:
    """Control died between changing the epoch key and writing it anew; `freehold up` need not begin again."""
    ground = house.parts.ground
    carried.keep(ground)
    ground.keyring.rotate()
    with pytest.raises(carried.CarriedMissing):
        carried.read(ground.keyring.folder, ground.keyring)
    keeping.Keeper(parts=house.parts).look()
    assert carried.read(ground.keyring.folder, ground.keyring).epoch == ground.keyring.epoch
