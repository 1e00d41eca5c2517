"""What a project's services are guarded by at least, by purpose and sensitivity."""

from __future__ import annotations

import pytest

from freehold.errors import NotFound
from freehold.identity import floors, projects
from freehold.spec.floor import Floor
from freehold.spec.guard import BadGuard
from freehold.spec.principal import SYSTEM
from freehold.store.rows import Database

MASKED, REFUSED = ("in.pii=mask",), ("in.pii=refuse", "out.secrets=refuse")


def _guard(db: Database, guard: tuple[str, ...], purpose: str = "", sensitivity: int = 1) -> None:
    with db.write() as tx:
        floor = Floor(purpose=purpose, sensitivity=sensitivity, guard=guard)
        floors.guard(tx, by=SYSTEM, name="claims", floor=floor)


def _words(db: Database, purpose: str, sensitivity: int) -> list[tuple[str, ...]]:
    with db.read() as conn:
        text = projects.find(conn, "claims").guards
    return [floor.guard for floor in floors.floors_of(text, purpose, sensitivity)]


def test_rules_hold_beside_each_other_and_are_taken_back_one_by_one(db: Database, claims: str) -> None:
    _guard(db, MASKED)
    _guard(db, REFUSED, "claims-handling", 3)
    assert _words(db, "claims-handling", 3) == [MASKED, REFUSED]
    assert _words(db, "marketing", 4) == [MASKED]
    _guard(db, ("in.pii=observe",))
    assert _words(db, "marketing", 4) == [("in.pii=observe",)]
    _guard(db, ())
    _guard(db, (), "claims-handling", 3)
    assert _words(db, "claims-handling", 4) == []


@pytest.mark.parametrize("words", [("in.pii=none",), ("in.pi=mask",), ("out.injection=refuse",)])
def test_words_that_ask_for_nothing_are_refused(db: Database, claims: str, words: tuple[str, ...]) -> None:
    with pytest.raises(BadGuard):
        _guard(db, words)


def test_a_project_that_is_not_there_has_no_rules(db: Database) -> None:
    with pytest.raises(NotFound):
        _guard(db, MASKED)
