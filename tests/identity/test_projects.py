"""Projects begin with a name, a time zone and a currency."""

from __future__ import annotations

import pytest

from freehold.errors import Failure, NotFound
from freehold.identity import projects
from freehold.identity.projects import BadCurrency, BadTimezone, ProjectExists
from freehold.spec.ids import BadName
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
