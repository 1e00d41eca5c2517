"""The layer that everything else here rests on: it misses nothing, and keeps no more than it must."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest

from tests.durability.cuts import Record
from tests.durability.disk import PAGE, Disk, Event, Outcome

ROOT = Path("/there")
CREATE = os.O_CREAT | os.O_RDWR


def event(op: str, fd: int = -1, offset: int = 0, name: str = "", data: bytes = b"") -> Event:
    return Event(op, fd, offset, f"{ROOT}/{name}" if name else "", data)


def opened(name: str, fd: int, flags: int = CREATE) -> Event:
    return event("O", fd, flags, name)


FOLDER = Event("O", 9, os.O_DIRECTORY, str(ROOT), b"")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A disk on which `old` lies, with two pages."""
    before = tmp_path / "before"
    before.mkdir()
    (before / "old").write_bytes(b"a" * 2 * PAGE)
    return Disk(ROOT, before)


def left(disk: Disk, folder: Path, outcome: Outcome, seed: int = 0) -> dict[str, bytes]:
    """What is there after the cut."""
    place = Path(tempfile.mkdtemp(dir=folder)) / f"{outcome}-{seed}"
    disk.leave(place, outcome, random.Random(seed))
    return {path.name: path.read_bytes() for path in place.iterdir()}


def sometimes(disk: Disk, folder: Path) -> list[dict[str, bytes]]:
    return [left(disk, folder, "mixed", seed) for seed in range(60)]


def play(disk: Disk, *events: Event) -> None:
    for each in events:
        disk.apply(each)


def test_what_was_written_and_not_synced_may_be_lost_kept_or_torn(disk: Disk, tmp_path: Path) -> None:
    play(disk, opened("old", 3, os.O_RDWR), event("W", 3, 0, data=b"b" * 2 * PAGE))
    assert left(disk, tmp_path, "lost") == {"old": b"a" * 2 * PAGE}
    assert left(disk, tmp_path, "kept") == {"old": b"b" * 2 * PAGE}
    seen = {state["old"] for state in sometimes(disk, tmp_path)}
    assert b"a" * PAGE + b"b" * PAGE in seen, "the later page alone"
    assert any(0 < state[:PAGE].count(b"b") < PAGE for state in seen), "a page torn within"


def test_what_was_synced_stays_whatever_was_not(disk: Disk, tmp_path: Path) -> None:
    play(disk, opened("old", 3, os.O_RDWR), event("W", 3, 0, data=b"b" * PAGE), event("S", 3))
    play(disk, event("W", 3, PAGE, data=b"c" * PAGE))
    assert all(state["old"][:PAGE] == b"b" * PAGE for state in sometimes(disk, tmp_path))


def test_a_file_that_grew_may_have_any_length_it_had_with_holes(disk: Disk, tmp_path: Path) -> None:
    play(disk, opened("old", 3, os.O_RDWR), event("W", 3, 2 * PAGE, data=b"b" * PAGE))
    seen = {state["old"] for state in sometimes(disk, tmp_path)}
    assert {len(content) for content in seen} == {2 * PAGE, 3 * PAGE}
    assert b"a" * 2 * PAGE + bytes(PAGE) in seen, "its length and not its bytes"


def test_a_synced_file_without_a_synced_folder_may_have_no_name(disk: Disk, tmp_path: Path) -> None:
    play(disk, opened("new", 3), event("W", 3, 0, data=b"b"), event("S", 3))
    assert {"new" in state for state in sometimes(disk, tmp_path)} == {True, False}
    play(disk, FOLDER, event("S", 9))
    assert all(state["new"] == b"b" for state in sometimes(disk, tmp_path))


def test_a_rename_is_there_or_not_and_brings_no_bytes_that_were_not_synced(
    disk: Disk, tmp_path: Path
) -> None:
    play(disk, opened("new", 3), event("W", 3, 0, data=b"b"))
    play(disk, event("R", name="new", data=f"{ROOT}/old".encode()), FOLDER, event("S", 9))
    assert {state["old"] for state in sometimes(disk, tmp_path)} == {b"", b"b", b"\0"}
    assert all(set(state) == {"old"} for state in sometimes(disk, tmp_path))


def test_what_happened_to_a_folder_is_there_up_to_some_moment(disk: Disk, tmp_path: Path) -> None:
    play(disk, opened("one", 3), opened("two", 4), event("U", name="one"))
    seen = {frozenset(state) for state in sometimes(disk, tmp_path)}
    assert seen == {
        frozenset(names) for names in (["old"], ["old", "one"], ["old", "one", "two"], ["old", "two"])
    }


def test_the_record_misses_nothing(work: Record, tmp_path: Path) -> None:
    """Everything that was recorded leads to the files that are really there, byte by byte."""
    disk = Disk(work.root, work.before)
    play(disk, *(each for each in work.events if each.op != "A"))
    disk.leave(tmp_path / "left", "kept")
    files = [held(folder) for folder in (tmp_path / "left", work.after)]
    assert files[0] == files[1]
    assert len(files[0]) > 30


def held(folder: Path) -> dict[str, bytes]:
    """All but SQLite's index of its write-ahead file, which it maps and makes anew."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }
