"""The folder, and writing a file so that a crash leaves the old one or the new one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from freehold.store.home import DiskFull, FolderUnusable, Home, write_atomically


def test_everything_below_home_is_the_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "fh")
    home.create()
    folders = [home.root, *(p for p in home.root.rglob("*") if p.is_dir())]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    home.create()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderUnusable) as told:
        Home(tmp_path / "file").create()
    assert told.value.exit_code == 9
    assert "FREEHOLD_HOME" in told.value.hint


def test_the_folder_is_the_one_given_then_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "env"))
    assert Home.find(str(tmp_path / "given")).root == tmp_path / "given"
    assert Home.find().root == tmp_path / "env"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(DiskFull, match="disk is full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["checkpoint"]


def _full(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_other_failures_of_the_file_system_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", b"x")


def test_a_written_file_has_the_rights_it_was_given(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"x")
    write_atomically(tmp_path / "b", b"x", 0o644)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o600, 0o644]
