"""An installation moves from its file to Postgres and back: by a backup, and where it is restored."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import postgres_server
import pytest
import sqlalchemy as sa

from freehold.app import open_parts
from freehold.control import backup
from freehold.control.restore import RowsElsewhere, restore
from freehold.data import intake, versions
from freehold.data.intake import Intake
from freehold.ledger.record import record
from freehold.ledger.verify import verify
from freehold.spec.config import Config
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.backup_files import unpack
from freehold.store.home import Home
from freehold.store.place import postgres_of, rows_of
from freehold.store.rows import Database
from freehold.store.transfer import NotEmpty, empty

CSV = b"customer,note,class\nanna-k,water damage in the kitchen,property\nben-o,my car was hit,motor\n"


@pytest.fixture
def keys(house: Any, tmp_path: Path) -> Path:
    (tmp_path / "safe").mkdir()
    shutil.copy(house.parts.home.epoch_key, tmp_path / "safe" / "epoch.key")
    return tmp_path / "safe"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A freehold.yaml of one line."""
    return postgres_server.new_config(tmp_path)


def put_data(house: Any) -> None:
    request = Intake(
        name="inbox", purposes=("claims-handling",), basis="contract", sensitivity="Confidential",
        owner="claims", keep="3y", regions=("eu",), subject=("customer",), target="class",
    )  # fmt: skip
    intake.add(
        house.parts.ground, by=SYSTEM, project="claims", request=request, source=io.BytesIO(CSV), format="csv"
    )


def backed_up(parts: Any, folder: Path) -> Path:
    copy = backup.begin(parts, SYSTEM)
    folder.mkdir()
    try:
        unpack("backup", io.BytesIO(b"".join(backup.archive(parts, copy))), folder)
    finally:
        copy.close()
    return folder


@contextmanager
def rows(home: Home) -> Iterator[sa.Connection]:
    database = rows_of(home, read_only=True)
    with database.read() as conn:
        yield conn
    database.close()


def everything(home: Home) -> dict[str, list[Any]]:
    """Every row of every table that a restoration leaves as it was."""
    told = {"entries", "outbox", "ledger", "snapshots", "settings", "backups"}
    with rows(home) as conn:
        return {
            table.name: sorted(map(tuple, conn.execute(sa.select(table))), key=repr)
            for table in tables.metadata.sorted_tables
            if table.name not in told
        }


def test_it_moves_to_postgres_and_back_and_nothing_is_lost(
    house: Any, keys: Path, config: Path, tmp_path: Path
) -> None:
    put_data(house)
    before = everything(house.parts.home)
    there = Home(tmp_path / "there")
    restored = restore(backed_up(house.parts, tmp_path / "one"), there, keys, config)
    assert not there.database.exists()
    assert postgres_of(there) is not None
    assert everything(there) == before
    assert verify(there).entries == restored.entries
    with open_parts(there, Config()) as parts:
        assert versions_in(parts) == ["inbox@1"]
        add_project(parts.ground.db, "moved")  # columns that count by themselves go on
        parts.sequencer.run_once()
        again = backed_up(parts, tmp_path / "two")
        left = list(there.control.glob(".backup-*"))
    assert left == []
    (tmp_path / "plain.yaml").write_text("# rows stand in the folder\n")
    here = Home(tmp_path / "here")
    restore(again, here, keys, tmp_path / "plain.yaml")
    assert here.database.exists()
    assert everything(here) == everything(there)
    assert verify(here).broken == ()


def versions_in(parts: Any) -> list[str]:
    with parts.ground.db.read() as conn:
        return [version.ref for version in versions.list(conn, "claims")]


def add_project(db: Database, name: str) -> None:
    row = {"timezone": "UTC", "currency": "EUR", "state": "active", "created_at": 1}
    with db.write() as tx:
        tx.execute(tables.projects.insert().values(name=name, **row))
        record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})


def test_where_the_rows_of_a_postgres_go_has_to_be_said(
    house: Any, keys: Path, config: Path, tmp_path: Path
) -> None:
    there = Home(tmp_path / "there")
    restore(backed_up(house.parts, tmp_path / "one"), there, keys, config)
    with open_parts(there, Config()) as parts:
        made = backed_up(parts, tmp_path / "two")
    with pytest.raises(RowsElsewhere) as told:
        restore(made, Home(tmp_path / "third"), keys)
    assert "on Postgres" in told.value.why
    with pytest.raises(NotEmpty):  # the one it came from is in use
        restore(made, Home(tmp_path / "third"), keys, config)
    assert not (tmp_path / "third").exists()
    assert verify(there).broken == ()


def test_a_database_that_was_used_is_taken_empty_again(
    house: Any, keys: Path, config: Path, tmp_path: Path
) -> None:
    made = backed_up(house.parts, tmp_path / "one")
    there = Home(tmp_path / "there")
    restore(made, there, keys, config)
    database = rows_of(there)
    empty(database)
    database.close()
    restore(made, Home(tmp_path / "again"), keys, config)
    assert verify(Home(tmp_path / "again")).broken == ()
