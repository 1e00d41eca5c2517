"""Every way of asking for a list is answered from the one index that has it in the order of time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import EVERYWHERE

from freehold.control import day, progress
from freehold.control.found import Asked, AskedEntries, page_of_answers, page_of_entries
from freehold.store.rows import Database

CURSOR = (10**15, "x")
pytestmark = pytest.mark.skipif(EVERYWHERE, reason="Postgres chooses by how many rows there are: here none")


class Explaining:
    """A connection that says how each query would be run, and runs it."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def execute(self, query: sa.Select[Any]) -> sa.CursorResult[Any]:
        text = str(query.compile(self._connection, compile_kwargs={"literal_binds": True}))
        rows = self._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
        self.plans += [row[3] for row in rows if " answers " in row[3] or " entries " in row[3]]
        return self._connection.execute(query)

    def scalar(self, query: sa.Select[Any]) -> Any:
        return self.execute(query).scalar()


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({}, "ending (project=? AND ending=? AND at<?)"),
        ({"ending": "failed"}, "ending (project=? AND ending=? AND at<?)"),
        ({"ending": "under way"}, "ending (project=? AND ending=? AND at<?)"),
        ({"service": "s"}, "service (project=? AND service=? AND ending=? AND at<?)"),
        ({"key": "k"}, "key (key=? AND ending=? AND at<?)"),
        ({"key": "k", "service": "s"}, "key (key=? AND ending=? AND at<?)"),
        ({"release": "r"}, "release (release=? AND at<?)"),
        ({"release": "r", "ending": "failed"}, "release (release=? AND at<?)"),
        ({"subject": "x"}, "subject (project=? AND subject=? AND at<?)"),
        (
            {"subject": "x", "service": "s", "ending": "failed"},
            "subject (project=? AND subject=? AND at<?)",
        ),
    ],
    ids=str,
)
def test_answers_come_from_the_index_that_fits(db: Database, asked: dict[str, str], index: str) -> None:
    with db.read() as connection:
        explaining: Any = Explaining(connection)
        page_of_answers(explaining, ["claims"], Asked(**asked), CURSOR, "older", 50)
    assert set(explaining.plans) == {f"SEARCH answers USING INDEX answers_by_{index}"}


@pytest.mark.parametrize("projects", [None, ["claims"]], ids=["everywhere", "in a project"])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"object": "o"},
        {"actor": "a"},
        {"kind": "k"},
        {"actor": "a", "kind": "k"},
        {"object": "o", "actor": "a", "kind": "k"},
    ],
    ids=str,
)
def test_entries_come_from_the_index_that_fits(
    db: Database, asked: dict[str, str], projects: list[str] | None
) -> None:
    with db.read() as connection:
        explaining: Any = Explaining(connection)
        page_of_entries(explaining, projects, AskedEntries(**asked), CURSOR, "older", 50)
    narrowest = next((word for word in ("object", "actor", "kind") if word in asked), None)
    index = f"entries_by_{narrowest or ('project' if projects else 'time')} "
    assert explaining.plans
    assert all("SEARCH" in plan and index in plan for plan in explaining.plans), explaining.plans


def test_what_waits_for_its_place_is_looked_up_and_all_that_have_one_are_not(db: Database) -> None:
    """It is asked on the first page and by `freehold status`, beside millions of entries."""
    parts = SimpleNamespace(sequencer=SimpleNamespace(problem=None), anchored=SimpleNamespace(place=""))
    with db.read() as connection:
        explaining: Any = Explaining(connection)
        day.totals(explaining, ["claims"])
        progress._ledger(explaining, parts, 10**15)  # type: ignore[arg-type]  # as much of it as is asked
    assert explaining.plans
    assert not [plan for plan in explaining.plans if plan.startswith("SCAN entries")], explaining.plans
