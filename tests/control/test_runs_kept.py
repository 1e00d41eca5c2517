"""How long what MLflow clients wrote is kept: words and files go with their key, measurements stay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freehold.control import keeping
from freehold.journeys import certificate
from tests.control.test_mlflow import Wire, a_foreign_version, agrees
from tests.journeys.world import World


@pytest.fixture
def tim(house: Any) -> Wire:
    return Wire(house, house.person("tim@example.org", "claims/trainer")[1])


def rule(house: Any, dpo: dict[str, str], keep: str = "90d") -> None:
    body = {"project": "claims", "what": "runs", "keep": keep}
    assert house.client("retention").post("/api/retention", json=body, headers=dpo).is_success


def told_all(tim: Wire, experiment: str) -> str:
    """A run with everything that can be said of one, at its end."""
    run = tim.run(experiment, run_name="about anna")
    tim.do("POST", "/runs/log-parameter", {"run_id": run, "key": "patient", "value": "anna k"})
    tim.do("POST", "/runs/log-metric", {"run_id": run, "key": "accuracy", "value": 0.91, "timestamp": 1})
    assert tim.put(f"{experiment}/{run}/artifacts/anna.txt", b"anna's words").status_code == 200
    tim.end(run)
    return run


def words(tim: Wire, run: str) -> str:
    return json.dumps(tim.get(run))


def file(tim: Wire, experiment: str, run: str) -> int:
    path = f"/mlflow/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/anna.txt"
    return int(tim.http.get(path, headers=tim.headers).status_code)


def purged(house: Any) -> World:
    world = World(house.parts.home, house.parts.ground)
    (journey,) = keeping.begin_due(house.parts.ground)
    assert world.run(journey) == "done"
    return world


def test_words_and_files_of_a_run_go_when_its_time_is_over_and_its_measurements_stay(
    house: Any, tim: Wire, dpo: dict[str, str], clock: Any
) -> None:
    experiment = tim.experiment()
    old, under_way = told_all(tim, experiment), tim.run(experiment, run_name="under way")
    rule(house, dpo)
    clock.forward(days=89)
    young = told_all(tim, experiment)
    assert keeping.begin_due(house.parts.ground) == []
    clock.forward(days=2)
    purged(house)
    assert "anna" not in words(tim, old)
    assert "(forgotten)" in words(tim, old)
    assert tim.get(old)["data"]["metrics"][0]["value"] == 0.91
    assert file(tim, experiment, old) in (403, 404)
    assert "about anna" in words(tim, young)
    assert file(tim, experiment, young) == 200
    assert "under way" in words(tim, under_way)
    assert agrees(house) == []
    assert keeping.begin_due(house.parts.ground) == [], "nothing is left to do"


def test_what_a_registered_version_names_stays_until_that_is_deleted(
    house: Any, tim: Wire, dpo: dict[str, str], clock: Any
) -> None:
    model, _ = a_foreign_version(tim)
    run = tim.do("GET", f"/logged-models/{model}")["model"]["info"]["source_run_id"]
    tim.end(run)
    rule(house, dpo)
    clock.forward(days=400)
    assert keeping.begin_due(house.parts.ground) == []
    tim.do("DELETE", "/model-versions/delete", {"name": "churn-model", "version": "1"})
    world = purged(house)
    assert house.parts.ground.keyring.known([f"track/{id_}" for id_ in (run, model)]) == {}
    assert agrees(house) == []
    with world.db.read() as conn:
        last = certificate.of_journey(conn, world_purge(house))
    assert last is not None


def world_purge(house: Any) -> str:
    (entry,) = house.entries("purge.removed")
    detail = json.loads(entry["body"])["detail"]
    assert (detail["runs"], detail["answers"]) == (2, 0)
    (begun,) = [json.loads(one["body"])["detail"] for one in house.entries("journey.begun")]
    return str(begun["journey"])


def test_a_hold_on_everything_keeps_runs_and_no_rule_about_words_is_one_about_runs(
    house: Any, tim: Wire, dpo: dict[str, str], clock: Any
) -> None:
    told_all(tim, tim.experiment())
    client = house.client("retention")
    assert client.post("/api/retention", json={"project": "claims", "keep": "1d"}, headers=dpo).is_success
    clock.forward(days=400)
    assert keeping.begin_due(house.parts.ground) == []
    rule(house, dpo)
    body = {"project": "claims", "what": "everything", "because": "case 12"}
    assert client.post("/api/holds", json=body, headers=dpo).is_success
    assert keeping.begin_due(house.parts.ground) == []
    said = client.get("/api/retention", params={"project": "claims"}, headers=dpo).json()
    assert (said["due"]["runs"], said["due"]["held"]) == (0, 1)
    assert [(one["what"], one["purpose"]) for one in said["rules"]] == [("runs", None), ("words", "*")]
