"""The runner looks when it is told that something changed, not again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.jobs import runner, steps
from freehold.jobs.runner import Runner
from freehold.jobs.steps import Done, Moment, Outcome, Step, Story, Waits, begin, leave_as_it_is
from freehold.spec.config import Config
from freehold.spec.principal import SYSTEM
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Database
from freehold.store.tables import journeys


class Asked:
    """A step that waits for people, until it does not."""

    def __init__(self) -> None:
        self.looks = 0
        self.answered = False

    def __call__(self, _moment: Moment) -> Outcome:
        self.looks += 1
        return Done() if self.answered else Waits(because="waits for ada", people=True)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def story(asked: Asked) -> Story:
    return Story(kind="ask", steps=(Step(name="ask", does="ask", do=asked, undo=leave_as_it_is),))


@pytest.fixture
def running(
    db: Database,
    keyring: Keyring,
    blobs: FileBlobs,
    clock: Any,
    story: Story,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Runner]:
    monkeypatch.setattr(runner, "MOVING", 3600.0)
    monkeypatch.setattr(runner, "STANDING", 3600.0)
    ground = Ground(
        db=db,
        keyring=keyring,
        blobs=blobs,
        release_key=Ed25519PrivateKey.generate(),
        origin="test",
        clock=clock,
    )
    one = Runner(ground, Config(), {"ask": story})
    one.start()
    yield one
    one.stop()


def test_a_journey_is_moved_as_soon_as_it_is_written_and_when_it_changes(
    db: Database, running: Runner, story: Story, asked: Asked
) -> None:
    with db.write() as tx:
        journey = begin(tx, story, by=SYSTEM, project="claims", service=None, spec={})
    _until(lambda: _state(db, journey) == "waiting")
    asked.answered = True
    with db.write() as tx:  # as whoever decides does: what the step waits for is a row that changes
        steps.stop(tx, by=SYSTEM, journey=journey, because="never mind")
    _until(lambda: _state(db, journey) == "stopped")
    assert asked.looks <= 4, "told by commits, its own included"


def test_while_people_are_waited_for_it_looks_seldom(db: Database, running: Runner, story: Story) -> None:
    with db.write() as tx:
        journey = begin(tx, story, by=SYSTEM, project="claims", service=None, spec={})
    _until(lambda: _state(db, journey) == "waiting")
    with db.read() as conn:
        assert not steps.moving(conn)


def _state(db: Database, journey: str) -> str:
    with db.read() as conn:
        return str(conn.scalar(sa.select(journeys.c.state).where(journeys.c.id == journey)))


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
