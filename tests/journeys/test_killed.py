"""kill -9 of each process at each step of deliver and retrain, in a real installation: it goes on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.installation import Installation, wait_for
from tests.journeys.test_deliver import SERVICE

pytestmark = pytest.mark.timeout(1800)

VICTIMS = ("control", "gateway", "worker", "engine", "supervisor")
CANARY = SERVICE + "serve: {rollout: [canary 50% 2s, 100%]}\n"
EFFECTS = (
    "service.declared",
    "journey.begun",
    "journey.step",
    "journey.ended",
    "run.begun",
    "run.ended",
    "model.version",
    "model.state",
    "card.issued",
    "approval.requested",
    "approval.given",
    "release.begun",
    "release.weight",
    "release.ended",
)
"""What a journey leaves in the ledger, whatever died meanwhile; jobs that were queued again may be more."""


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    installation.add_claims()
    installation.add_claims(rows=300, seed=8)
    return installation


class Killer:
    """Kills one part each time another step of the service's journeys is seen to have begun."""

    def __init__(self, claims: Installation, service: str, victim: str) -> None:
        self._claims, self._service, self._victim = claims, service, victim
        self._over = threading.Event()
        self.killed: list[str] = []
        self._seen: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            new = set(_steps(self._claims, self._service)) - self._seen
            self._seen |= new
            if new and self._kill():
                self.killed += [name for _, name in new]
            time.sleep(0.005)

    def _kill(self) -> bool:
        """Whether there was something to kill; it is back when this returns, where something brings it."""
        if self._victim == "supervisor":
            self._claims.kill()
            self._claims.start()
            return True
        alive = self._of_the_kind()
        for pid in alive.values():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not set(alive.values()) & set(self._of_the_kind().values()), 60, self._claims.tell)
        if self._victim != "engine":  # one that no route names any more does not come back
            wait_for(lambda: self._of_the_kind().keys() >= alive.keys(), 60, self._claims.tell)
        return bool(alive)

    def _of_the_kind(self) -> dict[str, int]:
        return {
            name: one["pid"]
            for name, one in self._claims.processes().items()
            if name.startswith(self._victim) and one["pid"] and one["state"] == "running"
        }


def _rows(claims: Installation, query: str, *given: str) -> list[tuple[str, ...]]:
    """Straight from the file: this must not need a process that is dead."""
    database = claims.home / "control" / "freehold.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return connection.execute(query, given).fetchall()
        except sqlite3.OperationalError:
            return []  # the moment in which the database is being recovered


def _steps(claims: Installation, service: str) -> list[tuple[str, str]]:
    """(journey, step) of every step that began."""
    query = (
        "SELECT journey, steps.name FROM steps JOIN journeys ON journeys.id = journey "
        "WHERE service = ? AND steps.state != 'todo'"
    )
    return [(row[0], row[1]) for row in _rows(claims, query, service)]


def _persist(claims: Installation, do: Callable[[], object]) -> None:
    """Do it until it succeeds: the part that is asked may be dead at this moment."""
    deadline = time.monotonic() + 120
    while True:
        try:
            do()
            return
        except (AssertionError, OSError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _carried_through(claims: Installation, service: str, *submit: str) -> None:
    """Hand it over, approve it when it waits, and see it done."""
    before = len(_states(claims, service))
    _persist(claims, lambda: claims.freehold("trainer", *submit, "--no-wait"))
    deadline = time.monotonic() + 300
    while (states := _states(claims, service)[before:]) != ["done"]:
        assert time.monotonic() < deadline, f"{_steps(claims, service)}\n{claims.tell()}"
        assert states in ([], ["running"], ["waiting"]), claims.tell()
        for who in ("risk", "privacy"):
            if _waiting(claims, service):
                _approve(claims, who, service)
        time.sleep(0.1)


def _states(claims: Installation, service: str) -> list[str]:
    query = "SELECT state FROM journeys WHERE service = ? ORDER BY id"
    return [row[0] for row in _rows(claims, query, service)]


def _waiting(claims: Installation, service: str) -> bool:
    query = "SELECT 1 FROM approvals WHERE service = ? AND state = 'waiting'"
    return bool(_rows(claims, query, service))


def _approve(claims: Installation, who: str, service: str) -> None:
    try:
        claims.freehold(who, "approve", "give", service, "--because", "the card is fine")
    except (AssertionError, OSError, ValueError):
        return  # given already, or nobody there to take it: it is looked at again


def _effects(claims: Installation, since: int) -> Counter[str]:
    """How often each kind of effect was recorded from entry `since` on; steps by name."""
    found: Counter[str] = Counter()
    for kind, body in _rows(claims, "SELECT kind, body FROM entries ORDER BY rowid")[since:]:
        if kind == "journey.step":
            detail = json.loads(body)["detail"]
            if detail["state"] == "done":  # how often it waited is no effect
                found[f"{kind} {detail['step']}"] += 1
        elif kind in EFFECTS:
            found[kind] += 1
    return found


def _played(claims: Installation, service: str) -> Counter[str]:
    """Deliver a service and retrain it; what that left in the ledger."""
    since = len(_rows(claims, "SELECT id FROM entries"))
    spec = CANARY.replace("claims-triage", service)
    _carried_through(claims, service, "apply", claims.write(f"{service}.yaml", spec))
    _carried_through(claims, service, "retrain", service, "--data", "claims@2")
    return _effects(claims, since)


@pytest.fixture(scope="module")
def undisturbed(claims: Installation) -> Counter[str]:
    """What both journeys leave when nobody dies."""
    return _played(claims, "claims-in-peace")


@pytest.fixture(autouse=True)
def _patient(claims: Installation) -> Iterator[None]:
    yield
    wait_for(claims.is_reachable, 60, claims.tell)


def test_a_delivery_goes_on_when_control_is_killed_at_each_of_its_steps(claims: Installation) -> None:
    """The short form of what follows."""
    since = len(_rows(claims, "SELECT id FROM entries"))
    service = "claims-short"
    spec = SERVICE.replace("claims-triage", service).replace("tier: limited", "tier: sandbox")
    with Killer(claims, service, "control") as killer:
        _carried_through(claims, service, "apply", claims.write("short.yaml", spec))
    effects = _effects(claims, since)
    twice = {name for name, count in effects.items() if name.startswith("journey.step") and count != 1}
    assert not twice
    assert effects["journey.ended"] == effects["model.version"] == effects["release.begun"] == 1
    assert set(killer.killed) >= {"train", "evaluate", "release"}, killer.killed
    claims.freehold("auditor", "verify")


@pytest.mark.long
@pytest.mark.parametrize("victim", VICTIMS)
def test_both_journeys_go_on_whoever_is_killed_at_whichever_step(
    claims: Installation, undisturbed: Counter[str], victim: str
) -> None:
    service = f"claims-{victim}"
    with Killer(claims, service, victim) as killer:
        effects = _played(claims, service)
    assert effects == undisturbed, "each step's effect is there once"
    assert set(killer.killed) >= {"train", "evaluate", "approve", "canary", "release"}, killer.killed
    running = claims.json("operator", "status", service)["running"]
    assert [(one["model"], one["weight"]) for one in running] == [(f"{service}@2", 10_000)]
    claims.freehold("auditor", "verify")
