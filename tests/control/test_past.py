"""What was live at a moment is told as it was, whatever happened since, with the entries that prove it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from freehold.release import roll
from freehold.spec.principal import SYSTEM
from freehold.store.tables import entries, ledger
from tests.support.line import Line

ROWS = "text,category\n" + "".join(f"water {n},property\ncar {n},motor\n" for n in range(30))


@pytest.fixture
def line(house: Any) -> Line:
    made = Line(house)
    made.data(ROWS)
    return made


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client("deliver", "release")
    return client


def at(client: TestClient, line: Line, moment: int) -> dict[str, Any]:
    told = client.get("/api/status/claims-triage", params={"at": moment}, headers=header(line, "olga"))
    assert told.status_code == 200, told.text
    found: dict[str, Any] = told.json()
    return found


def header(line: Line, who: str) -> dict[str, str]:
    return {"authorization": f"Bearer {line.keys[who]}"}


def turn(client: TestClient, line: Line, what: str, who: str) -> None:
    said = client.post(
        f"/api/services/claims-triage/{what}", json={"because": "a fault"}, headers=header(line, who)
    )
    assert said.status_code == 200, said.text


def test_each_moment_has_its_own_model_whatever_came_later(
    line: Line, client: TestClient, clock: Any
) -> None:
    before = clock()
    one, first = line.live("one").ref, clock()
    clock.forward(days=1)
    two, second = line.live("two").ref, clock()
    clock.forward(days=1)
    turn(client, line, "rollback", "olga")
    third = clock()

    assert at(client, line, before)["state"] == "unknown"
    assert [r["model"] for r in at(client, line, first)["running"]] == [one]
    assert [r["model"] for r in at(client, line, second)["running"]] == [two]
    assert [r["model"] for r in at(client, line, third)["running"]] == [one]
    told = at(client, line, second)
    (running,) = told["running"]
    assert (running["weight"], running["state"], told["state"]) == (10_000, "live", "live")
    assert sorted(one["role"] for one in running["approved"]) == ["data-protection", "model-risk"]
    assert {one["by"] for one in running["approved"]} == {line.ids["ann"], line.ids["bob"]}
    assert running["card"].startswith("sha256:")
    assert told["snapshot"]["ix"] < at(client, line, third)["snapshot"]["ix"]


def test_a_canary_had_its_share_then(line: Line, client: TestClient, clock: Any) -> None:
    line.live("one")
    canary = line.release(line.model("two"), state="canary", weight=500)
    small = clock()
    clock.forward(seconds=60)
    with line.ground.db.write() as tx:
        roll.weigh(tx, line.ground, by=SYSTEM, release=canary, weight=2000)
    shares = {r["state"]: r["weight"] for r in at(client, line, small)["running"]}
    assert shares == {"live": 9500, "canary": 500}
    assert {r["state"]: r["weight"] for r in at(client, line, clock())["running"]} == {
        "live": 8000,
        "canary": 2000,
    }


def test_a_stopped_service_was_stopped_from_then_to_then(line: Line, client: TestClient, clock: Any) -> None:
    line.live()
    running = clock()
    turn(client, line, "stop", "olga")
    stopped = clock()
    turn(client, line, "resume", "otto")
    assert [at(client, line, t)["state"] for t in (running, stopped, clock())] == ["live", "stopped", "live"]
    assert at(client, line, stopped)["stopped"]["actor"] == line.ids["olga"]


@pytest.mark.parametrize("placed", [True, False])
def test_what_came_later_counts_though_the_clock_was_turned_back_between(
    line: Line, house: Any, client: TestClient, clock: Any, placed: bool
) -> None:
    line.live()
    clock.forward(seconds=60)
    turn(client, line, "stop", "olga")
    clock.forward(seconds=-30)
    turn(client, line, "resume", "otto")
    clock.forward(seconds=60)
    if placed:
        house.parts.sequencer.run_once()
    assert at(client, line, clock())["state"] == "live"


def test_what_is_told_is_proved_by_entries_with_places(
    line: Line, house: Any, client: TestClient, clock: Any
) -> None:
    line.live()
    house.parts.sequencer.run_once()
    (running,) = at(client, line, clock())["running"]
    cited = [running["entry"], *running["approved"]]
    with house.parts.ground.db.read() as conn:
        for one in cited:
            body, ix = conn.execute(
                sa.select(entries.c.body, ledger.c.ix)
                .join(ledger, ledger.c.id == entries.c.id)
                .where(entries.c.id == one["entry"])
            ).one()
            assert (json.loads(body)["kind"], ix) == (one["kind"], one["ix"])


def test_the_future_is_not_told(line: Line, client: TestClient, clock: Any) -> None:
    line.live()
    told = client.get(
        "/api/status/claims-triage", params={"at": clock() + 10**9}, headers=header(line, "olga")
    )
    assert told.status_code == 400
    assert "has not come" in told.json()["error"]["what"]


def test_who_may_not_see_the_service_may_not_see_its_past(line: Line, client: TestClient, clock: Any) -> None:
    line.live()
    told = client.get("/api/status/claims-triage", params={"at": clock()}, headers=header(line, "eve"))
    assert told.status_code == 404
