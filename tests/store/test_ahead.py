"""A file is in memory before SQLite looks at its pages, and SQLite keeps its locks."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.sizing.bench import cache
from freehold.store.ahead import read_ahead

TAKE = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pages"
    path.write_bytes(os.urandom(1 << 20) * 8)
    os.sync()
    return path


def test_a_file_that_was_dropped_from_memory_is_there_again(file: Path) -> None:
    cache.drop(file)
    if cache.resident(file) > 0.1:
        pytest.skip("files stay in memory here, whatever they are told")
    read_ahead(file, worth=1)
    assert cache.resident(file) > 0.9


def test_a_small_file_is_left_alone(file: Path) -> None:
    cache.drop(file)
    if cache.resident(file) > 0.1:
        pytest.skip("files stay in memory here, whatever they are told")
    read_ahead(file)
    assert cache.resident(file) < 0.1


def test_locks_that_this_process_holds_stay(file: Path) -> None:
    def taken_by_another() -> bool:
        tried = subprocess.run([sys.executable, "-c", TAKE, str(file)], stderr=subprocess.DEVNULL)
        return tried.returncode == 0

    with file.open("r+b") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        read_ahead(file, worth=1)
        assert not taken_by_another()
    assert taken_by_another()


def test_a_file_that_is_not_there_is_nobody_s_fault(tmp_path: Path) -> None:
    read_ahead(tmp_path / "gone", worth=0)
    assert not (tmp_path / "gone").exists()
