"""One process at a time: a lock that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
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


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise AlreadyRunning(
            folder=folder,
            why=f"process {holder} holds its lock" if holder else "another process holds its lock",
            hint="stop it first, or choose another folder with FREEHOLD_HOME",
        ) from None
