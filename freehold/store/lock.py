"""One process at a time: locks that the kernel drops when their holder dies, however it dies.

On Postgres several controls may run on one folder: each shares its lock, and one of them leads.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from freehold.errors import Unavailable


class AlreadyRunning(Unavailable):
    """Freehold runs on `{folder}` already"""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` while the block runs: control's for as long as it lives.

    The lock is on an open file, so a crash or `kill -9` leaves nothing to clean up; the number in the
    file only says whom to look for. Raises AlreadyRunning.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """One after the other, of threads and of processes: wait for the lock on `path`, hold it in the block."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place among those that hold a folder's lock together."""

    first: bool
    """Whether nobody else was there; then nobody comes before `share`."""
    share: Callable[[], None]


@contextmanager
def together(folder: Path) -> Iterator[Place]:
    """Hold the lock of `folder` together with others, once whoever came first has shared it.

    What must be alone (`freehold recover`, `upgrade`) is kept out meanwhile. Raises AlreadyRunning.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        first = _is_free(descriptor)
        if not first:
            _take(descriptor, folder, fcntl.LOCK_SH)
        yield Place(first=first, share=lambda: fcntl.flock(descriptor, fcntl.LOCK_SH))
    finally:
        os.close(descriptor)


class Lead:
    """Who of several controls gives entries their places, moves journeys and sends notices.

    The lock lies beside the files that only one may write; every change in the database has a fence of
    its own beside it. Whoever leads does so until it ends; then the next one to look takes over.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lead"
        self._descriptor: int | None = None
        self._turn = threading.Lock()

    def held(self) -> bool:
        """Whether this process leads; it takes the lead when nobody has it."""
        with self._turn:
            return self._descriptor is not None or self._try()

    def _try(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _is_free(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def leave(self) -> None:
        """Let the next one lead."""
        with self._turn:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _is_free(descriptor: int) -> bool:
    """Take the lock alone, if nobody holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(descriptor: int, folder: Path, how: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise AlreadyRunning(
            folder=folder,
            why=f"process {holder} holds its lock" if holder else "another process holds its lock",
            hint="stop it first, or choose another folder with FREEHOLD_HOME",
        ) from None
