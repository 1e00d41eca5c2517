"""The border: only machines with a border key, the newest rules at once, records in, models out."""

from __future__ import annotations

import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.control import progress
from freehold.control.applied import wait_applied
from freehold.control.routes import border_serving
from freehold.identity import first_run, keys, people
from freehold.ledger.record import record
from freehold.release import paged
from freehold.release.publish import publish
from freehold.spec.ids import digest_bytes
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.control.test_ingest import Gateway


@pytest.fixture
def border(house: Any) -> Any:
    client = house.client("border_serving")
    client.headers["authorization"] = f"Bearer {house.parts.home.gateway_border.read_text().strip()}"
    house.parts.sequencer.run_once()
    return client


def test_the_newest_snapshot_comes_signed(house: Any, border: Any) -> None:
    answer = border.get("/border/snapshot", params={"after": 0})
    assert answer.status_code == 200
    assert answer.json()["payloadType"] == "application/vnd.freehold.snapshot+json"


def test_without_news_the_question_is_held_and_then_answered_empty(
    border: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(border_serving, "HOLD", 0.15)
    assert border.get("/border/snapshot", params={"after": 1}).status_code == 204


def test_a_held_question_is_answered_when_news_come_and_stand_in_the_ledger(
    house: Any, border: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.control.held.UNTOLD", 3600.0)

    def later() -> None:
        with house.parts.ground.db.write() as tx:
            publish(tx, house.parts.ground, by=SYSTEM)
        time.sleep(0.15)
        held.append(not answered)
        house.parts.sequencer.run_once()

    held: list[bool] = []
    answered: list[int] = []
    thread = threading.Thread(target=later)
    thread.start()
    answered.append(border.get("/border/snapshot", params={"after": 1}).status_code)
    thread.join()
    assert answered == [200]
    assert held == [True], "nothing is handed out before its entry has its place in the ledger"


def test_rules_that_cannot_have_their_place_end_the_word_that_nothing_is_new(
    house: Any, border: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk under the ledger: the key is void here, and no gateway may go on as if it were not."""
    monkeypatch.setattr(border_serving, "HOLD", 0.15)
    with house.parts.ground.db.write() as tx:
        publish(tx, house.parts.ground, by=SYSTEM)

    def answered() -> list[int]:
        """To a gateway that goes by the first snapshot, and to one that does and was away."""
        return [border.get("/border/snapshot", params={"after": after}).status_code for after in (1, 0)]

    assert answered() == [204, 200], "it was written this moment"
    house.parts.ground.clock.forward(seconds=11)
    refused = border.get("/border/snapshot", params={"after": 1})
    assert refused.json()["error"]["code"] == "news-held-back"
    assert answered() == [503, 503], "who has it already is told so, too"
    house.parts.sequencer.run_once()
    assert answered() == [200, 200]


def test_who_is_far_behind_gets_what_there_is_although_something_newer_waits(house: Any, border: Any) -> None:
    with house.parts.ground.db.write() as tx:
        publish(tx, house.parts.ground, by=SYSTEM)
    house.parts.sequencer.run_once()
    with house.parts.ground.db.write() as tx:
        publish(tx, house.parts.ground, by=SYSTEM)
    house.parts.ground.clock.forward(seconds=11)
    assert border.get("/border/snapshot", params={"after": 0}).status_code == 200
    assert border.get("/border/snapshot", params={"after": 1}).status_code == 503


def test_pages_come_a_line_each_and_only_to_machines(
    house: Any, border: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged, "FEW", 0)
    with house.parts.ground.db.write() as tx:
        owner = people.find(tx.connection, first_run.FIRST_ADMINISTRATOR).id
        for _ in range(3):
            keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project="claims")
        publish(tx, house.parts.ground, by=SYSTEM)
    house.parts.sequencer.run_once()
    payload = border.get("/border/snapshot", params={"after": 1}).json()["payload"]
    digests = list(json.loads(base64.b64decode(payload))["key_pages"]["digests"].values())
    nobodys = "sha256:" + "0" * 64
    answer = border.get("/border/pages", params={"digest": [*digests, nobodys]})
    assert [digest_bytes(line) for line in answer.content.split(b"\n")] == [*digests, digest_bytes(b"")]
    assert border.get("/border/pages", params={"digest": "../../etc"}).status_code == 400
    assert border.get("/border/pages", params={"digest": [nobodys] * 65}).status_code == 400
    stranger = {"authorization": "Bearer fhs_nobody"}
    assert border.get("/border/pages", params={"digest": digests}, headers=stranger).status_code == 401


def test_records_come_in_and_the_position_is_told(house: Any, border: Any, tmp_path: Path) -> None:
    gateway = Gateway(house, tmp_path / "spool")
    gateway.answer()
    place = f"/border/spool/{gateway.spool.id}"
    assert border.post(place, content=b"").json() == {"sequence": 0}
    assert border.post(place, content=gateway.spool.read(0)).json() == {"sequence": 2}
    assert border.post(place, content=b"").json() == {"sequence": 2}


def test_a_worker_may_not_write_answers(house: Any, border: Any) -> None:
    headers = {"authorization": f"Bearer {house.parts.home.worker_border.read_text().strip()}"}
    refused = border.post("/border/spool/spl_1", content=b"", headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "not-the-gateway"


def test_a_batch_that_is_too_large_is_refused(border: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border_serving, "MOST", 10)
    assert border.post("/border/spool/spl_1", content=b"x" * 11).status_code == 413


def test_a_gateway_says_what_it_serves_by(house: Any, border: Any) -> None:
    said = {"applied": 3, "engines": {"sha256:aa": "ready"}}
    assert border.post("/border/gateways/spl_1", json=said).status_code == 200
    assert border.post("/border/gateways/spl_1", json={**said, "applied": 4}).status_code == 200
    assert border.post("/border/gateways/spl_1", json={**said, "more": 1}).status_code == 400
    with house.parts.ground.db.read() as conn:
        assert [row.applied for row in conn.execute(sa.select(tables.gateways))] == [4]


def test_a_gateway_that_drained_is_not_waited_for(house: Any, border: Any) -> None:
    border.post("/border/gateways/spl_1", json={"applied": 0, "engines": {}})
    assert not wait_applied(house.parts.ground, 1, timeout=0)
    assert border.delete("/border/gateways/spl_1").status_code == 200
    assert wait_applied(house.parts.ground, 1, timeout=0)


def test_a_gateway_that_is_ahead_of_control_has_not_heard_and_is_not_told_that_nothing_is_new(
    house: Any, border: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control's machine was brought back as it was yesterday: it publishes again what others had long."""
    monkeypatch.setattr(border_serving, "HOLD", 0.15)
    ground = house.parts.ground
    border.post("/border/gateways/spl_1", json={"applied": 900, "engines": {}})
    assert not wait_applied(ground, 1, timeout=0)
    refused = border.get("/border/snapshot", params={"after": 899})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "news-unknown")
    (wrong,) = progress.status(house.parts, None)["wrong"]
    assert wrong.startswith("gateway spl_1 goes by snapshot 900, which this control never published")
    border.post("/border/gateways/spl_1", json={"applied": 1, "engines": {}})
    assert wait_applied(ground, 1, timeout=0)
    assert progress.status(house.parts, None)["wrong"] == []


def test_one_that_said_nothing_for_a_day_is_no_gateway_any_more(house: Any, border: Any) -> None:
    said = {"applied": 1, "engines": {}}
    border.post("/border/gateways/spl_1", json=said)
    house.parts.ground.clock.forward(days=1, seconds=-60)
    border.post("/border/gateways/spl_2", json=said)
    house.parts.ground.clock.forward(seconds=120)
    border.post("/border/gateways/spl_3", json=said)
    with house.parts.ground.db.read() as conn:
        assert set(conn.scalars(sa.select(tables.gateways.c.id))) == {"spl_2", "spl_3"}


def test_a_model_that_no_release_names_is_not_handed_out(border: Any) -> None:
    assert border.get("/border/models/sha256:" + "0" * 64).status_code == 404
    assert border.get("/border/models/sha256:" + "0" * 64 + "/files/model.onnx").status_code == 404


def test_what_a_gateway_says_is_wrong_is_told_with_since_when_and_what_to_do(house: Any, border: Any) -> None:
    trouble = {
        "part": "records",
        "since": house.parts.ground.clock(),
        "what": "nothing can be recorded, so nothing is answered",
        "why": "the spool's disk says: No space left on device",
        "lost": "nothing is lost",
        "hint": "free space",
    }
    report = {"applied": 1, "engines": {}, "troubles": [trouble]}
    assert border.post("/border/gateways/spl_1", json=report).status_code == 200
    (wrong,) = progress.status(house.parts, None)["wrong"]
    assert wrong.startswith(
        "gateway spl_1: nothing can be recorded, so nothing is answered since 2027-01-15 08:00:00 UTC: "
    )
    assert wrong.endswith("No space left on device; nothing is lost; free space")
    assert border.post("/border/gateways/spl_1", json={**report, "troubles": []}).status_code == 200
    assert progress.status(house.parts, None)["wrong"] == []


def test_damaged_records_are_told_for_a_day(house: Any) -> None:
    with house.parts.ground.db.write() as tx:
        detail = {"spool": "spl_1", "answer": "ans_1", "ending": "answered", "sequence": 4}
        record(tx, "spool.unbegun", by=SYSTEM, object="spl_1", detail=detail)
    (wrong,) = progress.status(house.parts, None)["wrong"]
    assert "beginning is missing" in wrong
    assert "once in the last day" in wrong
    house.parts.ground.clock.forward(days=1)
    house.parts.sequencer.run_once()
    assert progress.status(house.parts, None)["wrong"] == []
