"""A folder to measure in: never more than there is room for, and gone again however it ends.

Owned by the process that made it, which holds a lock on its marker. If we are killed here, the folder stays;
the next measurement below the same path finds that nobody holds the lock, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freehold.errors import BadInput, Unavailable

MEMORY = Path("/dev/shm")  # noqa: S108 - no place of ours
"""Memory that looks like a folder; what processes hand each other lies in it, too."""
PREFIX = "freehold-bench-"
MARKER = ".freehold-bench"
ASKS_ABOVE = 10_000_000_000
"""Bytes: nobody writes more than this without having been asked."""
KEPT_FREE = 0.05
"""Of the disk, and never less than KEPT_BYTES."""
KEPT_BYTES = 500_000_000


class NoRoom(Unavailable):
    """{needed} do not fit into `{path}`"""


class NoSuchFolder(BadInput):
    """`{path}` is no folder that can be written to"""


class AskedFirst(BadInput):
    """{needed} would be written"""


def amount(size: float) -> str:
    """`1.5 GB` of a number of bytes, powers of ten."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"


def free(path: Path) -> int:
    """Bytes that may be written below `path`, what has to stay free taken off."""
    disk = os.statvfs(path)
    kept = max(KEPT_FREE * disk.f_blocks * disk.f_frsize, KEPT_BYTES)
    return max(0, int(disk.f_bavail * disk.f_frsize - kept))


def check(path: Path, needed: int, *, yes: bool) -> None:
    """Raises NoSuchFolder, NoRoom or AskedFirst; nothing has been written when it does."""
    if not path.exists():
        raise NoSuchFolder(
            path=path, why="it is not there", hint=f"`mkdir -p {path}`, or name another folder on that disk"
        )
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise NoSuchFolder(path=path, why="it is no folder of yours", hint="name one on that disk that is")
    if needed > (room := free(path)):
        raise NoRoom(
            needed=amount(needed),
            path=path,
            why=f"{amount(room)} may be used, the rest of the disk stays free",
            hint=f"ask for less with `--size`, at most {amount(room)} in all, or make room",
        )
    if not yes:
        ask(needed)


def ask(needed: int) -> None:
    """Raises AskedFirst above 10 GB."""
    if needed > ASKS_ABOVE:
        raise AskedFirst(
            needed=amount(needed),
            why=f"above {amount(ASKS_ABOVE)} somebody has to want it; it is removed afterwards",
            hint="say so with `--yes`, or ask for less with `--size`",
        )


@contextmanager
def scratch(below: Path) -> Iterator[Path]:
    """A folder of our own below `below`, removed at the end."""
    sweep(below)
    name = f"{PREFIX}{secrets.token_hex(4)}"
    hidden = below / f".{name}"  # until the lock is held: nobody's sweep may take it for abandoned
    hidden.mkdir(mode=0o700)
    marker = os.open(hidden / MARKER, os.O_CREAT | os.O_RDWR, 0o600)
    folder = hidden
    try:
        fcntl.flock(marker, fcntl.LOCK_EX)
        folder = hidden.rename(below / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(marker)


def sweep(below: Path) -> list[Path]:
    """Remove what measurements that were killed have left; returns the folders removed."""
    found = [folder for folder in sorted(below.glob(f"{PREFIX}*")) if _abandoned(folder)]
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _abandoned(folder: Path) -> bool:
    """It is one of ours, and nobody holds it."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        marker = os.open(folder / MARKER, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(marker)
    return True
