"""Opening the database: a new one is made whole, every other is either right or refused with a reason."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import fresh
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from postgres_server import EVERYWHERE, embedded, past_us, settle

from freehold.ledger.record import record
from freehold.spec.principal import SYSTEM
from freehold.store import migrate, tables
from freehold.store.home import DiskFull, FolderUnusable, Home
from freehold.store.migrate import (
    InUse,
    NotOurs,
    SchemaNewer,
    SchemaOlder,
    SqliteTooOld,
    open_database,
    pending,
    revisions,
    upgrade,
)
from freehold.store.rows import DatabaseDamaged, Tx

HEAD = revisions()[-1]
NEXT = f"{int(HEAD) + 1:04}"


@pytest.fixture(autouse=True)
def _by_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as they were said before: the steps themselves."""
    monkeypatch.setattr(migrate, "run_steps", fresh.by_steps)


def test_a_new_database_has_exactly_the_tables_of_the_code(home: Home) -> None:
    database = open_database(home)
    with database.writer_engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), tables.metadata)
    database.close()
    assert difference == []


@embedded
def test_what_the_suite_says_again_makes_the_same_database(tmp_path: Path) -> None:
    """Every other test works with those (tests/support/fresh.py)."""

    def made(name: str, how: Callable[[sa.Connection], None]) -> list[str]:
        home = Home(tmp_path / name)
        home.create()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(migrate, "run_steps", how)
            open_database(home).close()
        with closing(sqlite3.connect(home.database)) as raw:
            return list(raw.iterdump())

    by_steps = made("steps", fresh.by_steps)
    assert [made(name, fresh.run_steps) for name in ("once", "again")] == [by_steps, by_steps]


def test_the_steps_named_by_number_are_the_history_that_alembic_sees() -> None:
    script = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations"))
    history = [step.revision for step in script.walk_revisions()]
    assert tuple(reversed(history)) == revisions()


def test_the_steps_are_one_row_without_forks_or_gaps() -> None:
    """Two branches that each add a step would otherwise leave two ends, and `upgrade` takes neither."""
    script = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations"))
    assert script.get_heads() == [HEAD]
    numbers = [f"{number + 1:04}" for number in range(len(revisions()))]
    assert revisions() == tuple(numbers)
    for before, number in zip([None, *numbers], numbers, strict=False):
        step = script.get_revision(number)
        assert step.down_revision == before
        assert f"Revision {number}" in step.longdoc, "and its first lines say so"
        assert before is None or f"after {before}" in step.longdoc


RELEASED = {
    "0001_the_line": "31758a7bda3f5901bea1b669bf720a46363ac632728c67b446d9d44e679e1a8b",
    "0002_forgetting": "8e02419b747efc2e81837d085c1b8367c5443248d6b3888004b5f32105275f6b",
    "0003_what_stays": "40dd0a7e36bcc285f2aa47278e0f832b23efec75a8e22713c78ed31925381c48",
    "0004_readmission": "eae32af6edce0d4f26f8e52a8cfd5da7019b68456ad2fe1a21bb193adc477ac1",
    "0005_incidents": "6eed39b0d21823a2ebef92b4544eb8c4f48e19f790e1e5c71896f97abfa5d328",
    "0006_clearance": "7beeee18f981a4bc1ac41384acc0885eba597b824f5924a6527bd1bffee9387f",
    "0007_pages": "fbc7f79a372df6e1b25854e36b0bbd7c26af70c258ba7dff3f1693a02f774c62",
}


@pytest.mark.parametrize("step", RELEASED)
def test_a_step_that_installations_have_taken_stays_as_it_is(step: str) -> None:
    """Change the schema by a further step: those who have taken this one would never see the change."""
    text = (migrate._STEPS / f"{step}.py").read_bytes()
    assert hashlib.sha256(text).hexdigest() == RELEASED[step]


@embedded
def test_opening_twice_changes_nothing(home: Home) -> None:
    open_database(home).close()
    before = home.database.read_bytes()
    open_database(home).close()
    assert home.database.read_bytes() == before


@embedded
def test_only_the_owner_may_read_the_database_and_its_write_ahead_file(home: Home) -> None:
    database = open_database(home)
    with database.write():
        pass
    rights = {p.name: p.stat().st_mode & 0o777 for p in home.control.glob("freehold.db*")}
    database.close()
    assert rights["freehold.db"] == rights["freehold.db-wal"] == 0o600


@embedded
def test_an_old_sqlite_is_refused_before_anything_is_written(home: Home) -> None:
    with pytest.raises(SqliteTooOld, match=r"3\.33\.0") as told:
        open_database(home, sqlite=(3, 33, 0))
    assert "3.34.0" in told.value.why
    assert not home.database.exists()


def test_a_full_disk_is_refused_before_anything_is_written(home: Home) -> None:
    with pytest.raises(DiskFull) as told:
        open_database(home, room=lambda _: 5 * 2**20)
    assert "5 MB are free" in told.value.why
    assert not home.database.exists()


@embedded
def test_a_file_that_is_no_database_is_refused_and_left_alone(home: Home) -> None:
    home.database.write_bytes(b"these are somebody's notes, " * 200)
    before = home.database.read_bytes()
    with pytest.raises(DatabaseDamaged):
        open_database(home)
    assert home.database.read_bytes() == before


@embedded
def test_a_damaged_page_is_found_when_the_database_is_opened(home: Home) -> None:
    open_database(home).close()
    with home.database.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(3 * 4096))
    with pytest.raises(DatabaseDamaged) as told:
        open_database(home)
    assert told.value.hint


def test_a_database_of_something_else_is_refused(home: Home) -> None:
    if EVERYWHERE:
        settle(home, empty=True)
    with past_us(home) as other:
        other.exec_driver_sql("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(NotOurs):
        open_database(home)


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    home = Home(tmp_path / "nowhere")
    with pytest.raises(FolderUnusable) as told:
        open_database(home)
    assert "No such file" in told.value.why


def test_a_newer_schema_is_refused(home: Home) -> None:
    open_database(home).close()
    _set_revision(home, "0999")
    with pytest.raises(SchemaNewer, match="0999"):
        open_database(home)
    with pytest.raises(SchemaNewer):
        pending(home)


def test_an_older_schema_is_refused_with_the_command_that_helps(home: Home, next_release: None) -> None:
    with pytest.raises(SchemaOlder) as told:
        open_database(home)
    assert "freehold upgrade" in told.value.hint


@embedded
def test_an_upgrade_shows_its_steps_and_changes_nothing_until_told(home: Home, next_release: None) -> None:
    before = home.database.read_bytes()
    plan = pending(home)
    assert plan.steps == (f"{NEXT}_a_column_more",)
    assert home.database.read_bytes() == before
    assert not plan.backup.exists()


def test_an_upgrade_backs_up_migrates_and_is_recorded(home: Home, next_release: None) -> None:
    plan = upgrade(home, _note)
    assert _revision_in(plan.backup) == HEAD
    assert plan.backup.stat().st_mode & 0o777 == 0o600
    database = open_database(home)
    with database.read() as connection:
        assert connection.execute(sa.select(tables.entries.c.kind)).scalar_one() == "installation.upgraded"
        assert "nickname" in {c["name"] for c in sa.inspect(connection).get_columns("people")}
    database.close()
    assert upgrade(home, _note).steps == ()


def test_an_upgrade_whose_entry_cannot_be_written_changes_nothing(home: Home, next_release: None) -> None:
    def fail(tx: Tx, before: str, after: str) -> None:
        raise RuntimeError("no ink")

    with pytest.raises(RuntimeError, match="no ink"):
        upgrade(home, fail)
    with pytest.raises(SchemaOlder):
        open_database(home)


def test_an_upgrade_is_refused_while_freehold_runs(home: Home) -> None:
    database = open_database(home)
    with pytest.raises(InUse):
        upgrade(home, _note)
    database.close()


@pytest.fixture
def next_release(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This release's database, then the code of the next one with one step more."""
    open_database(home).close()
    folder = tmp_path / "migrations"
    shutil.copytree(migrate._STEPS.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / f"{NEXT}_a_column_more.py").write_text(_STEP)
    monkeypatch.setattr(migrate, "_STEPS", folder / "versions")


_STEP = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade():
    how = "always" if op.get_bind().dialect.name == "sqlite" else "auto"
    with op.batch_alter_table("people", recreate=how) as people:
        people.add_column(sa.Column("nickname", sa.String(20)))
"""


def _note(tx: Tx, before: str, after: str) -> None:
    detail = {"before": before, "after": after}
    record(tx, "installation.upgraded", by=SYSTEM, object="schema", detail=detail)


def _revision_in(backup: Path) -> str:
    if backup.suffix == ".db":
        with closing(sqlite3.connect(backup)) as copy:
            return str(copy.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    dump = ["pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(backup)]
    return (
        subprocess.run(dump, capture_output=True, text=True, check=True).stdout.split("stdin;")[1].split()[0]
    )


def _set_revision(home: Home, revision: str) -> None:
    with past_us(home) as raw:
        raw.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
