"""From a registered generator to the stock client's stream: border, supervisor, engine, gateway, all real.

Training is left out: the files are made here as training leaves them, the card as an evaluation writes it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import needs
import openai
import pytest
import sqlalchemy as sa
import writers

pytest.importorskip("torch", reason=needs.TRAIN)

from freehold.engines import identity, parity, places
from freehold.engines.package import about_of
from freehold.engines.torch_engine import TorchGenerator
from freehold.errors import NotFound
from freehold.gateway.bounds import Bounds
from freehold.gateway.http import EdgeServer
from freehold.gateway.run import serve
from freehold.identity import keys
from freehold.journeys.parity import refuse_unlike
from freehold.ledger.record import record
from freehold.release import bases, roll, services, versions
from freehold.release.files import evidence_of, open_base_in_use
from freehold.release.publish import publish
from freehold.spec.base import BaseFacts
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.model import FileEntry
from freehold.spec.principal import SYSTEM
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.service import Model, Service
from freehold.store import tables
from freehold.supervise.engines import Wanted
from freehold.supervise.generators import Generators

SERVICE = Service(
    service="letters",
    project="claims",
    owner="claims-platform",
    purpose="claims-handling",
    sensitivity="Internal",
    tier="sandbox",
    model=Model(data="claims@1", task="classify"),
)


def until(true: Callable[[], Any], within: float = 90) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


class Line:
    """A generator in control's books, and what it answers."""

    def __init__(self, house: Any, root: Path) -> None:
        self.house, self.ground, self.root = house, house.parts.ground, root
        self.base = {n: c for n, c in writers.base_files(root).items() if n != "README.md"}
        self.folder = root / "base"
        (self.folder / "README.md").unlink()

    def register_base(self) -> None:
        files = tuple(
            FileEntry(path=e.path, digest=e.digest, bytes=e.bytes) for e in writers.entries_of(self.base)
        )
        facts = BaseFacts(
            role="causal", model_type="llama", parameters=1, hidden=32, layers=2, vocabulary=400,
            longest=128, precision="F32", licence="apache-2.0", licence_from="card",
            tokenizer="sha256:" + "1" * 64, template=None,
        )  # fmt: skip
        prepared = bases.prepare(
            self.ground, project="claims", name="tiny", folder=self.folder, files=files, facts=facts,
            source="folder", sensitivity=Sensitivity.PUBLIC,
        )  # fmt: skip
        with self.ground.db.write() as tx:
            bases.register(tx, by=SYSTEM, prepared=prepared)

    def candidate(self, seed: int) -> tuple[str, dict[str, bytes]]:
        """A version with its card."""
        files = writers.model_files(self.root, self.base, seed)
        prepared = versions.prepare(
            self.ground, project="claims", name="letters", run=None, about=about_of(files), files=files,
            engine=identity.engine("torch"), flags=identity.flags("torch"), sensitivity=1,
        )  # fmt: skip
        with self.ground.db.write() as tx:
            services.declare(tx, by=SYSTEM, service=SERVICE, owner=SERVICE.owner)
            made = versions.register(tx, by=SYSTEM, prepared=prepared)
            self._card(tx, made, files)
            versions.set_state(tx, by=SYSTEM, model=made.id, state="evaluated")
        return made.id, files

    def _card(self, tx: Any, made: Any, files: dict[str, bytes]) -> None:
        generator = TorchGenerator.load(about_of(files), files, self.base)
        body = {"parity": parity.evidence(generator, writers.manifest_of(files))}
        generator.close()
        id = new_id("crd")
        said = {
            "digest": digest(body),
            "model": made.id,
            "passed": True,
            "serving_digest": made.serving_digest,
        }
        tx.execute(
            tables.cards.insert().values(
                id=id, run=None, body=canonical(body).decode(), created_at=tx.at, **said
            )
        )
        record(tx, "card.issued", by=SYSTEM, object=id, project="claims", detail={"card": id, **said})

    def release(self, model: str) -> str:
        refuse_unlike(self.ground, model)
        with self.ground.db.write() as tx:
            done = roll.release(tx, self.ground, by=SYSTEM, service="letters", model=model)
        self.house.parts.sequencer.run_once()
        return done.serving_digest


@pytest.fixture
def line(house: Any, tmp_path: Path) -> Line:
    made = Line(house, tmp_path)
    made.register_base()
    return made


class Supervised:
    """What the supervisor's main thread does for engines of bases."""

    def __init__(self, home: Any, control: str) -> None:
        self.wanted, self.said = Wanted(home, control), []  # type: ignore[var-annotated]
        self.generators = Generators(home, self.said.append)
        self.wanted.start(lambda: None)

    def look(self) -> bool:
        for one in self.generators.keep(self.wanted.on_bases()):
            self.wanted.forget(one)
        for kept in list(self.generators.kept.values()):
            kept.look(time.monotonic())
        return True

    def until(self, true: Callable[[], Any]) -> None:
        until(lambda: self.look() and true())

    def close(self) -> None:
        self.wanted.stop()
        for kept in self.generators.kept.values():
            kept.stop()
        until(lambda: self._gone())

    def _gone(self) -> bool:
        for kept in self.generators.kept.values():
            kept.look(time.monotonic())
        return all(kept.gone for kept in self.generators.kept.values())


@pytest.fixture
def supervised(house: Any, control: str) -> Iterator[Supervised]:
    made = Supervised(house.parts.home, control)
    yield made
    made.close()
    house.parts.closing.set()


@pytest.fixture
def gateway(house: Any, control: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(house.parts.home.run)  # as the supervisor does: sockets have short names there
    listener = socket.create_server(("127.0.0.1", 0))
    loop, ready, edges = asyncio.new_event_loop(), threading.Event(), []  # type: ignore[var-annotated]
    bounds = Bounds(linger=0.05, drain=3, ship=2)
    told: Callable[[EdgeServer], None] = edges.append
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(
            serve(listener, house.parts.home, control, ready.set, bounds, told=told)
        )
    )
    thread.start()
    assert ready.wait(20)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    loop.call_soon_threadsafe(edges[0].leave)
    thread.join(20)
    loop.close()


def state(house: Any, digest: str) -> dict[str, str]:
    path = places.socket_path(house.parts.home, digest).with_suffix(".json")
    try:
        said: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return said


def test_a_generator_is_fetched_started_asked_and_replaced(
    house: Any, line: Line, supervised: Supervised, gateway: str
) -> None:
    owner, _ = house.person("ann@example.org", "claims/trainer")
    first, files = line.candidate(1)
    digest = line.release(first)
    with line.ground.db.write() as tx:
        key = keys.create(
            tx, by=SYSTEM, owner=owner, zone="serving", project="claims", purpose="claims-handling"
        ).text
        publish(tx, line.ground, by=SYSTEM)
    house.parts.sequencer.run_once()
    supervised.until(lambda: state(house, digest).get("state") in ("running", "refused", "failed"))
    assert state(house, digest) == {"state": "running", "because": ""}, supervised.said

    expected = TorchGenerator.load(about_of(files), files, line.base)
    (said,) = expected.complete(writers.asks("wet"), 12)
    expected.close()
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key=key, max_retries=0) as client:
        asked = {"model": "letters", "messages": writers.asks("wet")[0], "max_tokens": 12}

        def ready() -> bool:
            try:
                client.chat.completions.create(**asked)
            except openai.APIStatusError:
                return False
            return True

        supervised.until(ready)
        chunks = client.chat.completions.create(**asked, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == said.text

        # another version takes its place on the same base, in the same process
        (process,) = supervised.generators.kept.values()
        pid = process.process.pid if process.process else 0
        second, others = line.candidate(2)
        newer = line.release(second)
        supervised.until(lambda: state(house, newer).get("state") == "running")
        expected = TorchGenerator.load(about_of(others), others, line.base)
        (said,) = expected.complete(writers.asks("wet"), 12)
        expected.close()

        def changed() -> bool:
            whole = client.chat.completions.create(**asked)
            return bool(whole.choices[0].message.content == said.text)

        supervised.until(changed)
        assert process.process is not None
        assert process.process.pid == pid


def test_only_bases_of_released_models_cross_the_border(house: Any, line: Line, control: str) -> None:
    digest = writers.digest_of(line.base)
    border = {"authorization": f"Bearer {house.parts.home.gateway_border.read_text().strip()}"}
    url = f"{control}/border/bases/{digest}"
    model, _ = line.candidate(1)
    assert httpx.get(url, headers=border, trust_env=False).status_code == 404
    with pytest.raises(NotFound):
        open_base_in_use(line.ground, digest)
    line.release(model)
    told = httpx.get(url, headers=border, trust_env=False).json()
    assert {e["path"] for e in told["files"]} == set(line.base)
    file = httpx.get(f"{url}/files/config.json", headers=border, trust_env=False)
    assert file.content == line.base["config.json"]
    assert httpx.get(f"{url}/files/../x", headers=border, trust_env=False).status_code == 404
    assert httpx.get(f"{url}/files/none.json", headers=border, trust_env=False).status_code == 404
    assert not list(house.parts.home.control.glob("base-*"))


def test_evidence_is_the_newest_card_that_passed(line: Line) -> None:
    model, _ = line.candidate(1)
    with line.ground.db.read() as conn:
        serving = conn.scalar(sa.select(tables.models.c.serving_digest).where(tables.models.c.id == model))
    assert evidence_of(line.ground, str(serving)) is not None
    assert evidence_of(line.ground, "sha256:" + "0" * 64) is None
