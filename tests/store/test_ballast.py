"""A disk that is really full: what began is recorded to its end, memory stays flat, it goes on by itself."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.store.ballast import Ballast, room_on
from freehold.store.frames import Mark
from freehold.store.group_commit import GroupCommit
from freehold.store.spool import Note, Spool, SpoolUnwritable
from tests.store.full_disk import matter

SCRIPT = Path(__file__).parent / "full_disk.py"


def test_room_is_kept_free_and_given_up(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", 1 << 20)
    assert ballast.hold()
    assert ballast.hold()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1 << 20, "its blocks are taken, not only its size"
    assert ballast.give_up()
    assert not ballast.give_up()
    assert not (tmp_path / "ballast").exists()


def test_room_counts_as_df_does(tmp_path: Path) -> None:
    room = room_on(tmp_path)
    said = subprocess.run(["df", "--output=pcent", str(tmp_path)], capture_output=True, text=True, check=True)
    assert abs(room.used * 100 - float(said.stdout.split()[-1].strip("%"))) <= 2


def test_on_a_full_disk_what_began_ends_and_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool.create(tmp_path)
    ballast = Ballast(tmp_path / "ballast", 1 << 16)
    write, full = os.pwrite, False

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if full and ballast.held:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data, offset)

    async def story() -> None:
        nonlocal full
        commits = GroupCommit(spool, ballast=ballast)
        await commits.append(b"began", Mark.BEGINS, matter(1))
        full = True
        with commits.at_once():
            end = commits.append(b"its end", Mark.ENDS, matter(1))
            begin = commits.append(b"another", Mark.BEGINS, matter(2))
            denied = (
                commits.append(b"begins", Mark.BEGINS, matter(3)),
                commits.append(b"and ends", Mark.ENDS, matter(3)),
            )
        assert await end == 2
        for future in (begin, *denied):
            with pytest.raises(SpoolUnwritable, match="No space left"):
                await future
        assert spool.unfinished == ()
        full = False
        assert await commits.append(b"once more", Mark.BEGINS, matter(4)) == 3
        assert ballast.held, "its room is kept free again before anything begins"
        commits.close()

    monkeypatch.setattr(os, "pwrite", pwrite)
    asyncio.run(story())
    spool.close()


def test_a_disk_without_room_for_the_ballast_begins_nothing(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)

    async def story() -> None:
        commits = GroupCommit(spool, ballast=Ballast(tmp_path / "ballast", 1 << 60))
        with pytest.raises(SpoolUnwritable, match="the disk is full") as refused:
            await commits.append(b"x", Mark.BEGINS, matter(1))
        assert "free space" in refused.value.hint
        assert await commits.append(b"a note") == 1
        commits.close()

    asyncio.run(story())
    spool.close()


def test_where_the_system_has_no_linux_calls_room_is_kept_and_records_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has neither."""
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.delattr(os, "fdatasync")
    ballast = Ballast(tmp_path / "ballast", 1 << 20)
    assert ballast.hold()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1 << 20
    spool = Spool.create(tmp_path)
    assert spool.commit([Note(b"x")]) == 1
    spool.close()


def test_a_full_file_system_of_its_own_keeps_every_end_and_recovers(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    inner = 'mount -t tmpfs -o size=6m none "$0" && exec "$1" "$2" "$0"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inner]
    command += [str(tmp_path / "disk"), sys.executable, str(SCRIPT)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this machine lets nobody mount a file system of their own (userns): {done.stderr[:80]}")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["began"] == told["ended"] > 100, "every answer that had begun was recorded to its end"
    assert told["refused"] >= 20_000
    assert "No space left" in told["why"] or "the disk is full" in told["why"]
    assert told["grown"] < 8 << 20, "memory is flat while the disk is full"
    assert told["recovered"] < 5
    assert told["lost"] == 0, "what was acknowledged is there after reopening"
