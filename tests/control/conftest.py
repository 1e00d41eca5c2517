"""A whole control process's parts over a real first run, and callers with keys of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from freehold.control import server
from freehold.control.parts import Parts
from freehold.identity import first_run, keys, people, projects
from freehold.ledger.sequencer import Sequencer
from freehold.policy.decide import Policies
from freehold.release.publish import publish_first
from freehold.spec.config import Config
from freehold.spec.principal import SYSTEM
from freehold.store import signing, tables
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.migrate import open_database


@dataclass(frozen=True)
class House:
    """One installation with a project `claims`, driven through its routes."""

    parts: Parts
    administrator_key: str = field(repr=False)

    def client(self, *routes: str) -> TestClient:
        """An in-process client of control with these modules of `control.routes`."""
        app = FastAPI()
        server.tell_failures(app)
        for name in routes:
            app.include_router(import_module(f"freehold.control.routes.{name}").router(self.parts))
        return TestClient(app, raise_server_exceptions=True)

    def person(self, email: str, *roles: str) -> tuple[str, dict[str, str]]:
        """A person with roles such as `claims/trainer`; their id, and the header that signs them in."""
        pairs = [(role.split("/")[0], role.split("/")[1]) for role in roles]
        with self.parts.ground.db.write() as tx:
            who = people.add(tx, by=SYSTEM, email=email, roles=pairs)
            key = keys.create(tx, by=SYSTEM, owner=who.id, zone="control")
        return who.id, bearer(key.text)

    @property
    def administrator(self) -> dict[str, str]:
        return bearer(self.administrator_key)

    def project(self, name: str) -> None:
        with self.parts.ground.db.write() as tx:
            projects.add(tx, by=SYSTEM, name=name)

    def serving_key(self, project: str) -> dict[str, str]:
        """The header of a fresh serving key."""
        with self.parts.ground.db.write() as tx:
            owner = people.find(tx.connection, first_run.FIRST_ADMINISTRATOR).id
            return bearer(keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project=project).text)

    def serving_key_id(self, project: str) -> str:
        """The id of a fresh serving key."""
        return "key_" + self.serving_key(project)["authorization"].split("_")[1]

    def control_key_of(self, email: str) -> str:
        """The id of a control key that this person has."""
        with self.parts.ground.db.read() as conn:
            owner = people.find(conn, email).id
            return next(key.id for key in keys.listed(conn) if key.owner == owner and key.zone == "control")

    def count(self) -> dict[str, int]:
        """How many rows stand in each table of identity."""
        with self.parts.ground.db.read() as conn:
            return {
                table.name: conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0
                for table in (tables.people, tables.memberships, tables.projects, tables.keys)
            }

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Columns of the entries of a kind, oldest first."""
        with self.parts.ground.db.read() as conn:
            query = sa.select(tables.entries).where(tables.entries.c.kind == kind)
            return [dict(row) for row in conn.execute(query.order_by(tables.entries.c.at)).mappings()]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def house(tmp_path: Path, clock: Any) -> Iterator[House]:
    with house_in(tmp_path, clock) as made:
        yield made


@pytest.fixture
def dpo(house: House) -> dict[str, str]:
    """The header of somebody who is data-protection in claims."""
    return house.person("dpo@example.org", "claims/data-protection")[1]


@contextmanager
def house_in(folder: Path, clock: Any) -> Iterator[House]:
    """A house in a folder, for as long as the block lasts."""
    home = Home(folder / "freehold.d")
    made = first_run.create(home, Config(), clock=clock)
    db = open_database(home, clock)
    ring = Keyring(home.keyring, home.epoch_key)
    ground = Ground(
        db=db,
        keyring=ring,
        blobs=FileBlobs(home.blobs),
        release_key=signing.load_key_file(home.release_key),
        origin=made.origin,
        clock=clock,
    )
    sequencer = Sequencer(db, home.ledger, signing.load_key_file(home.ledger_key), made.origin)
    parts = Parts(home=home, config=Config(), ground=ground, sequencer=sequencer, policies=Policies.shipped())
    publish_first(ground)
    house = House(parts, made.administrator_key)
    house.project("claims")
    yield house
    ring.close()
    db.close()
