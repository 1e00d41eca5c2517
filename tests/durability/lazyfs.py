"""LazyFS, a file system that keeps only what was synced: what was recorded is done there once more.

Other people's (https://github.com/dsrhaslab/lazyfs), and older than our layer. It forgets pages, not names:
what it leaves is one of the states that `disk.py` says a cut may leave.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.durability.disk import Event

PROGRAM = "lazyfs"
NEEDS = f"this machine has no {PROGRAM} with fusermount3: nobody else cut the power"
PATIENCE = 20.0
_CLEAR = "lazyfs::clear-cache\n"


def is_there() -> bool:
    return bool(shutil.which(PROGRAM) and shutil.which("fusermount3"))


@dataclass(frozen=True, slots=True)
class LazyFS:
    """One that is mounted."""

    mount: Path
    """Where everything is there."""
    kept: Path
    """Where nothing is but what was synced."""
    faults: Path
    done: int
    """What it says when a fault is over."""

    def cut(self) -> None:
        """Forget what was not synced."""
        self.faults.write_text(_CLEAR)
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(self.done, 100)


@contextmanager
def mounted(folder: Path, before: Path) -> Iterator[LazyFS]:
    """One in the new folder `folder` that holds what `before` holds."""
    mount, kept, faults, over = (folder / name for name in ("mount", "kept", "faults", "over"))
    mount.mkdir(parents=True)
    shutil.copytree(before, kept)
    for pipe in (faults, over):
        os.mkfifo(pipe)
    config = folder / "lazyfs.toml"
    config.write_text(
        f'[faults]\nfifo_path="{faults}"\nfifo_path_completed="{over}"\n'
        '[cache]\napply_eviction=false\n[cache.simple]\ncustom_size="1gb"\nblocks_per_page=1\n'
        f'[filesystem]\nlog_all_operations=false\nlogfile="{folder}/log"\n'
    )
    done = os.open(over, os.O_RDWR)  # it waits for somebody who listens
    command = [PROGRAM, str(mount), "--config-path", str(config)]
    command += ["-o", "modules=subdir", "-o", f"subdir={kept}", "-f"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(mount, process)
            yield LazyFS(mount, kept, faults, done)
        finally:
            subprocess.run(["fusermount3", "-u", "-z", str(mount)], check=False)
            process.kill()
            os.close(done)


def _wait_for(mount: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not mount.is_mount():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{PROGRAM} does not mount")
        time.sleep(0.02)


class Again:
    """Does what a record says, in another folder."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = str(root), folder
        self._open: dict[int, int] = {}

    def play(self, events: Sequence[Event]) -> None:
        for event in events:
            self._do(event)

    def over(self) -> None:
        """Close what is open."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _do(self, event: Event) -> None:
        match event.op:
            case "O":
                flags = event.offset & ~(os.O_APPEND | os.O_EXCL)  # where it was written stands in the record
                self._open[event.fd] = os.open(self._there(event.path), flags, 0o600)
            case "C":
                os.close(self._open.pop(event.fd))
            case "W":
                os.pwrite(self._open[event.fd], event.data, event.offset)
            case "T":
                os.ftruncate(self._open[event.fd], event.offset)
            case "S":
                os.fsync(self._open[event.fd])
            case "G":
                self._sync_everything()
            case "R":
                self._there(event.path).rename(self._there(event.data.decode()))
            case "U":
                self._there(event.path).unlink()
            case "X":
                self._there(event.path).rmdir()
            case "M":
                self._there(event.path).mkdir(mode=0o700)

    def _there(self, path: str) -> Path:
        return self._folder / path.removeprefix(self._root).strip("/")

    def _sync_everything(self) -> None:
        for path in self._folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
