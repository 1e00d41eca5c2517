"""Past the cache, into memory that was there before: the bytes are right, and nothing new is asked for."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from freehold.sizing.bench import direct
from freehold.sizing.bench.direct import Pool, Reused
from freehold.sizing.bench.layouts import Raw

PIECE = 65_536


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "PIECE", PIECE)


def loaded(path: Path, size: int, pool: Pool) -> tuple[bytes, bool]:
    target = memoryview(direct.touched(size))
    past = direct.read_into(path, target, 2, pool)
    return target.tobytes(), past


@pytest.mark.parametrize("size", [1, 4095, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 4097])
def test_what_is_read_past_the_cache_is_what_was_written(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(given := os.urandom(size))
    assert loaded(tmp_path / "file", size, Pool(2, PIECE))[0] == given


def test_where_the_cache_cannot_be_passed_it_is_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tmpfs before Linux 6.6, and others."""
    really = os.open

    def refusing(path: Path, flags: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really(path, flags)

    (tmp_path / "file").write_bytes(given := os.urandom(2 * PIECE + 5))
    monkeypatch.setattr(os, "open", refusing)
    assert loaded(tmp_path / "file", len(given), Pool(2, PIECE)) == (given, False)


def test_a_file_that_got_shorter_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(PIECE + 5))
    with pytest.raises(OSError, match="file is shorter than it was"):
        loaded(tmp_path / "file", PIECE + 6, Pool(2, PIECE))


def test_memory_that_was_lent_is_lent_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(PIECE + 5))
    pool = Pool(1, PIECE)
    only = pool.take()
    pool.give(only)
    for _ in range(3):
        loaded(tmp_path / "file", PIECE + 5, pool)
    assert pool.take() is only


def test_a_reader_of_raw_records_reads_each_whole_and_into_the_same_memory() -> None:
    layout, records = Raw(), [os.urandom(size) for size in (9_001, 10_000, 1, 0, 9_001)]
    places = set()
    for record in records:
        assert layout.read(io.BytesIO(record), 0, 1, 1) == len(record)
        assert layout._memory.of(len(record)).tobytes() == record
        places.add(direct._address(layout._memory.of(1)))
    assert len(places) == 1


def test_a_record_longer_than_all_before_gets_more_memory() -> None:
    memory = Reused()
    assert len(memory.of(10)) == 10
    assert len(memory.of(9 * PIECE)) == 9 * PIECE
