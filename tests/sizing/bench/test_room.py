"""Room: refused beforehand, removed afterwards, and what a kill left goes with the next measurement."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.sizing.bench import cache, provenance, room
from freehold.sizing.bench.provenance import disk

HOLD = """
import sys, time
from pathlib import Path
from freehold.sizing.bench import room
with room.scratch(Path(sys.argv[1])) as folder:
    (folder / "data").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(60)
"""


def test_more_than_there_is_room_for_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(room.NoRoom, match="do not fit into") as refused:
        room.check(tmp_path, 10**18, yes=True)
    assert "stays free" in refused.value.why
    assert list(tmp_path.iterdir()) == []


def test_a_share_of_the_disk_always_stays_free(tmp_path: Path) -> None:
    there = os.statvfs(tmp_path)
    assert room.free(tmp_path) <= there.f_bavail * there.f_frsize - room.KEPT_BYTES


def test_above_ten_gigabytes_somebody_has_to_say_so() -> None:
    room.ask(room.ASKS_ABOVE)
    with pytest.raises(room.AskedFirst, match="would be written"):
        room.ask(room.ASKS_ABOVE + 1)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, hint in (("nowhere", "`mkdir -p "), ("file", "name one on that disk")):
        with pytest.raises(room.NoSuchFolder) as refused:
            room.check(tmp_path / name, 1, yes=True)
        assert refused.value.hint.startswith(hint)


def test_the_folder_goes_however_it_ends(tmp_path: Path) -> None:
    with room.scratch(tmp_path) as folder:
        (folder / "data").write_text("some")
    with pytest.raises(KeyboardInterrupt), room.scratch(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_one_left_goes_with_the_next_and_what_one_holds_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        left = Path(holder.stdout.readline().strip())
        assert left.is_dir()
        assert room.sweep(tmp_path) == []
        holder.kill()
    assert left.is_dir()
    with room.scratch(tmp_path):
        assert not left.exists()


def test_nothing_that_is_not_ours_is_swept(tmp_path: Path) -> None:
    theirs = tmp_path / f"{room.PREFIX}notes"
    theirs.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / room.MARKER).touch()
    (tmp_path / f"{room.PREFIX}link").symlink_to(elsewhere)
    assert room.sweep(tmp_path) == []
    assert theirs.is_dir()
    assert elsewhere.is_dir()


def test_what_is_dropped_from_the_cache_is_no_longer_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(3_000_000))
    path.read_bytes()
    assert cache.resident(path) == 1
    in_memory = disk(tmp_path).system == "tmpfs"  # where nothing can be cold, and it says so
    assert cache.make_cold([path]) == (1 if in_memory else 0)
    assert path.stat().st_size == 3_000_000


def test_an_empty_file_is_in_no_memory(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert cache.make_cold([tmp_path / "empty"]) == 0


def test_a_container_has_what_its_limit_leaves_and_not_what_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "CGROUP", tmp_path)
    whole = provenance.available()
    for name, text in (("memory.max", "max"), ("memory.current", "70000000")):
        (tmp_path / name).write_text(text)
    assert provenance.available() == pytest.approx(whole, rel=0.5)
    (tmp_path / "memory.max").write_text("100000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\nfile 25000000\nshmem 5000000\n")
    assert provenance.available() == 100_000_000 - 70_000_000 + 20_000_000
