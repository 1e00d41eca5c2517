"""Two runs beside each other, and a run under way with the curve it has told so far."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.cli.compare import drawn
from freehold.jobs import queue
from freehold.jobs.queue import JobRequest
from freehold.jobs.steps import Story, begin
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.support.line import Line


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("deliver")
    return client


@pytest.fixture
def line(house: Any) -> Line:
    return Line(house)


def write_run(house: Any, number: int, **more: Any) -> str:
    """A run's row, as the journey leaves it."""
    spec, id = {"settings": more.pop("settings", {})}, new_id("run")
    row = {
        "id": id, "number": number, "project": "claims", "service": "claims-triage", "kind": "train",
        "state": "done", "spec": canonical(spec).decode(), "spec_digest": digest(spec),
        "metrics": json.dumps(more.pop("metrics", {})), "machine": "{}", "cpu_seconds": 2.0,
        "wall_seconds": 3.0, "watt_hours": 0.01,
    }  # fmt: skip
    with house.parts.ground.db.write() as tx:
        tx.execute(tables.runs.insert().values({**row, "started_at": tx.at, **more}))
        detail = {"run": id, "kind": "train", "spec": digest(spec), "data": "-"}
        record(tx, "run.begun", by=SYSTEM, object=f"run:{number}", project="claims", detail=detail)
    return id


def bearer(line: Line, name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {line.keys[name]}"}


def test_figures_on_the_same_rows_stand_beside_each_other_with_what_differs(
    client: TestClient, house: Any, line: Line
) -> None:
    line.data("note,kind\nwater in the cellar,water\ncar hit a tree,car\n", text="note", target="kind")
    line.service()
    curve = {"curve": [["0", "2.5", "1", "0.1"], ["9", "0.5", "1", "0.1"]]}
    write_run(house, 1, settings={"l2": "0.1", "seed": 7}, model=line.model("one").id)
    write_run(house, 2, settings={"l2": "0.2", "seed": 7}, model=line.model("two").id, metrics=curve)
    told = client.get("/api/runs/run:1/compare/2", headers=bearer(line, "tim")).json()
    assert [run["run"] for run in told["runs"]] == ["run:1", "run:2"]
    assert told["spec"] == [{"name": "settings.l2", "one": "0.1", "other": "0.2"}]
    assert [run["last_loss"] for run in told["runs"]] == [None, "0.5"]
    assert told["runs"][1]["curve"] == [[0.0, 2.5], [9.0, 0.5]]
    assert all(run["model_bytes"] > 0 for run in told["runs"])
    assert told["figures"]
    assert all(figure["one"]["value"] and figure["other"]["value"] for figure in told["figures"])


def test_what_cannot_be_compared_is_refused(client: TestClient, house: Any, line: Line) -> None:
    write_run(house, 1)
    write_run(house, 2, project="motor")
    tim = bearer(line, "tim")
    assert client.get("/api/runs/1/compare/run:1", headers=tim).json()["error"]["code"] == "bad-input"
    assert client.get("/api/runs/1/compare/2", headers=tim).status_code in (403, 404)
    assert client.get("/api/runs/1/compare/3", headers=tim).status_code == 404


def test_a_run_under_way_shows_the_curve_it_has_told_so_far(
    client: TestClient, house: Any, line: Line
) -> None:
    db = house.parts.ground.db
    request = JobRequest(kind="train", spec={}, inputs=(), memory=1, seconds=1)
    with db.write() as tx:
        journey = begin(tx, Story(kind="deliver"), by=SYSTEM, project="claims", service=None, spec={})
        queue.enqueue(tx, by=SYSTEM, journey=journey, step="train", request=request)
    write_run(house, 1, state="running", journey=journey)
    job = queue.claim(db, by=SYSTEM, worker="w-1", kinds=["train"])
    assert job is not None
    for step, loss in ((1, 2.5), (2, 1.5)):
        queue.beat(db, job=job.id, fence=job.fence, progress={"step": step, "of": 9, "loss": loss})
    told = client.get("/api/runs/1", headers=bearer(line, "tim")).json()
    assert told["metrics"]["curve"] == [["1", "2.5"], ["2", "1.5"]]
    assert told["progress"] == {"step": 2, "of": 9, "loss": 1.5}


def test_a_curve_is_drawn_as_a_line_of_blocks() -> None:
    assert drawn([[0, 2.0], [1, 1.0], [2, 0.0]]) == "2 █▅▁ 0"
    assert drawn([[0, 1.0]]) == "1 ▁ 1"
    assert len(drawn([[step, 500.0 - step] for step in range(500)]).split()[1]) == 40
