"""The database stands still, or refuses, while answers are asked for: none is lost, none is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import postgres_server
import pytest

from freehold.control import ingest, progress
from freehold.control.routes import border_serving
from freehold.ledger.verify import verify
from freehold.store.home import Home
from freehold.store.rows import DatabaseUnusable
from tests.control.conftest import house_in
from tests.control.test_gateway_process import Askers, Installation


@pytest.fixture
def asked(house: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Installation, Askers]]:
    """A gateway process before a real control, and askers who go on."""
    with asked_of(house, monkeypatch) as made:
        yield made


@contextmanager
def asked_of(house: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Installation, Askers]]:
    monkeypatch.setattr(border_serving, "HOLD", 0.5)
    made = Installation(house)
    made.start()
    made.served()
    askers = Askers(made, 3, stream=False, keep=True)
    askers.more(5)
    yield made, askers
    askers.stop()
    made.close()


def caught_up(made: Installation, askers: Askers) -> None:
    """Every answer that was seen is recorded as answered, and nothing is missing in between."""
    askers.stop()
    assert askers.failures == []
    seen = dict.fromkeys(askers.whole, "answered")
    made.until(lambda: made.answers() == seen)
    assert not made.house.entries("spool.gap")
    assert not made.house.entries("spool.unbegun")


def troubles(made: Installation) -> dict[str, Any]:
    told = httpx.get(f"{made.url}/status", trust_env=False).json()
    return {trouble["part"]: trouble for trouble in told["troubles"]}


def wrongs(made: Installation) -> list[str]:
    said: list[str] = progress.status(made.house.parts, None)["wrong"]
    return said


def test_answers_go_on_while_the_database_is_locked(asked: tuple[Installation, Askers]) -> None:
    made, askers = asked
    if made.ground.db.writer_engine.dialect.name != "sqlite":
        pytest.skip("a lock on the whole database is SQLite's")
    with closing(sqlite3.connect(made.house.parts.home.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = len(made.answers())
        askers.more(20)
        assert len(made.answers()) == before
        other.execute("ROLLBACK")
    caught_up(made, askers)


def test_answers_go_on_while_the_database_refuses_and_the_gateway_says_since_when(
    asked: tuple[Installation, Askers], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, askers = asked

    def stopped(*_given: Any, **_named: Any) -> None:
        raise DatabaseUnusable(why="it is shutting down", hint="start it")

    monkeypatch.setattr(border_serving, "take_in", stopped)
    made.until(lambda: "shipping" in troubles(made))
    trouble = troubles(made)["shipping"]
    assert "503" in trouble["why"]
    assert "nothing is lost" in trouble["lost"]
    (wrong,) = (said for said in wrongs(made) if said.startswith("no records of answers are taken in since"))
    assert wrong.endswith("wait in their spools; start it")
    askers.more(20)
    monkeypatch.setattr(border_serving, "take_in", ingest.take_in)
    made.until(lambda: not troubles(made))
    made.until(lambda: not any("records" in said for said in wrongs(made)))
    caught_up(made, askers)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_postgres_that_is_stopped_and_started_under_load_costs_no_answer_and_no_record(
    how: str, tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "freehold.d")
    postgres_server.settle(home)
    server = postgres_server.server()
    with house_in(tmp_path, clock) as house, asked_of(house, monkeypatch) as (made, askers):
        server.stop(how)
        try:
            made.until(lambda: "shipping" in troubles(made))
            askers.more(20)
        finally:
            server.start()
        made.until(lambda: not troubles(made))
        caught_up(made, askers)
        house.parts.sequencer.run_once()
        assert verify(home).broken == ()
