"""Real gateway processes before a real control: killed in the middle of streams, restarted under load."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient
from started import module

from freehold.control import server
from freehold.control.routes import border_serving
from freehold.engines.upstream_fake import FakeUpstream
from freehold.errors import Failure
from freehold.identity import first_run, keys, people
from freehold.release import paged
from freehold.release.attach import Attachment, attach
from freehold.release.publish import publish
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from tests.gateway.conftest import Loop, Standing, listening


class Installation:
    """Control and a provider in this process; gateways as children on one listening socket."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.ground = house.parts.ground
        house.parts.sequencer.start()
        self.loop = Loop()
        app = FastAPI()
        app.add_exception_handler(Failure, server._tell)
        app.include_router(border_serving.router(house.parts))
        listener, self.control = listening()
        self._standing = [Standing(self.loop, app, listener)]
        listener, upstream = listening()
        self._standing.append(Standing(self.loop, FakeUpstream(), listener))
        self.key = self._rules(upstream)
        self.listener, self.url = listening()
        self.gateways: list[subprocess.Popen[bytes]] = []

    def _rules(self, upstream: str) -> str:
        asked = Attachment(
            service="chat",
            project="claims",
            purpose="claims-handling",
            url=upstream,
            model="fake-1",
            owner=first_run.FIRST_ADMINISTRATOR,
            insecure=True,
        )
        with self.ground.db.write() as tx:
            owner = people.find(tx.connection, first_run.FIRST_ADMINISTRATOR).id
            attach(tx, self.ground, by=SYSTEM, asked=asked)
            new = keys.create(
                tx, by=SYSTEM, owner=owner, zone="serving", project="claims", purpose="claims-handling"
            )
            self.ix = publish(tx, self.ground, by=SYSTEM)
        return new.text

    def start(self) -> subprocess.Popen[bytes]:
        """A gateway that accepts; the newest is last in `gateways`."""
        fd = self.listener.fileno()
        process = subprocess.Popen(
            [
                *(*module("freehold.gateway"), "--listen-fd", str(fd)),
                *("--serving", str(self.house.parts.home.serving), "--control", self.control),
            ],
            pass_fds=(fd,),
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        assert select.select([process.stdout], [], [], 30)[0]
        assert process.stdout.readline() == b"ready\n"
        self.gateways.append(process)
        return process

    def served(self) -> None:
        """Until the newest rules are in force."""
        self.until(lambda: self._applied() >= self.ix)

    def _applied(self) -> int:
        with self.ground.db.read() as conn:
            return conn.scalar(sa.select(sa.func.max(tables.gateways.c.applied))) or 0

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    def answers(self) -> dict[str, str | None]:
        with self.ground.db.read() as conn:
            c = tables.answers.c
            return {row.id: row.ending for row in conn.execute(sa.select(c.id, c.ending))}

    def ask(self, client: httpx.Client, words: str, stream: bool = False) -> tuple[str, bool]:
        """The answer's id and whether it came whole; raises when there was none."""
        body = {"model": "chat", "messages": [{"role": "user", "content": words}], "stream": stream}
        headers = {"authorization": f"Bearer {self.key}"}
        with client.stream("POST", f"{self.url}/v1/chat/completions", json=body, headers=headers) as response:
            id = response.headers.get("x-freehold-answer", "")
            text = "".join(response.iter_text())
        whole = text.endswith("data: [DONE]\n\n") if stream else response.status_code == 200
        return id, whole

    def close(self) -> None:
        for process in self.gateways:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.gateways:
            process.wait(20)
            if process.stdout:
                process.stdout.close()
        for standing in self._standing:
            standing.stop()
        self.loop.close()
        self.listener.close()
        self.house.parts.sequencer.stop()


@pytest.fixture
def installation(house: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    monkeypatch.setattr(border_serving, "HOLD", 0.5)
    made = Installation(house)
    yield made
    made.close()


class Askers:
    """Threads that ask on and on, and remember what they saw."""

    def __init__(self, installation: Installation, number: int, *, stream: bool, keep: bool) -> None:
        self.whole: list[str] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._installation, self._stream, self._keep = installation, stream, keep
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(number)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        client = httpx.Client(timeout=20, trust_env=False, verify=False)
        words = "one two three four five [pause 0.005]" if self._stream else "good day"
        while not self._stop.is_set():
            try:
                id, whole = self._installation.ask(client, words, self._stream)
                (self.whole if whole else self.failures).append(id)
            except httpx.TransportError as error:
                self.failures.append(type(error).__name__)
            if not self._keep:
                client.close()
                client = httpx.Client(timeout=20, trust_env=False, verify=False)
        client.close()

    def more(self, number: int) -> None:
        """Until so many more were answered whole."""
        enough = len(self.whole) + number
        self._installation.until(lambda: len(self.whole) > enough)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_of_many_keys_a_gateway_is_given_what_changed_and_a_void_one_is_void_at_once(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged, "FEW", 5)
    given: list[str] = []
    handed_out = border_serving.publish.pages

    def counted(conn: sa.Connection, digests: Sequence[str]) -> list[bytes]:
        given.extend(digests)
        return handed_out(conn, digests)

    monkeypatch.setattr(border_serving.publish, "pages", counted)
    with installation.ground.db.write() as tx:
        owner = people.find(tx.connection, first_run.FIRST_ADMINISTRATOR).id
        said: dict[str, Any] = {"owner": owner, "zone": "serving", "project": "claims"}
        some = [keys.create(tx, by=SYSTEM, purpose="claims-handling", **said) for _ in range(30)]
        installation.ix = publish(tx, installation.ground, by=SYSTEM)
    installation.start()
    installation.served()
    first = len(given)
    assert 20 < first <= 31
    with installation.ground.db.write() as tx:
        keys.revoke(tx, by=SYSTEM, key=some[7].id)
        new = keys.create(tx, by=SYSTEM, purpose="claims-handling", **said)
        installation.ix = publish(tx, installation.ground, by=SYSTEM)
    installation.served()
    assert len(given) - first <= 2
    with httpx.Client(timeout=20, trust_env=False) as client:
        found = {}
        for key in (*some, new):
            installation.key = key.text
            found[key.id] = installation.ask(client, "good day")[1]
    assert [id for id, answered in found.items() if not answered] == [some[7].id]


def test_answers_that_were_seen_are_answers_that_are_recorded_however_often_it_is_killed(
    installation: Installation,
) -> None:
    chance = random.Random(7)
    askers = None
    for _ in range(5):
        process = installation.start()
        if askers is None:
            installation.served()
            askers = Askers(installation, 6, stream=True, keep=True)
        askers.more(10)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.wait()
    installation.start()
    assert askers
    askers.more(5)
    askers.stop()
    installation.gateways[-1].send_signal(signal.SIGTERM)
    assert installation.gateways[-1].wait(20) == 0
    recorded = installation.answers()
    endings = Counter(recorded.values())
    assert len(askers.whole) > 50
    assert askers.failures, "the kills were felt"
    assert {id: recorded.get(id) for id in askers.whole} == dict.fromkeys(askers.whole, "answered")
    assert None not in endings, "every answer that began has ended"
    assert endings["failed"] > 0, "those under way when it was killed"
    assert len(installation.house.entries("answer.intent")) == len(recorded)
    assert len(installation.house.entries("answer.close")) == len(recorded)
    assert not installation.house.entries("spool.gap")
    assert not list(installation.house.parts.home.spool.iterdir()), "all of it was shipped"


@pytest.mark.parametrize("keep", [True, False], ids=["kept connections", "new connections"])
def test_a_rolling_restart_fails_no_request(installation: Installation, keep: bool) -> None:
    installation.start()
    installation.served()
    askers = Askers(installation, 4, stream=False, keep=keep)
    for _ in range(3):
        askers.more(20)
        leaving = installation.gateways[-1]
        installation.start()
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(20) == 0
    askers.stop()
    assert askers.failures == []
    installation.gateways[-1].send_signal(signal.SIGTERM)
    installation.gateways[-1].wait(20)
    assert set(installation.answers()) == set(askers.whole)


def test_streams_that_run_when_it_is_told_to_leave_are_finished(installation: Installation) -> None:
    process = installation.start()
    installation.served()
    seen: list[tuple[str, bool]] = []

    def ask() -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            seen.append(installation.ask(client, "one two three four [pause 0.2]", stream=True))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    installation.until(lambda: len(installation.answers()) == 3)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert process.wait(20) == 0
    assert [whole for _, whole in seen] == [True] * 3
    assert set(installation.answers().values()) == {"answered"}


def test_the_border_is_walled_and_models_are_only_for_machines(installation: Installation) -> None:
    client: TestClient = installation.house.client("border_serving")
    for path in ("/border/snapshot", "/border/models/sha256:0"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=installation.house.administrator).status_code == 401


def test_a_gateway_that_is_not_enrolled_says_so(tmp_path: Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        fd = listener.fileno()
        said = subprocess.run(
            [
                *(*module("freehold.gateway"), "--listen-fd", str(fd)),
                *("--serving", str(tmp_path / "serving"), "--control", "http://127.0.0.1:9"),
            ],
            pass_fds=(fd,),
            capture_output=True,
            timeout=30,
        )
    assert said.returncode == 9
    assert b"is not enrolled" in said.stderr
    assert b"hint:" in said.stderr


def test_the_gateway_loads_no_database_and_nothing_that_trains() -> None:
    code = (
        "import freehold.gateway.app, freehold.gateway.run, sys, json;"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=os.environ).stdout
    )
    heavy = {
        "sqlalchemy",
        "sqlite3",
        "torch",
        "sklearn",
        "pydantic",
        "fastapi",
        "numpy",
        "pyarrow",
        "psycopg",
    }
    assert heavy.isdisjoint(loaded)
