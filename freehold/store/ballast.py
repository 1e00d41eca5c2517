"""Room kept free for a day when the disk is full: what has begun can still be brought to its end.

A file of a fixed size lies beside the spool. When the disk is full it is given up, and its room takes
the ends of answers that had begun; nothing new begins until the file fits again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

SIZE = 16 << 20
"""Bytes: the ends, with their words, of what a gateway commonly has under way at once."""


def reserve(file: int, size: int) -> None:
    """Have the disk set aside room for a file of `size` bytes. Raises OSError when it has not that much."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    have = os.fstat(file).st_size  # macOS: what is written has its room
    if os.pwrite(file, bytes(max(0, size - have)), have) < size - have:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Ballast:
    """The file. Owned by the thread that writes the spool."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self._path, self._size = path, size
        self.held = False
        """Whether its room is kept free at the moment."""

    def hold(self) -> bool:
        """Keep the room free; False when the disk has not that much."""
        if self.held:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                reserve(descriptor, self._size)
            finally:
                os.close(descriptor)
            self.held = True
        except OSError:
            self.give_up()
        return self.held

    def give_up(self) -> bool:
        """Leave the room to what has to be written now; False when there was none."""
        held, self.held = self.held, False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        return held


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How full a disk is, as `df` counts: what only root may use does not count as free."""

    used: float
    """Between 0 and 1."""
    free: int
    """Bytes."""


def room_on(folder: Path) -> Room:
    """The room on the disk of a folder. Raises OSError."""
    found = os.statvfs(folder)
    used = found.f_blocks - found.f_bfree
    return Room(used=used / max(1, used + found.f_bavail), free=found.f_bavail * found.f_frsize)
