"""The first run is complete or begins again; the way back needs the host and is recorded."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import postgres_server
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.errors import NotSignedIn
from freehold.identity import first_run, keys, people
from freehold.identity.first_run import InstallationExists, NoInstallation, NotABeginning, NotAnAdministrator
from freehold.identity.people import BadAddress
from freehold.spec.config import Config
from freehold.spec.ids import BadName
from freehold.spec.principal import SYSTEM, Principal, Zone
from freehold.store import hpke, signing, tables
from freehold.store.home import FolderUnusable, Home
from freehold.store.keyring import Keyring
from freehold.store.lock import AlreadyRunning, alone
from freehold.store.migrate import open_database


class Killed(BaseException):
    """What a test raises where a process would die."""


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    return Home(tmp_path / "freehold.d")


def sign_in(home: Home, text: str, zone: Zone = "control") -> Principal:
    database = open_database(home)
    try:
        with database.read() as conn:
            return keys.authenticate(conn, text, zone=zone, at=database.clock())
    finally:
        database.close()


def entries(home: Home) -> list[str]:
    database = open_database(home)
    try:
        with database.read() as conn:
            return sorted(conn.execute(sa.select(tables.entries.c.kind)).scalars())
    finally:
        database.close()


def test_the_first_key_is_the_administrators(empty: Home) -> None:
    made = first_run.create(empty, Config())
    who = sign_in(empty, made.administrator_key)
    assert who.roles == {("*", "administrator")}
    assert made.administrator == "administrator@localhost"
    assert made.origin.startswith("freehold.local/")
    assert not first_run.needed(empty)


def test_the_first_administrator_may_be_named(empty: Home) -> None:
    assert (
        first_run.create(empty, Config(), administrator="Root@Example.org").administrator
        == "root@example.org"
    )


def test_machines_find_their_border_keys_in_their_own_zone(empty: Home) -> None:
    first_run.create(empty, Config())
    for path, machine in ((empty.gateway_border, "gateway"), (empty.worker_border, "worker")):
        assert sign_in(empty, path.read_text(), "border").id == machine


def test_all_key_files_are_there_and_only_ours_to_read(empty: Home) -> None:
    first_run.create(empty, Config())
    files = [path for path in empty.root.rglob("*") if path.is_file() and path != empty.config]
    assert {path.name for path in files} >= {
        "epoch.key", "ledger.key", "release.key", "release.pub", "spool.hpke",
        "gateway.hpke", "gateway.hpke.pub", "border.key", "installation.json",
    }  # fmt: skip
    assert postgres_server.EVERYWHERE or empty.database in files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in empty.root.rglob("*") if path.is_dir()} == {0o700}


def test_the_pairs_belong_together(empty: Home) -> None:
    first_run.create(empty, Config())
    sealed = hpke.seal_to(empty.gateway_pub.read_bytes(), b"x", b"")
    assert hpke.open_with(empty.gateway_key.read_bytes(), sealed, b"") == b"x"
    public = Ed25519PublicKey.from_public_bytes(empty.release_pub.read_bytes())
    envelope = signing.sign(signing.load_key_file(empty.release_key), "t", b"x")
    assert signing.verify(public, envelope, "t") == b"x"
    Keyring(empty.keyring, empty.epoch_key).close()


def test_no_private_key_of_control_lies_in_the_serving_zone(empty: Home) -> None:
    first_run.create(empty, Config())
    served = b"".join(path.read_bytes() for path in empty.serving.rglob("*") if path.is_file())
    for path in (empty.epoch_key, empty.ledger_key, empty.release_key, empty.spool_key):
        assert path.read_bytes() not in served


def test_no_representation_shows_a_key(empty: Home) -> None:
    made = first_run.create(empty, Config())
    back = first_run.recover(empty)
    assert made.administrator_key not in repr(made)
    assert back.administrator_key not in repr(back)


def test_it_begins_with_its_entries(empty: Home) -> None:
    first_run.create(empty, Config())
    assert entries(empty) == ["installation.created", *["key.created"] * 3, "person.added"]


def test_a_second_first_run_is_refused_and_changes_nothing(empty: Home) -> None:
    made = first_run.create(empty, Config())
    with pytest.raises(InstallationExists):
        first_run.create(empty, Config())
    assert sign_in(empty, made.administrator_key)


STEPS = 14


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_killed_at_any_step_it_is_complete_or_begins_again(
    empty: Home, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    die_at(monkeypatch, step)
    with pytest.raises(Killed):
        first_run.create(empty, Config())
    monkeypatch.undo()
    if first_run.needed(empty):
        made = first_run.create(empty, Config())
        assert sign_in(empty, made.administrator_key)
    else:
        assert sign_in(empty, first_run.recover(empty).administrator_key)
    assert sign_in(empty, empty.gateway_border.read_text(), "border").id == "gateway"
    assert entries(empty).count("installation.created") == 1
    assert not empty.beginning.exists() or step == STEPS


def test_there_are_no_more_steps_than_the_test_above_kills_at(
    empty: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_at(monkeypatch, STEPS + 1)
    assert first_run.create(empty, Config())


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Die before the n-th thing that stays: a file in its place, an unlinked mark, a committed row."""
    seen = 0

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step:
                raise Killed
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(first_run, "open_database", counted(first_run.open_database))
    monkeypatch.setattr(first_run, "_populate", counted(first_run._populate))
    monkeypatch.setattr(first_run, "sync_folder", counted(first_run.sync_folder))


KILLED_FOR_GOOD = """
import os, pathlib, signal, sys
from freehold.identity import first_run
from freehold.spec.config import Config
from freehold.store.home import Home
first_run._populate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
first_run.create(Home(pathlib.Path(sys.argv[1])), Config())
"""


def test_a_process_killed_within_its_transaction_begins_again(empty: Home) -> None:
    dead = subprocess.run([sys.executable, "-c", KILLED_FOR_GOOD, str(empty.root)], check=False)
    assert dead.returncode == -signal.SIGKILL
    assert empty.beginning.exists()
    assert sign_in(empty, first_run.create(empty, Config()).administrator_key)


def test_a_database_without_either_mark_is_not_touched(empty: Home) -> None:
    made = first_run.create(empty, Config())
    mark = empty.installation.read_bytes()
    empty.installation.unlink()
    with pytest.raises(NotABeginning):
        first_run.create(empty, Config())
    empty.installation.write_bytes(mark)
    assert sign_in(empty, made.administrator_key)


def test_a_place_that_cannot_be_written_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FolderUnusable):
        first_run.create(Home(tmp_path / "file" / "freehold.d"), Config())


@pytest.mark.parametrize(
    ("config", "administrator", "kind"),
    [(Config(site="My Site"), "root@example.org", BadName), (Config(), "nobody", BadAddress)],
)
def test_a_mistake_in_its_options_can_be_mended_and_tried_again(
    empty: Home, config: Config, administrator: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        first_run.create(empty, config, administrator=administrator)
    assert first_run.create(empty, Config())


# -- the way back


def test_recovery_gives_a_new_key_voids_the_old_and_is_recorded(empty: Home) -> None:
    made = first_run.create(empty, Config())
    back = first_run.recover(empty)
    assert sign_in(empty, back.administrator_key).roles == {("*", "administrator")}
    assert back.administrator == "administrator@localhost"
    assert len(back.voided) == 1
    with pytest.raises(NotSignedIn):
        sign_in(empty, made.administrator_key)
    assert entries(empty).count("installation.recovered") == 1
    assert entries(empty).count("key.revoked") == 1


def test_recovery_unlocks_an_administrator_who_was_locked(empty: Home) -> None:
    first_run.create(empty, Config())
    database = open_database(empty)
    with database.write() as tx:
        second = people.add(tx, by=SYSTEM, email="second@example.org", roles=[("*", "administrator")])
        people.lock(tx, by=SYSTEM, person=second)
    database.close()
    back = first_run.recover(empty, administrator="Second@example.org")
    assert sign_in(empty, back.administrator_key).id == second.id


def test_recovery_is_for_administrators_only(empty: Home) -> None:
    first_run.create(empty, Config())
    database = open_database(empty)
    with database.write() as tx:
        people.add(tx, by=SYSTEM, email="ann@example.org", roles=[("*", "auditor")])
    database.close()
    with pytest.raises(NotAnAdministrator) as refused:
        first_run.recover(empty, administrator="ann@example.org")
    assert "ann" not in str(refused.value)
    assert "installation.recovered" not in entries(empty)


def test_recovery_waits_until_control_is_stopped(empty: Home) -> None:
    first_run.create(empty, Config())
    with alone(empty.control), pytest.raises(AlreadyRunning):
        first_run.recover(empty)


def test_recovery_without_an_installation_is_told_so(empty: Home) -> None:
    with pytest.raises(NoInstallation):
        first_run.recover(empty)
    assert not empty.root.exists()


def test_the_mark_says_what_was_made(empty: Home) -> None:
    made = first_run.create(empty, Config(site="lab"))
    assert json.loads(empty.installation.read_text())["origin"] == made.origin
    assert made.origin.startswith("freehold.lab/")
