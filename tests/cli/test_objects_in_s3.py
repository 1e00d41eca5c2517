"""An installation with its objects in S3, and backups that lie there: a real server, over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from s3_server import S3Server

from freehold.app import open_parts
from freehold.control.restore import ObjectsElsewhere, restore
from freehold.data import lineage, versions
from freehold.ledger.verify import verify
from freehold.spec.s3 import place
from freehold.store import s3
from freehold.store.backed_up import BackupBroken
from freehold.store.configured import read_config
from freehold.store.home import Home
from freehold.store.s3 import S3Blobs
from tests.cli.test_backup import control_goes_away
from tests.control.test_backup import put_data


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(autouse=True)
def _let_in(server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server.let_in(monkeypatch)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def in_s3(house: Any, server: S3Server) -> Any:
    """The house, with its objects in S3 from the first one on."""
    url = server.new_bucket("prod")
    home = house.parts.home
    home.config.write_text(f"objects: {json.dumps(url)}\n")
    ground = replace(house.parts.ground, blobs=S3Blobs(place(url)))
    moved = type(house)(
        replace(house.parts, ground=ground, config=read_config(home.config)), house.administrator_key
    )
    put_data(moved)
    return moved


@pytest.fixture
def typed(in_s3: Any, shell: Any, serve: Any) -> Iterator[Any]:
    """Types a command, as the administrator of that house."""
    with serve(in_s3) as url:
        yield lambda *words: shell(*words, url=url, key=in_s3.administrator_key)


@pytest.fixture
def keys(house: Any, tmp_path: Path) -> Path:
    (tmp_path / "safe").mkdir()
    shutil.copy(house.parts.home.epoch_key, tmp_path / "safe")
    return tmp_path / "safe"


def holds(home: Home) -> int:
    """Rows that hold in the version that `put_data` made; and the whole ledger."""
    assert verify(home).broken == ()
    with open_parts(home, read_config(home.config)) as parts, parts.ground.db.read() as conn:
        (version,) = versions.list(conn, "claims")
        return lineage.check(parts.ground, version)


def test_objects_are_in_the_bucket_and_not_in_the_folder(in_s3: Any, server: S3Server) -> None:
    assert list(in_s3.parts.home.blobs.rglob("*")) == []
    stored = [path for path in (server.newest / "prod").rglob("*") if path.is_file()]
    assert len(stored) >= 2
    for path in stored:
        assert b"water damage" not in path.read_bytes()


def test_a_backup_holds_them_and_goes_to_s3_and_comes_back(
    server: S3Server, typed: Any, keys: Path, tmp_path: Path
) -> None:
    to = server.new_bucket("backups/monday.tar")
    said = typed("backup", to)
    assert said.code == 0, said.err
    assert "backups/monday.tar, each read again" in said.out
    assert "endpoint" not in said.out
    assert typed("backup", to).code == 5  # it is there already
    with pytest.raises(ObjectsElsewhere):
        restore(place(to), Home(tmp_path / "again"), keys)
    (tmp_path / "files.yaml").write_text("site: again\n")
    said = typed("restore", to, "--keys", str(keys), "--home", "again", "--config", "files.yaml")
    assert said.code == 0, said.err
    assert holds(Home(tmp_path / "again")) == 2
    assert any((tmp_path / "again" / "control" / "blobs").rglob("*"))


def test_a_backup_that_arrived_in_s3_when_control_went_away_is_recorded_by_the_same_command_again(
    server: S3Server, typed: Any
) -> None:
    to = server.new_bucket("backups/tuesday.tar")
    with control_goes_away():
        assert typed("backup", to).code == 9
    (row,) = json.loads(typed("backup", "--list", "--json").out)
    assert row["state"] == "begun"
    again = typed("backup", to)
    assert again.code == 0, again.err
    assert row["id"] in again.out
    assert typed("backup", to).code == 5


def test_a_restoration_moves_objects_into_s3(
    house: Any, server: S3Server, freehold: Any, keys: Path, tmp_path: Path
) -> None:
    put_data(house)
    assert freehold("backup", "monday").code == 0
    (tmp_path / "s3.yaml").write_text(f"objects: {json.dumps(server.new_bucket('moved'))}\n")
    said = freehold("restore", "monday", "--keys", str(keys), "--home", "again", "--config", "s3.yaml")
    assert said.code == 0, said.err
    assert list((tmp_path / "again" / "control" / "blobs").rglob("*")) == []
    assert holds(Home(tmp_path / "again")) == 2


def test_a_backup_that_breaks_off_is_not_there(server: S3Server) -> None:
    from freehold.cli.receiving import target_of

    url = server.new_bucket("broken.tar")

    def breaks() -> Iterator[bytes]:
        yield bytes(9 << 20)
        raise ConnectionError("hung up")

    with pytest.raises(ConnectionError):
        target_of(url).write(breaks())
    with pytest.raises(BackupBroken):
        target_of(url).write(iter([bytes(9 << 20)]))
    at = place(url)
    assert s3.size(at.folder, at.name) is None


def test_only_control_is_given_the_credentials() -> None:
    from freehold.supervise.kept import _environment

    assert _environment(["control"])["AWS_SECRET_ACCESS_KEY"]
    for part in ("gateway", "worker", "engine", "generator"):
        assert not [name for name in _environment([part]) if name.startswith("AWS_")]
