"""Room on disk that nobody else can read."""

from __future__ import annotations

import errno
import io
import os
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.data.scratch import Scratch, ScratchFull, Tables


@given(st.lists(st.binary(max_size=100), max_size=8), st.integers(0, 500), st.integers(0, 200))
def test_what_was_written_is_read_from_anywhere(parts: list[bytes], start: int, count: int) -> None:
    with Scratch() as scratch:
        for part in parts:
            scratch.write(part)
        whole = b"".join(parts)
        scratch.seek(start)
        assert scratch.read(count) == whole[start : start + count]
        scratch.seek(0)
        assert io.BufferedReader(scratch).read() == whole


def test_the_file_has_no_name_and_holds_no_clear_text() -> None:
    with Scratch() as scratch:
        scratch.write(b"Anna Kowalska" * 1000)
        descriptor = scratch._file.fileno()
        on_disk = os.pread(descriptor, scratch.size, 0)
        assert len(on_disk) == 13_000
        assert b"Anna" not in on_disk
        assert os.fstat(descriptor).st_nlink == 0


def test_a_full_disk_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    scratch = Scratch()
    monkeypatch.setattr(scratch, "_file", Full())
    with pytest.raises(ScratchFull) as told:
        scratch.write(b"x")
    assert "TMPDIR" in told.value.hint


def test_tables_come_back_in_order_each_with_its_own_columns() -> None:
    tables = Tables()
    first, second = pa.table({"a": [1, None]}), pa.table({"b": ["x"], "c": [True]})
    tables.append(first)
    tables.append(second)
    assert list(tables) == [first, second]
    assert list(tables) == [first, second]
    assert len(tables) == 2
    tables.close()
