"""`freehold backup` and `freehold restore`, as a shell sees them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from restoring import restore, words

from freehold.app import open_parts
from freehold.cli import backup, receiving
from freehold.cli.exported import FolderTaken
from freehold.client import ControlAway, Freehold, HistoryRestored
from freehold.ledger.verify import verify
from freehold.spec.config import Config
from freehold.store.backed_up import BackupBroken
from freehold.store.backup_files import look
from freehold.store.home import DiskFull, Home


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def keys(house: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "safe"
    folder.mkdir()
    shutil.copy(house.parts.home.epoch_key, folder)
    return folder


@contextmanager
def opened(house: Any, home: Home) -> Iterator[Any]:
    """A restored house: its parts are opened as control opens them."""
    with open_parts(home, Config()) as parts:
        parts.sequencer.run_once()
        yield type(house)(parts, house.administrator_key)


@pytest.mark.parametrize("to", ["backup", "backup.tar"])
def test_a_folder_or_one_file_and_back(
    house: Any, freehold: Any, keys: Path, tmp_path: Path, to: str
) -> None:
    said = freehold("backup", to)
    assert said.code == 0, said.err
    assert "each read again" in said.out
    assert sorted(path.name for path in tmp_path.glob("backup*")) == [to]
    (row,) = json.loads(freehold("backup", "--list", "--json").out)
    assert row["state"] == "made"
    assert row["digest"] == look(tmp_path / to).statement.digest()
    said = freehold("restore", to, "--keys", str(keys), "--home", str(tmp_path / "again"), *words(tmp_path))
    assert said.code == 0, said.err
    assert "whatever came after that moment" in said.out
    with opened(house, Home(tmp_path / "again")) as again:
        me = again.client("people").get("/api/me", headers=again.administrator)
        assert me.json()["email"] == "administrator@localhost"
        assert verify(again.parts.home).broken == ()


def test_a_backup_of_the_restored_house_is_as_good(
    house: Any, freehold: Any, shell: Any, serve: Any, keys: Path, tmp_path: Path
) -> None:
    freehold("backup", "first")
    restore(tmp_path / "first", Home(tmp_path / "again"), keys)
    with opened(house, Home(tmp_path / "again")) as again, serve(again) as url:
        said = shell("backup", "second", url=url, key=again.administrator_key)
        assert said.code == 0, said.err
    restored = restore(tmp_path / "second", Home(tmp_path / "third"), keys)
    assert verify(Home(tmp_path / "third")).entries == restored.entries


def test_who_saw_more_is_told_once_that_the_ledger_went_back_and_accepts_it(
    house: Any, freehold: Any, shell: Any, serve: Any, keys: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    freehold("backup", "first")
    for name in ("sales", "fleet", "audit", "legal"):
        freehold("project", "add", name)
    house.parts.sequencer.run_once()
    freehold("people", "me")  # sees all of it
    restored = restore(tmp_path / "first", Home(tmp_path / "again"), keys)
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "again"))
    with opened(house, Home(tmp_path / "again")) as again, serve(again) as url:
        key = again.administrator_key
        with pytest.raises(HistoryRestored), Freehold(url, key) as control:
            control.get("/api/me")
        refused = shell("people", "me", url=url, key=key)
        assert refused.code == 8
        assert f"freehold verify --accept-restored {restored.entry}" in refused.err
        at_home = shell("verify", url=url, key=key)
        assert at_home.code == 8
        assert "a backup was restored" in at_home.err
        assert restored.entry in at_home.err
        other = shell("verify", "--accept-restored", "ent_other", url=url, key=key)
        assert other.code == 8
        assert shell("people", "me", url=url, key=key).code == 8
        accepted = shell("verify", "--accept-restored", restored.entry, url=url, key=key)
        assert accepted.code == 0, accepted.err
        assert shell("people", "me", url=url, key=key).code == 0
        assert shell("verify", url=url, key=key).code == 0


def test_a_disk_that_would_not_hold_it_is_refused_before_the_first_byte(
    freehold: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DiskFull, match="full"):
        receiving.OnDisk(tmp_path / "backup").refuse_full(1 << 60)
    monkeypatch.setattr(receiving, "SLACK", 1 << 60)
    said = freehold("backup", "backup.tar")
    assert said.code == 9
    assert "nothing was written" in said.err
    assert list(tmp_path.glob("backup*")) == []
    (row,) = json.loads(freehold("backup", "--list", "--json").out)
    assert row["state"] == "begun"


def test_what_does_not_arrive_whole_leaves_nothing(freehold: Any, tmp_path: Path) -> None:
    freehold("backup", "whole.tar")
    whole = (tmp_path / "whole.tar").read_bytes()
    for to, data in (
        ("cut.tar", whole[: len(whole) // 2]),
        ("cut", whole[: len(whole) // 2]),
        ("empty", b""),
    ):
        with pytest.raises(BackupBroken):
            receiving.OnDisk(tmp_path / to).write(iter([data]))
    changed = whole.replace(b"installation.created", b"installation.crEated", 1)
    with pytest.raises(BackupBroken):
        receiving.OnDisk(tmp_path / "changed").write(iter([changed]))
    assert sorted(path.name for path in tmp_path.glob("c*")) == []
    with pytest.raises(FolderTaken):
        receiving.OnDisk(tmp_path / "whole.tar").refuse_taken()


@contextmanager
def control_goes_away() -> Iterator[None]:
    """When a backup has arrived and is to be recorded."""
    real = Freehold.post

    def goes_away(self: Freehold, path: str, *said: Any) -> Any:
        if path == "/api/backups/made":
            raise ControlAway(url="control", why="it was killed")
        return real(self, path, *said)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Freehold, "post", goes_away)
        yield


@pytest.mark.parametrize("to", ["backup", "backup.tar"])
def test_a_backup_that_arrived_when_control_went_away_is_recorded_by_the_same_command_again(
    freehold: Any, tmp_path: Path, to: str
) -> None:
    with control_goes_away():
        assert freehold("backup", to).code == 9
    (row,) = json.loads(freehold("backup", "--list", "--json").out)
    assert row["state"] == "begun"
    again = freehold("backup", to)
    assert again.code == 0, again.err
    assert row["id"] in again.out
    (row,) = json.loads(freehold("backup", "--list", "--json").out)
    assert row["state"] == "made"
    assert row["digest"] == look(tmp_path / to).statement.digest()
    assert freehold("backup", to).code == 5, "the next one takes another place"


def test_a_backup_that_was_destroyed_is_crossed_out_once(freehold: Any) -> None:
    freehold("backup", "first.tar")
    (row,) = json.loads(freehold("backup", "--list", "--json").out)
    assert "is gone, recorded as ent_" in freehold("backup", "--gone", row["id"]).out
    assert freehold("backup", "--gone", row["id"]).code == 5
    assert "gone" in freehold("backup", "--list").out


def test_a_try_to_restore_that_a_crash_cut_off_is_thrown_away(
    freehold: Any, keys: Path, tmp_path: Path
) -> None:
    freehold("backup", "first.tar")
    left = tmp_path / ".again.restoring" / "control"
    left.mkdir(parents=True)
    (left / "freehold.db").write_bytes(b"half of it")
    restore(tmp_path / "first.tar", Home(tmp_path / "again"), keys)
    assert not left.parent.exists()
    assert verify(Home(tmp_path / "again")).broken == ()


@pytest.mark.parametrize(
    ("references", "says"),
    [(["CONTRACT-7"], "whom CONTRACT-7 let in again"), (None, "is not known"), ([], "")],
)
def test_a_restoration_says_whom_it_keeps_out(references: list[str] | None, says: str) -> None:
    told = {"origin": "x", "home": "h", "made_at": 1, "entries": 3, "entry": "ent_1", "forgotten": 0}
    shown = backup._restored({**told, "kept_out": references})
    assert ("kept out" in shown) == bool(says)
    assert says in shown
