"""The suite is shared by several processes so that none waits for another at its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sharing

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sharing.LONGEST)
def test_a_file_that_is_begun_first_is_there(name: str) -> None:
    assert (sharing.TESTS / name).is_file()


def test_the_longest_files_come_first_then_those_with_most_tests_each_in_one_piece() -> None:
    long, other = (sharing.TESTS / name for name in sharing.LONGEST[:2])
    few, many = sharing.TESTS / "a/test_few.py", sharing.TESTS / "z/test_many.py"
    collected = [(few, 1), (other, 1), (many, 1), (many, 2), (long, 1), (many, 3), (long, 2), (few, 2)]
    items: list[Any] = [SimpleNamespace(path=path, number=number) for path, number in collected]
    placed: list[Any] = sharing.in_order(items)
    assert [(one.path, one.number) for one in placed] == [
        *((long, 1), (long, 2), (other, 1)),
        *((many, 1), (many, 2), (many, 3), (few, 1), (few, 2)),
    ]


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 3), (4, 6)])
def test_there_are_half_as_many_processes_again_as_cores(cores: int, processes: int) -> None:
    assert sharing.processes(cores) == processes


def test_make_hands_the_files_out_in_that_order() -> None:
    """xdist would sort them by their number of tests, and begin with the longest one last."""
    assert "--dist loadfile --no-loadscope-reorder" in (ROOT / "Makefile").read_text()
