"""Projects begin with a name, a time zone and a currency."""

from __future__ import annotations

import pytest

from freehold.errors import Failure, NotFound
from freehold.identity import projects
from freehold.identity.projects import BadCurrency, BadTimezone, ProjectExists
from freehold.spec.ids import BadName
from freehold.spec.limits import BadLimit
from freehold.spec.principal import SYSTEM
from freehold.store.rows import Database


def test_a_project_is_found_and_listed(db: Database) -> None:
    with db.write() as tx:
        motor = projects.add(tx, by=SYSTEM, name="motor", timezone="Europe/Vienna", currency="CHF")
        projects.add(tx, by=SYSTEM, name="claims")
    with db.read() as conn:
        assert projects.find(conn, "motor") == motor
        assert [project.name for project in projects.listed(conn)] == ["claims", "motor"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"name": "claims"}, ProjectExists),
        ({"name": "Claims!"}, BadName),
        ({"name": "*"}, BadName),
        ({"name": "motor", "timezone": "Europe/Wien"}, BadTimezone),
        ({"name": "motor", "currency": "euro"}, BadCurrency),
    ],
)
def test_a_project_that_makes_no_sense_is_refused(
    db: Database, claims: str, said: dict[str, str], kind: type[Failure]
) -> None:
    with pytest.raises(kind) as refused, db.write() as tx:
        projects.add(tx, by=SYSTEM, **said)
    assert refused.value.hint


def test_a_project_that_is_not_there_is_told_so(db: Database) -> None:
    with db.read() as conn, pytest.raises(NotFound):
        projects.find(conn, "claims")


def test_what_a_project_may_use_is_said_changed_and_lifted(db: Database, claims: str) -> None:
    for said in ("600/min, 50 EUR/day", "5 at once", ""):
        with db.write() as tx:
            assert projects.limit(tx, by=SYSTEM, name=claims, limits=f" {said} ").limits == said
        with db.read() as conn:
            assert projects.find(conn, claims).limits == said
    with pytest.raises(BadLimit), db.write() as tx:
        projects.limit(tx, by=SYSTEM, name=claims, limits="50 USD/day")
