"""plan, apply, runs and status: what they print, and how they leave when something is in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from freehold.cli.deliver import step_line
from freehold.spec.rollout import NOT_NAMED
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import World
from tests.support.claims import add_claims
from tests.support.records import an_incident

HARD = SERVICE.replace("value: 0.80", "lower_bound: 0.99")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(SERVICE)
    return path


@pytest.fixture
def trainer(house: Any) -> str:
    """The key of a trainer in a project with a data set and approvers."""
    add_claims(house.parts.ground)
    for name, role in (("risk", "model-risk"), ("privacy", "data-protection")):
        house.person(f"{name}@example.org", f"claims/{role}")
    _, header = house.person("trainer@example.org", "claims/trainer")
    return str(header["authorization"].removeprefix("Bearer "))


def test_a_plan_reads_like_a_plan(freehold: Any, trainer: str, file: Path) -> None:
    said = freehold("plan", str(file), key=trainer)
    assert said.code == 0
    for words in (
        "claims-triage in claims · tier limited · a new service",
        "claims@1 · 180 rows · Confidential",
        "(estimated)",
        "fit      yes",
        "walls",
        "model-risk: 1 could",
        "nothing was changed",
    ):
        assert words in said.out
    assert json.loads(freehold("plan", str(file), "--json", key=trainer).out)["total"]["estimated"] is True


def test_a_mistake_in_the_file_is_told_with_its_line(freehold: Any, trainer: str, file: Path) -> None:
    file.write_text(SERVICE.replace("purpose:", "purpos:"))
    for command in ("plan", "apply"):
        said = freehold(command, str(file), key=trainer)
        assert said.code == 2
        assert "`purpos` (line 4)" in said.err
        assert "did you mean `purpose`?" in said.err


def test_a_file_that_is_not_there_or_no_text_is_told(freehold: Any, trainer: str, tmp_path: Path) -> None:
    assert freehold("plan", str(tmp_path / "none.yaml"), key=trainer).code == 2
    picture = tmp_path / "picture.yaml"
    picture.write_bytes(b"\xff\xfe\x00")
    said = freehold("apply", str(picture), key=trainer)
    assert said.code == 2
    assert "is no text" in said.err


def test_who_may_not_train_is_told_what_is_missing(freehold: Any, trainer: str, file: Path) -> None:
    said = freehold("apply", str(file))  # the administrator
    assert said.code == 4
    assert "trainer" in said.err


def test_apply_without_waiting_hands_it_over(freehold: Any, trainer: str, file: Path) -> None:
    assert "begins" in freehold("apply", str(file), "--no-wait", key=trainer).out
    assert "under way already" in freehold("apply", str(file), "--no-wait", key=trainer).out
    told = json.loads(freehold("apply", str(file), "--no-wait", "--json", key=trainer).out)
    assert told["became"] == "joined"
    assert told["journey"]["steps"][0]["name"] == "declare"


def test_when_the_wait_is_over_the_work_goes_on(freehold: Any, trainer: str, file: Path) -> None:
    said = freehold("apply", str(file), "--wait", "1s", key=trainer)
    assert said.code == 9
    assert "still under way" in said.err
    assert "freehold runs show jrn_" in said.err


def test_what_waits_for_people_leaves_with_seven(freehold: Any, house: Any, trainer: str, file: Path) -> None:
    _advance(freehold, house, trainer, file)
    said = freehold("apply", str(file), key=trainer)
    assert said.code == 7
    assert "model-risk" in said.err
    assert "freehold approve" in said.err
    assert freehold("apply", str(file), "--until", "evaluated", key=trainer).code == 0


def test_what_is_held_leaves_with_six_and_shows_its_card(
    freehold: Any, house: Any, trainer: str, file: Path, tmp_path: Path
) -> None:
    file.write_text(HARD)
    journey = _advance(freehold, house, trainer, file)
    shown = freehold("runs", "show", journey, key=trainer)
    assert "held" in shown.out
    assert "gate quality" in shown.out
    runs = freehold("runs", key=trainer).out
    assert "run:2" in runs
    assert "a gate failed" in runs
    assert "Wh (estimated)" in freehold("runs", "show", "run:1", key=trainer).out
    card = json.loads(freehold("runs", "show", "2", "--json", key=trainer).out)["card"]
    assert "✗ quality" in freehold("runs", "card", card, key=trainer).out
    page = tmp_path / "card.html"
    freehold("runs", "card", card, "--html", str(page), key=trainer)
    assert page.read_text().lower().startswith("<!doctype html>")


def test_a_journey_is_stopped_by_its_name(freehold: Any, trainer: str, file: Path) -> None:
    told = json.loads(freehold("apply", str(file), "--no-wait", "--json", key=trainer).out)
    assert "being stopped" in freehold("runs", "stop", told["journey"]["id"], key=trainer).out
    assert freehold("runs", "stop", told["journey"]["id"], key=trainer).code == 5


def test_runs_and_cards_that_are_not_there_are_told(freehold: Any, trainer: str) -> None:
    assert freehold("runs", "list", key=trainer).out.strip() == "(none)"
    for words in (("show", "run:7"), ("show", "jrn_none"), ("card", "crd_none"), ("stop", "jrn_none")):
        said = freehold("runs", *words, key=trainer)
        assert said.code == 3, words
        assert "there is no" in said.err


def test_status_is_short_when_all_is_well(freehold: Any, house: Any, trainer: str) -> None:
    house.parts.sequencer.run_once()
    said = freehold("status", key=trainer)
    assert said.code == 0
    assert "nothing is wrong" in said.out
    assert "0 approval(s) wait" in said.out
    assert "incident" not in said.out


def test_objectives_alone_are_written_down_at_once(
    freehold: Any, house: Any, trainer: str, file: Path
) -> None:
    told = json.loads(freehold("apply", str(file), "--no-wait", "--json", key=trainer).out)
    assert World(house.parts.home, house.parts.ground).run(told["journey"]["id"]) == "done"
    file.write_text(f"{SERVICE}objectives: [99% answered]\n")
    plan = freehold("plan", str(file), key=trainer).out
    assert plan == (
        "claims-triage in claims · tier limited · changes objectives\n\n"
        "  `freehold apply` writes it down: nothing is trained, and nobody is asked\n"
    )
    done = freehold("apply", str(file), key=trainer)
    assert (done.code, done.out) == (0, "written down: what answers stays as it is\n")
    assert freehold("apply", str(file), key=trainer).out == "nothing to do: exactly this is live\n"
    assert "99% answered over 30d  no verdict" in freehold("status", "claims-triage", key=trainer).out


def test_status_counts_incidents_that_nobody_looks_into(freehold: Any, house: Any, trainer: str) -> None:
    house.project("motor")
    an_incident(house.parts.ground)
    an_incident(house.parts.ground, project="motor", key="key_2")
    _, header = house.person("olga@example.org", "claims/operator")
    said = freehold("status", key=header["authorization"].removeprefix("Bearer ")).out
    assert "1 incident(s) open: `freehold incident list --state open`" in said
    assert "incident" not in freehold("status", key=trainer).out  # they are none of a trainer's


def test_status_without_control_says_how_to_start_it(
    freehold: Any, trainer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = freehold("status", "--url", "http://127.0.0.1:9", key=trainer)
    assert said.code == 9
    assert "freehold up" in said.err


def _advance(freehold: Any, house: Any, trainer: str, file: Path) -> str:
    """Hand it over, and let the world turn until somebody has to act."""
    told = json.loads(freehold("apply", str(file), "--no-wait", "--json", key=trainer).out)
    journey = str(told["journey"]["id"])
    World(house.parts.home, house.parts.ground).run(journey, agree=False)
    return journey


def test_a_share_that_the_file_asks_for_and_is_left_out_is_told_with_its_reason() -> None:
    told = [
        step_line({}, {"name": name, "state": "done", "because": None, "result": {"none": why}})
        for name in ("shadow", "compare", "canary", "watch", "ab", "judge")
        for why in (NOT_NAMED, "the live model is the same")
    ]
    assert [line for line in told if line] == [
        "shadow    left out: the live model is the same",
        "canary    left out: the live model is the same",
        "ab        left out: the live model is the same",
    ]
