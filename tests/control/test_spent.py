"""What each model took so far: the parts sum to the meter, and nobody reads what is not theirs to read."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from freehold.control import day
from freehold.control.spent import Spent, spent
from freehold.ledger.record import record
from freehold.sizing import taken
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.support.line import Line

HOUR = day.HOUR


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("energy")
    return client


@pytest.fixture
def line(house: Any) -> Line:
    line = Line(house)
    line.data("note,kind\nwater in the cellar,water\ncar hit a tree,car\n", text="note", target="kind")
    return line


def ran(house: Any, number: int, watt_hours: float, model: str | None) -> None:
    """A run that ended, as the journey leaves it."""
    spec, id = {"settings": "none"}, new_id("run")
    row = {
        "id": id, "number": number, "project": "claims", "service": "claims-triage", "kind": "train",
        "state": "done", "spec": canonical(spec).decode(), "spec_digest": digest(spec), "metrics": "{}",
        "machine": "{}", "cpu_seconds": 2.0, "wall_seconds": 3.0, "watt_hours": watt_hours, "model": model,
    }  # fmt: skip
    with house.parts.ground.db.write() as tx:
        tx.execute(tables.runs.insert().values({**row, "started_at": tx.at - 1_000_000, "ended_at": tx.at}))
        detail = {"run": id, "kind": "train", "spec": digest(spec), "data": "-"}
        record(tx, "run.begun", by=SYSTEM, object=f"run:{number}", project="claims", detail=detail)


def answered(house: Any, model: Any, micros: int, **more: Any) -> None:
    """What ingestion writes of one answer that took so long."""
    ground = house.parts.ground
    with ground.db.write() as tx:
        release = tx.execute(sa.select(tables.releases.c.id).where(tables.releases.c.weight > 0)).scalar_one()
        values: dict[str, Any] = {
            "id": new_id("ans"), "project": "claims", "service": "claims-triage", "release": release,
            "serving_digest": model.serving_digest, "key": "key_x", "purpose": "claims-handling",
            "ending": "answered", "reason": "ok", "status": 200, "sandbox": False, "snapshot": 2,
            "request": "hmac-sha256:" + "1" * 64, "tokens_in": 1, "tokens_out": 1, "estimated": False,
            "micros": micros, "cost": "0", "spool": "spl_1", "sequence": 1, "at": tx.at,
            "closed_at": tx.at,
        }  # fmt: skip
        values |= more
        tx.execute(tables.answers.insert().values(values))
        names = ("service", "key", "purpose", "request", "snapshot")
        detail = {"answer": values["id"], **{name: values[name] for name in names}}
        record(tx, "answer.intent", by=SYSTEM, object=values["id"], project="claims", detail=detail)


def told(house: Any, service: str | None = None) -> tuple[Spent, ...]:
    with house.parts.ground.db.read() as conn:
        return spent(conn, ["claims"], house.parts.config, service)


def test_training_and_answering_of_all_models_are_what_the_meter_of_the_day_says(
    house: Any, line: Line
) -> None:
    model = line.live()
    ran(house, 1, 0.5, model.id)
    ran(house, 2, 0.25, None)
    for _ in range(3):
        answered(house, model, 40_000_000)
    answered(house, model, 2_000_000, release=None, ending="denied")
    found = {one.model: one for one in told(house)}
    mine, nobody = found[f"{model.name}@{model.version}"], found[""]
    assert (mine.runs, mine.trained, mine.answers) == (1, 0.5, 3)
    assert mine.served == pytest.approx(120 / 3600 * 10)
    assert (nobody.runs, nobody.trained, nobody.answers) == (1, 0.25, 1)
    with house.parts.ground.db.read() as conn:
        at = max(row.at for row in conn.execute(tables.answers.select())) + 1
        slices = day.slices(conn, ["claims"], at)
        meter = day.meter(conn, ["claims"], slices, house.parts.config, at, at - 2 * HOUR)
    assert sum(one.trained + one.served for one in found.values()) / 1000 == pytest.approx(float(meter.kwh))


def test_a_copy_for_a_shadow_takes_the_device_and_is_nobodys_answer(house: Any, line: Line) -> None:
    model, id = line.live(), new_id("rel")
    with house.parts.ground.db.write() as tx:
        live = tx.execute(tables.releases.select()).mappings().one()
        shadow = {**live, "id": id, "state": "shadow", "weight": 0}
        tx.execute(tables.releases.insert().values(shadow))
        detail = {name: shadow[name] for name in ("service", "serving_digest", "state", "weight")}
        detail |= {"release": id}
        record(tx, "release.begun", by=SYSTEM, object=id, project="claims", detail=detail)
    answered(house, model, 40_000_000)
    answered(house, model, 80_000_000, release=id)
    (found,) = told(house)
    assert found.answers == 1
    with house.parts.ground.db.read() as conn:
        at = max(row.at for row in conn.execute(tables.answers.select())) + 1
        slices = day.slices(conn, ["claims"], at)
        meter = day.meter(conn, ["claims"], slices, house.parts.config, at, at - 2 * HOUR)
    assert sum(piece.count for piece in slices) == 1
    assert found.served / 1000 == pytest.approx(float(meter.kwh))
    assert found.served == pytest.approx(120 / 3600 * 10)


def test_an_hour_holds_an_hour_however_much_is_answered_in_it(house: Any, line: Line) -> None:
    model = line.live()
    for _ in range(4):
        answered(house, model, HOUR, at=10**15)
    assert told(house)[0].served == pytest.approx(10)


def test_of_one_service_only_its_own_is_told(house: Any, line: Line) -> None:
    model = line.live()
    ran(house, 1, 0.5, model.id)
    answered(house, model, 40_000_000)
    assert told(house, "claims-triage") == told(house)
    assert told(house, "another") == ()


def test_whoever_may_read_runs_and_answers_is_told_and_a_plan_says_it_by_model(
    house: Any, line: Line, client: TestClient
) -> None:
    model = line.live()
    ran(house, 1, 0.5, model.id)
    answered(house, model, 40_000_000)
    asked = client.get("/api/energy", headers={"authorization": f"Bearer {line.keys['aud']}"})
    assert asked.status_code == 200, asked.text
    other = client.get("/api/energy", headers={"authorization": f"Bearer {line.keys['eve']}"})
    assert other.json()["models"] == []
    assert client.get("/api/energy").status_code == 401
    section = taken.of_control(asked.json()).section()
    (table,) = section.tables
    assert [row["model"] for row in table.rows] == [f"{model.name}@{model.version}", "all of them"]
    both = section.value("training took") + section.value("answering took")
    assert section.value("both took") == pytest.approx(both)
    assert "80 to 90 %" in next(f.formula for f in section.figures if f.name == "share of answering")
    assert {figure.label for figure in section.figures} == {"estimated"}
