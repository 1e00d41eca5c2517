"""kill -9 of one part of a real installation each time another step of its journeys has begun."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from freehold.errors import Failure
from freehold.store.home import Home
from freehold.store.place import rows_of
from tests.installation import Installation, wait_for

VICTIMS = ("control", "gateway", "worker", "engine", "supervisor")

Steps = Callable[[], list[tuple[str, str]]]
"""(journey, step) of every step that began, of the journeys that are looked at."""


class Killer:
    """Kills one part each time another step is seen to have begun; where `at` is given, one of those."""

    def __init__(self, claims: Installation, steps: Steps, victim: str, at: Sequence[str] = ()) -> None:
        self._claims, self._steps, self._victim, self._at = claims, steps, victim, at
        self._over = threading.Event()
        self.killed: list[str] = []
        self.spared: list[str] = []
        """Steps at which none of the kind was there to be killed."""
        self._seen = set(steps())
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            new = set(self._steps()) - self._seen
            self._seen |= new
            if any(not self._at or name in self._at for _, name in new):
                (self.killed if self._kill() else self.spared).extend(name for _, name in new)
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


def rows(claims: Installation, query: str, *given: str) -> list[tuple[Any, ...]]:
    """Straight from the database: this must not need a process that is dead."""
    parameters = {f"p{number}": value for number, value in enumerate(given)}
    names = iter(parameters)
    database = rows_of(Home(claims.home), read_only=True)
    try:
        with database.read() as conn:
            found = conn.execute(sa.text(re.sub(r"\?", lambda _: f":{next(names)}", query)), parameters)
            return [tuple(row) for row in found]
    except (Failure, sa.exc.OperationalError):
        return []  # the moment in which the database is being recovered
    finally:
        database.close()


def steps_of(claims: Installation, column: str, *wanted: str) -> Steps:
    """The steps of journeys whose `column` (service, kind) is one of these."""
    marks = ", ".join("?" * len(wanted))
    query = (
        "SELECT journey, steps.name FROM steps JOIN journeys ON journeys.id = journey "
        f"WHERE {column} IN ({marks}) AND steps.state != 'todo'"
    )
    return lambda: [(row[0], row[1]) for row in rows(claims, query, *wanted)]


def persist(claims: Installation, do: Callable[[], object]) -> None:
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


def carried_through(claims: Installation, service: str, *submit: str) -> None:
    """Hand a delivery over, approve it when it waits, and see it done."""
    before = len(states(claims, "service", service))
    persist(claims, lambda: claims.freehold("trainer", *submit, "--no-wait"))
    deadline = time.monotonic() + 300
    while (now := states(claims, "service", service)[before:]) != ["done"]:
        assert time.monotonic() < deadline, claims.tell()
        assert now in ([], ["running"], ["waiting"]), claims.tell()
        approve(claims, service)
        time.sleep(0.1)


def states(claims: Installation, column: str, wanted: str) -> list[str]:
    """Of the journeys whose `column` (service, kind) is this, in the order of their beginning."""
    query = f"SELECT state FROM journeys WHERE {column} = ? ORDER BY created_at, id"
    return [row[0] for row in rows(claims, query, wanted)]


def approve(claims: Installation, service: str) -> None:
    """Both approvers say yes, where they are waited for."""
    for who in ("risk", "privacy"):
        query = "SELECT 1 FROM approvals WHERE service = ? AND state = 'waiting'"
        if rows(claims, query, service):
            _give(claims, who, service)


def _give(claims: Installation, who: str, service: str) -> None:
    try:
        claims.freehold(who, "approve", "give", service, "--because", "the card is fine")
    except (AssertionError, OSError, ValueError):
        return  # given already, or nobody there to take it: it is looked at again


def entries(claims: Installation) -> int:
    """How many there are."""
    return len(rows(claims, "SELECT id FROM entries"))


def effects(claims: Installation, since: int, kinds: tuple[str, ...]) -> Counter[str]:
    """How often each kind of effect was recorded from entry `since` on; steps by name."""
    found: Counter[str] = Counter()
    for kind, body in rows(claims, "SELECT kind, body FROM entries ORDER BY at, id")[since:]:
        if kind == "journey.step":
            detail = json.loads(body)["detail"]
            if detail["state"] == "done":  # how often it waited is no effect
                found[f"{kind} {detail['step']}"] += 1
        elif kind in kinds:
            found[kind] += 1
    return found
