"""Whatever its description allows, and what it does not: control answers as described and never breaks."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest
import schemathesis
from by_description import CASES, ask_everything
from schemathesis.python import asgi

from freehold.control import lineage, server
from freehold.control.routes import ledger
from freehold.identity import keys
from freehold.identity.people import find, unlock
from freehold.spec.principal import INSTALLATION, ROLES, SYSTEM
from tests.control.conftest import bearer

LONG = {"POST /api/backups": 2, "POST /api/export": 3, "POST /api/controls": 2, "POST /api/keyring/rotate": 3}
"""What reads, seals or proves everything takes its time."""


@pytest.fixture
def everybody(house: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """An administrator, and somebody with every role that one may not have beside it.

    Answers that are not there are not waited for.
    """
    monkeypatch.setattr(ledger, "WAIT", 0.0)
    monkeypatch.setattr(lineage, "PATIENCE", 0.0)
    ruler, _ = house.person("ruler@example.org", f"{INSTALLATION}/administrator")
    others = [f"{INSTALLATION}/{role}" for role in ROLES if role != "administrator"]
    return ruler, house.person("all@example.org", *others)[0]


def asked(house: Any, people: tuple[str, str], cases: int) -> dict[int, int]:
    app = server.build(house.parts)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    known = ["claims", "claims@1", "claims-triage", "all@example.org", "claims-handling", "trainer", *people]
    turns = cycle(people)
    with asgi.get_client(app) as client:

        def send(case: Any) -> Any:
            # some routes void the key they are asked with, or lock whose it is
            with house.parts.ground.db.write() as tx:
                who = next(turns)
                unlock(tx, by=SYSTEM, person=find(tx.connection, who))
                key = keys.create(tx, by=SYSTEM, owner=who, zone="control")
            return case.call(session=client, headers=bearer(key.text), timeout=120)

        return dict(ask_everything(schema, send, cases=cases, known=known, rarely=LONG))


@pytest.mark.timeout(300)
def test_hundreds_of_requests_are_answered_as_described(house: Any, everybody: tuple[str, str]) -> None:
    told = asked(house, everybody, 500)
    assert told.get(200, 0) + told.get(201, 0) > 30, "a good part of it does something"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_requests_are_answered_as_described(house: Any, everybody: tuple[str, str]) -> None:
    told = asked(house, everybody, CASES + CASES // 3)  # some ways of asking have fewer cases than that
    print(told)
    assert sum(told.values()) >= CASES
