"""The rows on Postgres: one line of freehold.yaml, the same promises, and no password anywhere."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import postgres_server
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from freehold.errors import Failure
from freehold.identity import first_run
from freehold.ledger.record import record
from freehold.ledger.verify import verify
from freehold.spec.config import Config
from freehold.spec.principal import SYSTEM
from freehold.spec.reading import read_config
from freehold.store import migrate, postgres, tables
from freehold.store.home import DatabaseUnusable, Home
from freehold.store.migrate import Emptied, InUse, SchemaOlder, open_database, revisions, upgrade
from freehold.store.place import rows_of
from freehold.store.postgres import DatabaseAway, DatabaseRefuses, Unfit, url_of
from freehold.store.rows import Database, Tx, UnrecordedChange
from freehold.store.transfer import empty

SECRET = "a-password-nobody-reads"
ROW = {"timezone": "UTC", "currency": "EUR", "state": "active", "created_at": 1}


@pytest.fixture
def at(tmp_path: Path) -> Home:
    """A home whose freehold.yaml names an empty Postgres database."""
    home = Home(tmp_path / "at")
    postgres_server.settle(home, empty=True)
    home.create()
    return home


@pytest.fixture
def rows(at: Home) -> Iterator[Database]:
    database = open_database(at)
    yield database
    database.close()


def add(tx: Tx, name: str) -> None:
    tx.execute(tables.projects.insert().values(name=name, **ROW))
    record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})


def names(rows: Database) -> list[str]:
    with rows.read() as conn:
        return list(conn.scalars(sa.select(tables.projects.c.name).order_by(tables.projects.c.name)))


# -- the schema


def test_a_new_database_has_exactly_the_tables_of_the_code(rows: Database) -> None:
    with rows.writer_engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_names_are_sorted_by_bytes_whatever_language_the_database_speaks(rows: Database) -> None:
    some = ["a-b", "ab", "a_c", "B", "a", "Ä", "ä"]
    with rows.write() as tx:
        for name in some:
            add(tx, name)
    with rows.read() as conn:
        by_language = list(
            conn.scalars(sa.text('SELECT name FROM projects ORDER BY name COLLATE "en-x-icu"'))
        )
    assert names(rows) == sorted(some) != by_language


def test_an_installation_whose_rows_are_gone_is_not_begun_anew(at: Home) -> None:
    first_run.create(at, Config())
    postgres_server.settle(at, empty=True)
    with pytest.raises(Emptied):
        open_database(at)


@pytest.mark.parametrize("schema", revisions()[:-1])
def test_a_populated_older_schema_is_brought_forward_and_its_ledger_still_verifies(
    at: Home, schema: str
) -> None:
    older_installation(at, schema)
    with pytest.raises(SchemaOlder):
        open_database(at)
    plan = upgrade(at, note)
    assert plan.before == schema
    assert plan.after == revisions()[-1]
    assert plan.backup.stat().st_mode & 0o777 == 0o600
    database = open_database(at)
    assert names(database) == ["claims"]
    with database.writer_engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    database.close()
    assert verify(at).entries > 3


@pytest.mark.parametrize("schema", revisions()[:-1])
def test_the_embedded_one_is_brought_forward_as_well(home: Home, schema: str) -> None:
    home.config.unlink(missing_ok=True)
    older_installation(home, schema)
    assert upgrade(home, note).before == schema
    database = open_database(home)
    assert names(database) == ["claims"]
    database.close()
    assert verify(home).entries > 3


def older_installation(home: Home, schema: str) -> None:
    """What a release with an older schema left: an administrator, keys, a project, a ledger."""
    first_run.create(home, Config())
    database = open_database(home)
    with database.write() as tx:
        add(tx, "claims")
    place_everything(home, database)
    with database.read() as conn:
        said = {table.name: conn.execute(sa.select(table)).mappings().all() for table in every_table()}
    empty(database)
    with database.writer_engine.connect() as connection:
        database.begin_writing(connection)
        first_steps(connection, schema)
        then = sa.MetaData()
        then.reflect(connection)
        for table in then.sorted_tables:
            rows = [{c.name: row[c.name] for c in table.c} for row in said.get(table.name, [])]
            if rows:
                connection.execute(table.insert(), rows)
        connection.commit()
    database.close()


def every_table() -> list[sa.Table]:
    return tables.metadata.sorted_tables


def first_steps(connection: sa.Connection, schema: str) -> None:
    from alembic import command
    from alembic.config import Config as Alembic

    config = Alembic()
    config.set_main_option("script_location", str(migrate._STEPS.parent))
    config.attributes["connection"] = connection
    command.upgrade(config, schema)


def place_everything(home: Home, database: Database) -> None:
    from freehold.ledger.sequencer import Sequencer
    from freehold.store.signing import load_key_file

    with database.read() as conn:
        query = sa.select(tables.settings.c.value).where(tables.settings.c.name == "origin")
        origin = str(conn.scalar(query))
    Sequencer(database, home.ledger, load_key_file(home.ledger_key), origin).run_once()


def note(tx: Tx, before: str, after: str) -> None:
    detail = {"before": before, "after": after}
    record(tx, "installation.upgraded", by=SYSTEM, object="schema", detail=detail)


def test_an_upgrade_is_refused_while_freehold_runs(at: Home, rows: Database) -> None:
    with rows.read(), pytest.raises(InUse):
        upgrade(at, note)


def test_a_session_that_is_just_leaving_is_waited_for(at: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database(at)
    with ExitStack() as reading:
        reading.enter_context(database.read())

        def leave(_: float) -> None:
            reading.close()
            database.close()

        monkeypatch.setattr("freehold.store.migrate.time.sleep", leave)
        assert upgrade(at, note).steps == ()


def test_an_upgrade_is_refused_under_whatever_name_the_address_gives_sessions(at: Home) -> None:
    text = at.config.read_text().replace("?host=", "?application_name=mine&host=")
    at.config.write_text(text)
    assert "application_name" in text
    database = open_database(at)
    with database.read(), pytest.raises(InUse):
        upgrade(at, note)
    database.close()


# -- no change without its entry, one writer at a time


def test_a_change_without_an_entry_is_rolled_back(rows: Database) -> None:
    with pytest.raises(UnrecordedChange, match="projects"), rows.write() as tx:
        tx.execute(tables.projects.insert().values(name="claims", **ROW))
    assert names(rows) == []


def test_what_the_driver_itself_was_told_is_seen_by_its_effect(rows: Database) -> None:
    with pytest.raises(UnrecordedChange, match="unknown"), rows.write() as tx:
        tx.connection.connection.cursor().execute("INSERT INTO settings VALUES ('a', 'b')")


def test_what_two_controls_look_at_and_then_write_is_done_one_after_the_other(at: Home) -> None:
    """Each adds one to what it read; under a looser isolation most additions would be lost."""
    open_database(at).close()
    counting = [subprocess.Popen([sys.executable, "-c", _COUNTER, str(at.root)]) for _ in range(2)]
    assert [process.wait(60) for process in counting] == [0, 0]
    database = open_database(at)
    with database.read() as conn:
        assert conn.scalar(sa.select(tables.settings.c.value)) == "80"
    database.close()


_COUNTER = """
import sys
from pathlib import Path
import sqlalchemy as sa
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.tables import settings

database = open_database(Home(Path(sys.argv[1])))
for _ in range(40):
    with database.write() as tx:
        tx.tells_of(["settings"])  # the numbers stand for themselves
        before = tx.execute(sa.select(settings.c.value)).scalar()
        if before is None:
            tx.execute(settings.insert().values(name="counted", value="1"))
        else:
            tx.execute(settings.update().values(value=str(int(before) + 1)))
database.close()
"""


def test_a_writer_that_freezes_is_cut_off_and_a_reader_that_is_busy_elsewhere_is_not(
    at: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "FROZEN", "500ms")
    rows, others = open_database(at), rows_of(at)
    with rows.read() as conn:
        conn.execute(sa.select(tables.projects)).all()
        with pytest.raises(DatabaseUnusable):
            freeze(rows, others)
        assert conn.execute(sa.select(tables.projects)).all() == []
    assert names(others) == ["motor"]
    rows.close()
    others.close()


def freeze(rows: Database, others: Database) -> None:
    """One begins to write, and does nothing more until another one has written."""
    with rows.write() as tx:
        add(tx, "claims")
        with others.write() as other:
            add(other, "motor")


def test_a_server_that_was_restarted_is_no_failure_for_the_next_transaction(rows: Database) -> None:
    with rows.write() as tx:
        add(tx, "before")
    sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'freehold'"
    postgres_server.server().sql(sessions)
    with rows.write() as tx:
        add(tx, "after")
    assert names(rows) == ["after", "before"]


def test_a_session_cut_off_in_the_middle_leaves_nothing_half(rows: Database) -> None:
    def cut_off() -> None:
        with rows.write() as tx:
            add(tx, "half")
            pid = tx.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
            postgres_server.server().sql(f"SELECT pg_terminate_backend({pid})")
            add(tx, "whole")

    with pytest.raises(DatabaseUnusable):
        cut_off()
    assert names(rows) == []


# -- what was deleted


def test_who_was_deleted_is_in_no_page_of_the_tables_that_name_somebody(rows: Database) -> None:
    person = "5ad" * 21 + "f"
    with rows.write() as tx:
        tx.tells_of(["datasets", "data_versions"])
        put_subjects(tx, person)
    assert person in pages(rows, "data_subjects")
    with rows.write() as tx:
        tx.execute(tables.data_subjects.delete().where(tables.data_subjects.c.subject == person))
    assert person in pages(rows, "data_subjects")
    assert rows.settle()
    assert person not in pages(rows, "data_subjects")
    with rows.read() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(tables.data_subjects)) == 2


def test_a_reader_who_still_sees_what_was_deleted_is_waited_for(rows: Database) -> None:
    with rows.read() as conn:
        conn.execute(sa.select(tables.projects)).all()
        assert rows.settle(), "nothing went since"
        with rows.write() as tx:
            tx.execute(tables.samples.delete())
            tx.execute(tables.samples.insert().values(at=1, answers=0, bytes=0))
        assert not rows.settle()
    assert rows.settle()


def test_a_reader_who_leaves_in_the_middle_was_in_the_way_all_the_same(rows: Database) -> None:
    person = "5ad" * 21 + "f"
    with rows.write() as tx:
        tx.tells_of(["datasets", "data_versions"])
        put_subjects(tx, "c" * 64)
        last = tables.data_subjects.insert().values(version="dv_1", subject=person, rows="[1]")
        tx.execute(last)  # its place in the page is taken by no other row that moves
    with ExitStack() as reading:
        reading.enter_context(rows.read()).execute(sa.select(tables.projects)).all()
        with rows.write() as tx:
            tx.execute(tables.data_subjects.delete().where(tables.data_subjects.c.subject == person))

        def leave(_: sa.Connection, __: object, statement: str, *___: object) -> None:
            if statement == "VACUUM":
                reading.close()

        sa.event.listen(rows.writer_engine, "before_cursor_execute", leave)
        assert not rows.settle() or person not in pages(rows, "data_subjects")
    assert rows.settle()
    assert person not in pages(rows, "data_subjects")


def test_somebody_elses_reader_is_waited_for_although_its_beginning_is_hidden(at: Home) -> None:
    import psycopg

    server, name = postgres_server.server(), postgres_server.database_of(at)
    asker(name)
    server.sql("GRANT ALL ON SCHEMA public TO asker", name)
    with_password(at, SECRET, name)
    ours = open_database(at)
    address = f"host={server.root} port={server.port} user=freehold dbname={name}"
    with psycopg.connect(address) as theirs:
        theirs.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        theirs.execute("SELECT count(*) FROM projects")
        with ours.write() as tx:
            tx.execute(tables.samples.insert().values(at=1, answers=0, bytes=0))
        assert not ours.settle()
    assert ours.settle()
    ours.close()
    server.sql("REASSIGN OWNED BY asker TO freehold; DROP OWNED BY asker", name)
    server.sql("DROP ROLE asker")


def test_others_write_while_it_settles(rows: Database) -> None:
    wrote: list[bool] = []

    def write(_: sa.Connection, __: object, statement: str, *___: object) -> None:
        if statement == "VACUUM" and not wrote:
            wrote.append(False)
            with rows.write() as tx:
                add(tx, "claims")
            wrote[0] = True

    sa.event.listen(rows.writer_engine, "before_cursor_execute", write)
    assert rows.settle()
    assert wrote == [True]


def put_subjects(tx: Tx, person: str) -> None:
    add(tx, "claims")
    tx.execute(tables.datasets.insert().values(id="ds_1", project="claims", **filled(tables.datasets)))
    tx.execute(
        tables.data_versions.insert().values(id="dv_1", dataset="ds_1", **filled(tables.data_versions))
    )
    for subject in (person, "a" * 64, "b" * 64):
        tx.execute(tables.data_subjects.insert().values(version="dv_1", subject=subject, rows="[1]"))


def filled(table: sa.Table) -> dict[str, object]:
    """Something in every column that has to have it."""
    wanted = [column for column in table.c if not column.nullable and not column.foreign_keys]
    return {
        column.name: "x" if isinstance(column.type, sa.String) else 1
        for column in wanted
        if not column.primary_key
    }


def pages(rows: Database, table: str) -> str:
    """The file of a table as it lies on the disk."""
    postgres_server.server().sql("CHECKPOINT")
    name = str(rows.url.database)
    read = f"SELECT encode(pg_read_binary_file(pg_relation_filepath('{table}')), 'escape')"
    return postgres_server.server().sql(read, name)


# -- the first run


def test_a_first_run_that_was_killed_begins_again_in_the_same_database(
    at: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as then:
        then.setattr(first_run, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            first_run.create(at, Config())
    made = first_run.create(at, Config())
    database = open_database(at)
    with database.read() as conn:
        assert len(conn.execute(sa.select(tables.people)).all()) == 1
    database.close()
    assert made.administrator_key


def test_the_database_of_another_installation_is_not_touched(at: Home, tmp_path: Path) -> None:
    first_run.create(at, Config())
    stranger = Home(tmp_path / "stranger")
    stranger.root.mkdir()
    stranger.config.write_text(at.config.read_text())
    before = everything(at)
    with pytest.raises(first_run.DatabaseTaken) as told:
        first_run.create(stranger, Config())
    assert "another installation" in told.value.what
    assert everything(at) == before


def everything(home: Home) -> list[list[sa.Row[object]]]:
    database = rows_of(home)
    with database.read() as conn:
        found = [
            list(conn.execute(sa.select(table))) for table in (tables.people, tables.keys, tables.entries)
        ]
    database.close()
    return found  # type: ignore[return-value]


# -- what goes wrong, and what is said of it


@pytest.mark.parametrize(("name", "why"), [("nul\0", "NUL"), ("x" * 64, "longer")])
def test_what_no_column_can_hold_is_told_and_nothing_is_changed(rows: Database, name: str, why: str) -> None:
    with pytest.raises(Unfit) as told, rows.write() as tx:
        add(tx, name)
    assert why in told.value.why
    assert names(rows) == []


def with_password(home: Home, password: str, name: str) -> None:
    server = postgres_server.server()
    home.config.write_text(f"database: postgresql://asker:{password}@127.0.0.1:{server.port}/{name}\n")


def asker(name: str) -> None:
    server = postgres_server.server()
    server.sql("DROP ROLE IF EXISTS asker")
    server.sql(f"CREATE ROLE asker LOGIN PASSWORD '{SECRET}'")


def test_a_password_opens_it_and_stands_in_nothing_that_is_said(
    at: Home, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name = postgres_server.database_of(at)
    asker(name)
    with_password(at, SECRET, name)
    with pytest.raises(DatabaseRefuses) as no_right:
        open_database(at)
    with_password(at, SECRET + "x", name)
    with pytest.raises(DatabaseRefuses) as wrong:
        open_database(at)
    with_password(at, SECRET, "nowhere")
    with pytest.raises(DatabaseRefuses) as nowhere:
        open_database(at)
    postgres_server.server().sql("GRANT ALL ON SCHEMA public TO asker", name)
    with_password(at, SECRET, name)
    open_database(at).close()
    out = capfd.readouterr()
    for said in (no_right, wrong, nowhere):
        assert SECRET not in str(said.value) + repr(said.value.__cause__)
    assert "createdb" in nowhere.value.hint
    assert SECRET not in out.out + out.err + caplog.text
    assert SECRET not in repr(read_config(at.config.read_text()))
    postgres_server.server().sql("REASSIGN OWNED BY asker TO freehold; DROP OWNED BY asker", name)
    postgres_server.server().sql("DROP ROLE asker")


def test_a_server_that_is_not_there_is_told_with_what_to_look_at(at: Home) -> None:
    at.config.write_text(f"database: postgresql://freehold:{SECRET}@127.0.0.1:1/freehold\n")
    with pytest.raises(DatabaseAway) as told:
        open_database(at)
    assert "freehold.yaml" in told.value.hint
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("said", ["mysql://root:{}@db/x", "postgresql+asyncpg:{}", "{}", "http://{}@x"])
def test_what_is_no_address_is_told_without_repeating_it(said: str) -> None:
    with pytest.raises(Failure) as told:
        read_config(f"database: '{said.format(SECRET)}'\n")
    assert SECRET not in str(told.value)


def test_the_address_of_the_driver_is_ours_to_choose() -> None:
    assert url_of("postgres://me@db.example.org/rows").drivername == "postgresql+psycopg"


def test_a_password_among_the_options_is_one_as_well() -> None:
    url = url_of(f"postgresql://me@db.example.org/rows?password={SECRET}&sslmode=require")
    assert url.password == SECRET
    assert SECRET not in url.set(password=None).render_as_string(), "what a command line may show"
    assert url.query == {"sslmode": "require"}


def test_the_embedded_database_loads_no_driver_for_another(tmp_path: Path) -> None:
    looked = "import sys; from freehold.store.migrate import open_database; "
    looked += "from freehold.store.home import Home; from pathlib import Path; "
    looked += (
        "h = Home(Path(sys.argv[1])); h.create(); open_database(h).close(); print('psycopg' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", looked, str(tmp_path / "fh")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
