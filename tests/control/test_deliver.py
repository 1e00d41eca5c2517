"""Plans, journeys, runs, cards and status over their routes."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from freehold.journeys.stories import STORIES
from freehold.release.attach import Attachment, attach
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.control.conftest import House
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import World
from tests.spec.test_reading import LETTERS
from tests.support.claims import add_claims

OTHER = SERVICE.replace("value: 0.80", "value: 0.70")
HARD = SERVICE.replace("value: 0.80", "lower_bound: 0.99")
SANDBOX = SERVICE[: SERVICE.index("approve:")].replace("tier: limited", "tier: sandbox")


class Desk:
    """A trainer at work: routes for asking, a world for what happens behind them."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.client: TestClient = house.client("deliver")
        self.id, self.trainer = house.person("trainer@example.org", "claims/trainer")
        _, self.auditor = house.person("auditor@example.org", "claims/auditor")
        _, self.risk = house.person("risk@example.org", "claims/model-risk")
        house.person("privacy@example.org", "claims/data-protection")
        self.world = World(house.parts.home, house.parts.ground)

    def ask(self, path: str, spec: str, code: int, who: dict[str, str] | None = None, **more: Any) -> Any:
        answer = self.client.post(path, json={"spec": spec, **more}, headers=who or self.trainer)
        assert answer.status_code == code, answer.text
        return answer.json()

    def get(self, path: str, who: dict[str, str] | None = None, code: int = 200) -> Any:
        answer = self.client.get(path, headers=who or self.trainer)
        assert answer.status_code == code, answer.text
        return answer.json()


@pytest.fixture
def desk(house: House) -> Desk:
    add_claims(house.parts.ground)
    return Desk(house)


# -- plan -------------------------------------------------------------------------------------------


def test_a_plan_says_what_would_happen_and_changes_nothing(desk: Desk) -> None:
    before = desk.world.sum()
    plan = desk.ask("/api/plans", SERVICE, 200)
    assert desk.world.sum() == before
    assert [step["name"] for step in plan["steps"]] == [
        step.name
        for step in STORIES["deliver"].steps
        if step.name not in ("shadow", "compare", "canary", "watch", "ab", "judge")
    ]
    assert plan["total"]["estimated"] is True
    assert float(plan["total"]["watt_hours"]) > 0
    assert plan["fit"]["fits"]
    assert plan["data"]["rows"] == 180
    assert plan["change"] == {"kind": "new", "fields": []}
    assert plan["walls"]["offered"]
    assert plan["now"]["state"] == "would begin"


def test_a_plan_counts_who_could_approve_without_owner_and_submitter(desk: Desk) -> None:
    owned = SERVICE.replace("claims-team@example.org", "risk@example.org")
    roles = {one["role"]: one["people"] for one in desk.ask("/api/plans", owned, 200)["approvers"]}
    assert roles == {"model-risk": 0, "data-protection": 1}


def test_a_plan_that_does_not_fit_says_why(desk: Desk) -> None:
    small = SERVICE.replace("task: classify", "task: classify\n  memory: 10 MB\n  wall: 1s")
    fit = desk.ask("/api/plans", small, 200)["fit"]
    assert not fit["fits"]
    assert len(fit["because"]) == 2


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("purpose: claims-handling", "purpose: marketing", 403, "collected for: claims-handling"),
        ("sensitivity: Confidential", "sensitivity: Public", 403, "as sensitive as its data"),
        ("data: claims@1", "data: claims@9", 404, "claims@9"),
        ("regions: [eu]", "regions: [us]", 403, "us"),
        ("metric: accuracy", "metric: acuracy", 400, "did you mean `accuracy`?"),
        ("value: 0.80", "value: 0.80, against: claims@1", 400, "learns from"),
        ("{message:", "{massage:", 400, "example 1"),
    ],
)
def test_what_cannot_be_is_refused_by_plan_and_apply_alike(
    desk: Desk, old: str, new: str, code: int, words: str
) -> None:
    for path in ("/api/plans", "/api/journeys"):
        assert words in str(desk.ask(path, SERVICE.replace(old, new), code))
    assert desk.world.sum()["journeys"] == {}


@pytest.mark.parametrize(
    ("named", "code", "words"),
    [
        ("nobody", 400, "no service of that name answers"),
        ("letters", 400, "it is the service itself"),
        ("loud", 403, "it is guarded more strictly"),
    ],
)
def test_who_stands_in_for_a_service_that_writes_is_judged_before_anything_is_computed(
    desk: Desk, named: str, code: int, words: str
) -> None:
    ground = desk.house.parts.ground
    asked = Attachment(
        service="loud", project="claims", purpose="claims-handling", url="http://127.0.0.1:9", model="m",
        owner="x", guard=("in.pii=mask",), sensitivity="Confidential",
    )  # fmt: skip
    with ground.db.write() as tx:
        attach(tx, ground, by=SYSTEM, asked=asked)
    file = LETTERS.replace("engine: torch", f"engine: torch, fallback: [{named}]")
    for path in ("/api/plans", "/api/journeys"):
        assert words in str(desk.ask(path, file, code))


def test_only_who_may_train_plans_or_applies(desk: Desk) -> None:
    for path in ("/api/plans", "/api/journeys"):
        assert "train:submit" in str(desk.ask(path, SERVICE, 403, who=desk.auditor))
    elsewhere = SERVICE.replace("project: claims", "project: other")
    desk.ask("/api/journeys", elsewhere, 403)


# -- apply ------------------------------------------------------------------------------------------


def test_the_same_file_again_joins_and_then_finds_nothing_to_do(desk: Desk) -> None:
    first = desk.ask("/api/journeys", SERVICE, 201)
    again = desk.ask("/api/journeys", SERVICE + "# reviewed\n", 201)
    assert (first["became"], again["became"]) == ("begun", "joined")
    assert again["journey"] == first["journey"]
    assert desk.world.run(first["journey"]) == "done"
    assert desk.ask("/api/journeys", SERVICE, 201)["became"] == "nothing to do"
    assert desk.ask("/api/plans", SERVICE, 200)["now"]["state"] == "nothing to do"
    assert desk.ask("/api/plans", OTHER, 200)["change"]["fields"] == ["gates"]


def test_another_file_for_the_same_service_takes_over(desk: Desk) -> None:
    first = desk.ask("/api/journeys", SERVICE, 201)["journey"]
    desk.world.run(first, agree=False)
    second = desk.ask("/api/journeys", OTHER, 201)
    assert second["superseded"] == [first]
    assert desk.world.run(second["journey"]) == "done"
    assert desk.world.state(first).state == "stopped"
    assert desk.world.sum()["approvals"] == {"given": 2, "void": 2}


def test_a_delivery_that_ended_early_goes_on_from_there(desk: Desk) -> None:
    first = desk.ask("/api/journeys", SERVICE, 201, until="evaluated")["journey"]
    assert desk.world.run(first) == "done"
    assert desk.ask("/api/journeys", SERVICE, 201, until="trained")["became"] == "nothing to do"
    again = desk.ask("/api/journeys", SERVICE, 201)
    assert (again["journey"], again["became"]) == (first, "goes on")
    assert desk.world.run(first) == "done"
    assert desk.world.sum()["runs"] == {"done": 2}
    assert desk.world.sum()["releases"] == {"live": 1}


def test_who_wants_less_does_not_cut_a_delivery_short(desk: Desk) -> None:
    journey = desk.ask("/api/journeys", SERVICE, 201)["journey"]
    assert desk.ask("/api/journeys", SERVICE, 201, until="trained")["became"] == "joined"
    assert desk.world.run(journey) == "done"
    assert desk.world.sum()["releases"] == {"live": 1}


def test_a_service_that_answers_never_loses_its_approvals(desk: Desk) -> None:
    assert desk.world.run(desk.ask("/api/journeys", SERVICE, 201)["journey"]) == "done"
    assert "limited and cannot become sandbox" in str(desk.ask("/api/journeys", SANDBOX, 403))


def test_an_end_that_does_not_exist_is_refused(desk: Desk) -> None:
    assert "pinned, trained" in str(desk.ask("/api/journeys", SERVICE, 400, until="finished"))


def test_the_owners_address_stands_only_among_the_people(desk: Desk) -> None:
    owned = SERVICE.replace("claims-team@example.org", "risk@example.org")
    desk.world.run(desk.ask("/api/journeys", owned, 201)["journey"], agree=False)
    with desk.house.parts.ground.db.read() as conn:
        for table in tables.metadata.sorted_tables:
            rows = conn.execute(sa.select(table)).all() if table.name != "people" else []
            assert "risk@example.org" not in str(rows), table.name


# -- looking ----------------------------------------------------------------------------------------


def test_a_journey_is_told_step_by_step_with_what_came_of_it(desk: Desk) -> None:
    journey = desk.ask("/api/journeys", SERVICE, 201)["journey"]
    desk.world.run(journey, agree=False)
    told = desk.get(f"/api/journeys/{journey}")
    states = {step["name"]: step["state"] for step in told["steps"]}
    assert states["evaluate"] == "done"
    assert states["approve"] == "waiting"
    assert {one["role"] for one in told["waits_for"]} == {"model-risk", "data-protection"}
    assert told["model"] == "claims-triage@1"
    assert told["passed"] is True
    assert [run["run"] for run in told["runs"]] == ["run:1", "run:2"]
    assert desk.get("/api/journeys")[0]["id"] == journey


def test_runs_and_cards_are_shown_to_who_may_see_them(desk: Desk, house: House) -> None:
    desk.world.run(desk.ask("/api/journeys", HARD, 201)["journey"])
    runs = desk.get("/api/runs")
    assert [run["kind"] for run in runs] == ["evaluate", "train"]
    run = desk.get("/api/runs/2")
    assert run["run"] == desk.get("/api/runs/run:2")["run"] == "run:2"
    assert run["energy"] == "estimated"
    card = desk.get(f"/api/cards/{run['card']}", who=desk.auditor)
    assert card["passed"] is False
    page = desk.client.get(f"/api/cards/{run['card']}.html", headers=desk.auditor)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    house.project("other")
    _, stranger = house.person("stranger@example.org", "other/auditor")
    assert desk.get("/api/runs", who=stranger) == []
    desk.get("/api/runs/2", who=stranger, code=403)
    desk.get(f"/api/cards/{run['card']}", who=stranger, code=403)
    desk.get("/api/runs/99", code=404)
    desk.get("/api/cards/crd_none", code=404)
    desk.get("/api/journeys/jrn_none", code=404)


def test_a_journey_can_be_stopped_by_who_may_begin_one(desk: Desk) -> None:
    journey = desk.ask("/api/journeys", SERVICE, 201)["journey"]
    desk.world.runner.run_once()
    stop = f"/api/journeys/{journey}/stop"
    assert desk.client.post(stop, json={}, headers=desk.auditor).status_code == 403
    assert desk.client.post(stop, json={}, headers=desk.trainer).status_code == 200
    assert desk.world.run(journey) == "stopped"
    assert desk.client.post(stop, json={}, headers=desk.trainer).status_code == 409
    sums = desk.world.sum()
    assert (sums["jobs"], sums["runs"]) == ({"cancelled": 1}, {"failed": 1})


def test_status_counts_what_waits_and_names_what_is_wrong(desk: Desk) -> None:
    desk.world.run(desk.ask("/api/journeys", SERVICE, 201)["journey"], agree=False)
    desk.house.parts.sequencer.run_once()
    house = desk.get("/api/status")
    assert house["approvals_waiting"] == 2
    assert house["journeys"][0]["state"] == "waiting"
    desk.world.report("refused: model.onnx was changed")
    desk.world.decide()
    desk.world.runner.run_once()
    desk.world.report("refused: model.onnx was changed")
    assert any("was changed" in sentence for sentence in desk.get("/api/status")["wrong"])
