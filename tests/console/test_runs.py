"""Runs in the browser: the list, one with its curve, two beside each other."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.console.conftest import words_of
from tests.support.line import Line


@pytest.fixture
def run(house: Any, line: Line) -> Any:
    """Writes a finished run's row, as the journey leaves it."""

    def write(number: int, metrics: dict[str, Any], **settings: Any) -> None:
        spec, id = {"settings": settings}, new_id("run")
        with house.parts.ground.db.write() as tx:
            tx.execute(
                tables.runs.insert().values(
                    id=id,
                    number=number,
                    project="claims",
                    service="claims-triage",
                    kind="train",
                    state="done",
                    spec=canonical(spec).decode(),
                    spec_digest=digest(spec),
                    metrics=canonical(metrics).decode(),
                    machine="{}",
                    cpu_seconds=2.0,
                    wall_seconds=3.0,
                    watt_hours=0.01,
                    started_at=tx.at,
                    ended_at=tx.at,
                )
            )
            detail = {"run": id, "kind": "train", "spec": digest(spec), "data": "-"}
            record(tx, "run.begun", by=SYSTEM, object=f"run:{number}", project="claims", detail=detail)

    return write


def test_without_runs_the_page_says_which_command_begins_one(at: Any) -> None:
    assert "freehold apply service.yaml" in at("tim").get("/runs").text


def test_the_list_goes_on_over_pages(at: Any, run: Any) -> None:
    for number in range(1, 53):
        run(number, {})
    tim = at("tim")
    first = tim.get("/runs").text
    assert "run:52" in first
    assert "run:2<" not in first
    assert "/runs?before=3" in first
    assert "run:2<" in tim.get("/runs?before=3").text


def test_a_run_that_learned_in_steps_has_its_curve_and_another_says_it_has_none(at: Any, run: Any) -> None:
    run(1, {"curve": [["0", "2.5", "1", "0.1"], ["1", "1.5", "1", "0.1"]]}, l2="0.1")
    run(2, {"curve": [], "classes": 2}, l2="0.2")
    tim = at("tim")
    assert "<path" in tim.get("/runs/1").text
    assert "this trainer does not learn in steps" in words_of(tim.get("/runs/2").text)


def test_two_runs_differ_where_they_differ(at: Any, run: Any) -> None:
    run(1, {"classes": 2}, l2="0.1", seed=7)
    run(2, {"classes": 3}, l2="0.2", seed=7)
    page = words_of(at("tim").get("/runs/1/compare?with=run:2").text)
    assert "settings.l2 0.1 0.2" in page
    assert "classes 2 3" in page
    assert "seed" not in page
    assert "freehold compare run:1 run:2" in page
    assert at("tim").get("/runs/1/compare").status_code == 400


def test_another_project_s_run_is_not_there(at: Any, run: Any) -> None:
    run(1, {})
    assert at("eve").get("/runs/1").status_code == 404
    assert at("tim").get("/runs/99").status_code == 404
    assert at("tim").get("/runs?before=x").status_code == 400
    assert "run:1" not in at("eve").get("/runs").text


def test_settings_with_markup_are_shown_as_words(at: Any, run: Any) -> None:
    run(1, {"note": "<script>alert(1)</script>"}, note="<script>alert(2)</script>")
    assert "<script>alert" not in at("tim").get("/runs/1").text
