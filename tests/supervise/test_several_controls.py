"""Two control processes on one Postgres: both answer, one leads, and killing it costs nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import postgres_server
import pytest
import sqlalchemy as sa
from started import FREEHOLD

from freehold.store import tables
from freehold.store.home import Home
from freehold.store.place import rows_of
from tests.installation import Installation, wait_for

pytestmark = pytest.mark.timeout(300)

SERVICE = """\
service: {name}
project: claims
owner: claims-team@example.org
purpose: claims-handling
sensitivity: Confidential
tier: sandbox
model: {{data: claims@1, task: classify, train: {{seed: {seed}}}}}
gates:
  quality: {{metric: accuracy, value: 0.40}}
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("several")
    made = Installation(folder)
    postgres_server.settle(Home(made.home), empty=True)
    try:
        made.start()
        made.add_people()
        made.add_claims(rows=120)
        yield made
    finally:
        made.stop()
        postgres_server.drop_below(folder)


@contextlib.contextmanager
def another(first: Installation) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`freehold up --only control` beside the first one: its address and its supervisor."""
    command = [*FREEHOLD, "up", "--only", "control", "--port", "0"]
    log = first.folder / "another.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=first.environment(), stdout=out, stderr=out, start_new_session=True
        )
    written = first.home / "control" / f"addresses-control-{process.pid}.json"
    try:
        wait_for(lambda: process.poll() is not None or is_up(written), 60, lambda: log.read_text())
        assert process.poll() is None, log.read_text()
        yield json.loads(written.read_text())["control"], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(40)


def is_up(written: Path) -> bool:
    try:
        url = json.loads(written.read_text())["control"]
        return httpx.get(f"{url}/ledger/key", trust_env=False, timeout=2).is_success
    except (OSError, ValueError, httpx.TransportError):
        return False


def leader_of(first: Installation) -> int:
    """The process that holds the lead, as the kernel lists it; 0 when nobody does."""
    inode = (first.home / "control" / "ledger" / "lead").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if "->" not in words and words[5].endswith(f":{inode}"):
            return int(words[4])
    return 0


def test_both_answer_and_see_the_same(first: Installation) -> None:
    with another(first) as (url, _):
        key = {"authorization": f"Bearer {first.keys['auditor']}"}
        ask: dict[str, Any] = {"headers": key, "trust_env": False, "timeout": 20}
        told = [httpx.get(f"{base}/api/data", **ask).json() for base in (first.addresses["control"], url)]
        assert told[0] == told[1]
        assert "claims" in json.dumps(told[1])


def test_an_entry_that_the_second_one_wrote_gets_its_place_from_the_first(first: Installation) -> None:
    with another(first) as (url, _):
        assert leader_of(first) == first.processes()["control"]["pid"]
        assert adds_project(first, url, "sales")
        wait_for(lambda: not waiting(first), 20, first.tell)
        assert "ledger verified" in first.freehold("auditor", "verify")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_when_the_leader_is_killed_the_other_goes_on_and_nothing_is_done_twice(
    first: Installation, seed: int
) -> None:
    name = f"triage-{seed}"
    with another(first) as (_, second):
        file = first.write(f"{name}.yaml", SERVICE.format(name=name, seed=seed))
        leader = leader_of(first)
        first.freehold("trainer", "apply", file, "--no-wait")
        wait_for(lambda: steps_done(first, name) >= seed, 60, first.tell)
        os.kill(leader, signal.SIGKILL)
        wait_for(lambda: leader_of(first) not in (0, leader), 20, first.tell)
        wait_for(lambda: journey_of(first, name).state != "running", 120, first.tell)
        assert second.poll() is None
    assert journey_of(first, name).state == "done", first.tell()
    assert all(count == 1 for count in effects(first, name).values()), effects(first, name)
    wait_for(first.is_reachable, 30, first.tell)
    wait_for(lambda: not waiting(first), 20, first.tell)
    assert "ledger verified" in first.freehold("auditor", "verify")


@pytest.mark.timeout(400)
def test_when_the_leader_is_frozen_the_other_takes_over_and_nothing_is_done_twice(
    first: Installation,
) -> None:
    with another(first) as (url, _):
        file = first.write("triage-4.yaml", SERVICE.format(name="triage-4", seed=4))
        leader = leader_of(first)
        assert leader == first.processes()["control"]["pid"]
        first.freehold("trainer", "apply", file, "--no-wait")
        wait_for(lambda: steps_done(first, "triage-4") >= 1, 60, first.tell)
        os.kill(leader, signal.SIGSTOP)
        try:
            wait_for(lambda: leader_of(first) not in (0, leader), 100, first.tell)
            # it may have been stopped within a transaction, which the server ends after a minute
            wait_for(lambda: adds_project(first, url, "frozen"), 90, first.tell)
            wait_for(lambda: not waiting(first), 20, first.tell)
        finally:
            os.kill(leader, signal.SIGCONT)
        wait_for(lambda: journey_of(first, "triage-4").state not in ("running", "waiting"), 120, first.tell)
        assert leader_of(first) != leader, "who was overtaken follows"
        wait_for(first.is_reachable, 30, first.tell)
        assert "ledger verified" in first.freehold("auditor", "verify")
    assert journey_of(first, "triage-4").state == "done", first.tell()
    assert all(count == 1 for count in effects(first, "triage-4").values()), effects(first, "triage-4")


def test_a_second_control_that_was_killed_is_not_told_of_any_more(first: Installation) -> None:
    def told() -> list[str]:
        said = first.json("operator", "status")["processes"]
        return [one["name"] for one in said if one["name"] == "control"]

    with another(first) as (_, second):
        wait_for(lambda: told() == ["control", "control"], 20, first.tell)
        second.kill()
        second.wait()
        wait_for(lambda: told() == ["control"], 20, first.tell)


def test_a_database_that_is_stopped_in_the_middle_of_a_delivery_stops_nothing_for_good(
    first: Installation,
) -> None:
    file = first.write("triage-3.yaml", SERVICE.format(name="triage-3", seed=3))
    first.freehold("trainer", "apply", file, "--no-wait")
    wait_for(lambda: steps_done(first, "triage-3") >= 1, 60, first.tell)
    before = first.processes()["control"]["pid"]
    postgres_server.server().stop("immediate")
    try:
        said = first.freehold("auditor", "status", code=9)
    finally:
        postgres_server.server().start()
    assert "the database does not answer" in said
    wait_for(lambda: journey_of(first, "triage-3").state not in ("running", "waiting"), 120, first.tell)
    assert journey_of(first, "triage-3").state == "done", first.tell()
    assert all(count == 1 for count in effects(first, "triage-3").values()), effects(first, "triage-3")
    assert first.processes()["control"]["pid"] == before
    assert "ledger verified" in first.freehold("auditor", "verify")


def test_what_must_be_alone_is_refused_while_either_runs(first: Installation) -> None:
    with another(first):
        said = first.freehold("administrator", "recover", code=9)
    assert "runs on" in said


def adds_project(first: Installation, url: str, name: str) -> bool:
    """Whether the control at `url` takes a change."""
    head = {"authorization": f"Bearer {first.keys['administrator']}"}
    body = {"json": {"name": name}, "headers": head}
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.post(f"{url}/api/projects", **body).is_success  # type: ignore[arg-type]


# -- looking ---------------------------------------------------------------------------------------


def rows(first: Installation, query: sa.Select[Any]) -> list[Any]:
    database = rows_of(Home(first.home), read_only=True)
    try:
        with database.read() as conn:
            return list(conn.execute(query))
    finally:
        database.close()


def waiting(first: Installation) -> int:
    return int(rows(first, sa.select(sa.func.count()).select_from(tables.outbox))[0][0])


def journey_of(first: Installation, service: str) -> Any:
    query = sa.select(tables.journeys).where(tables.journeys.c.service == service)
    (found,) = rows(first, query)
    return found


def steps_done(first: Installation, service: str) -> int:
    steps, journeys = tables.steps, tables.journeys
    query = sa.select(sa.func.count()).select_from(steps.join(journeys, journeys.c.id == steps.c.journey))
    return int(rows(first, query.where(journeys.c.service == service, steps.c.state == "done"))[0][0])


def effects(first: Installation, service: str) -> Counter[str]:
    """How often each thing happened that may happen once: a step's end, a job, a model, a release."""
    journey = journey_of(first, service).id
    seen: Counter[str] = Counter()
    entries = sa.select(tables.entries.c.kind, tables.entries.c.body)
    for kind, body in rows(first, entries.where(tables.entries.c.object == journey)):
        detail = json.loads(body)["detail"]
        if kind == "journey.ended" or detail.get("state") == "done":
            seen[f"{kind} {detail.get('step', '')}"] += 1
    for table, column in ((tables.jobs, "step"), (tables.runs, "kind"), (tables.releases, "service")):
        of = table.c.journey == journey if "journey" in table.c else table.c.service == service
        seen.update(f"{table.name} {row[0]}" for row in rows(first, sa.select(table.c[column]).where(of)))
    return seen
