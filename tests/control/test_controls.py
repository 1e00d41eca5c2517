"""What `freehold doctor` found stands in the ledger, and is read from there."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from freehold.control import controls, progress
from freehold.control.controls import latest
from freehold.ledger.verify import verify
from freehold.spec.controls import CONTROLS


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the proofs say; a test may change it."""
    said: dict[str, Any] = {name: {"passed": True, "because": "it held"} for name in CONTROLS}
    monkeypatch.setattr(controls, "_try_all", lambda: said)
    return said


def test_before_anything_was_tried_nothing_is_proved(house: Any) -> None:
    said = house.client("controls").get("/api/controls", headers=house.administrator).json()
    assert [one["control"] for one in said] == list(CONTROLS)
    assert {one["passed"] for one in said} == {None}


@pytest.mark.usefixtures("tried")
def test_what_was_proved_is_an_entry_each_and_the_ledger_verifies(house: Any) -> None:
    said = house.client("controls").post("/api/controls", headers=house.administrator).json()
    assert {one["passed"] for one in said} == {True}
    assert len(house.entries("control.proved")) == len(CONTROLS)
    house.parts.sequencer.run_once()
    assert not verify(house.parts.home).broken


def test_the_last_word_counts(house: Any, tried: dict[str, Any]) -> None:
    client = house.client("controls")
    client.post("/api/controls", headers=house.administrator)
    tried["dead-spool"] = {"passed": False, "because": "the gateway answered"}
    client.post("/api/controls", headers=house.administrator)
    with house.parts.ground.db.read() as conn:
        found = {one.control: one for one in latest(conn)}
    assert (found["dead-spool"].passed, found["dead-spool"].because) == (False, "the gateway answered")
    assert found["wrong-key"].passed is True
    assert len({one.run for one in found.values()}) == 1
    told = "dead-spool does not hold: `freehold doctor --last` shows what was seen"
    assert told in progress.status(house.parts, None)["wrong"]
    tried["dead-spool"] = {"passed": True, "because": "it held"}
    client.post("/api/controls", headers=house.administrator)
    assert told not in progress.status(house.parts, None)["wrong"]


def test_a_control_that_was_not_tried_has_failed(house: Any, tried: dict[str, Any]) -> None:
    del tried["wrong-zone"]
    said = house.client("controls").post("/api/controls", headers=house.administrator).json()
    assert [one["control"] for one in said if not one["passed"]] == ["wrong-zone"]


def test_proofs_that_do_not_end_well_are_told_and_nothing_is_recorded(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(command: list[str], **_: Any) -> Any:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(controls.subprocess, "run", dies)
    answer = house.client("controls").post("/api/controls", headers=house.administrator)
    assert answer.status_code == 503
    assert answer.json()["error"]["what"] == "the controls could not be proved"
    assert not house.entries("control.proved") + house.entries("control.failed")


def test_only_who_may_read_the_ledger_proves(house: Any) -> None:
    _, trainer = house.person("tim@example.org", "claims/trainer")
    client = house.client("controls")
    assert client.post("/api/controls", headers=trainer).status_code == 403
    assert client.get("/api/controls", headers=trainer).status_code == 403
    assert client.get("/api/controls").status_code == 401
