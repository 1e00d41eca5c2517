"""Where the epoch key lies: the one key that wraps all others, and that is in no backup.

A seam with two sides: a file of 32 bytes, or a hardware security module (`store.hsm`). The keyring asks
for the key, and changes it: the next one is made and durable beside the current one, then all keys
change to it in one transaction, then it takes the current one's place, and what could open the old one
is destroyed. Each of these may be the last thing that happens: whoever opens the keyring then goes on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from freehold.errors import Unavailable
from freehold.store.home import sync_folder, write_atomically

BYTES = 32


class EpochKeyMissing(Unavailable):
    """the epoch key `{path}` cannot be read"""


class EpochKeys(Protocol):
    """The current epoch key, and the next one while a change is under way."""

    @property
    def path(self) -> Path:
        """The file that is, or names, the current key: what an operator keeps a copy of."""

    def create(self) -> None:
        """Make the first key, unless there is one."""

    def read(self) -> bytes:
        """The current key, 32 bytes. Raises EpochKeyMissing, and what reaching it raises."""

    def coming(self) -> bytes | None:
        """The next key, while one is being changed to."""

    def unsettled(self) -> bool:
        """Whether a change was begun and has left anything behind."""

    def prepare(self) -> bytes:
        """Make the next key, durable beside the current one."""

    def take_place(self) -> None:
        """The next key becomes the current one, and the old one is no more; again is fine."""

    def settle(self) -> None:
        """Remove what is left of a change: a key that never came, or one that went."""


class FileEpoch:
    """32 random bytes in a file, 0600; the next ones lie in `….next`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f"{path.name}.next")

    @property
    def path(self) -> Path:
        return self._path

    def create(self) -> None:
        if not self._path.exists():
            write_atomically(self._path, os.urandom(BYTES), 0o600)

    def read(self) -> bytes:
        return _plain(self._path)

    def coming(self) -> bytes | None:
        return _plain(self._next) if self._next.exists() else None

    def unsettled(self) -> bool:
        return self._next.exists()

    def prepare(self) -> bytes:
        epoch = os.urandom(BYTES)
        write_atomically(self._next, epoch, 0o600)
        return epoch

    def take_place(self) -> None:
        if self._next.exists():
            replace_secret(self._next, self._path)

    def settle(self) -> None:
        self._next.unlink(missing_ok=True)


def replace_secret(by: Path, path: Path) -> None:
    """One file takes the other's name; the other's bytes are overwritten once they have lost it."""
    with path.open("r+b") as old:
        by.replace(path)
        sync_folder(path.parent)
        old.write(os.urandom(BYTES))
        old.flush()
        os.fsync(old.fileno())


def read_file(path: Path) -> bytes:
    """What is in the file of an epoch key. Raises EpochKeyMissing."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise EpochKeyMissing(
            path=path,
            why=error.strerror or str(error),
            hint="without it nothing sealed can be opened: restore it from where you keep it",
        ) from error


def _plain(path: Path) -> bytes:
    epoch = read_file(path)
    if len(epoch) != BYTES and epoch.startswith(b"{"):
        raise EpochKeyMissing(
            path=path,
            why="it is wrapped by a hardware security module",
            hint="name it in freehold.yaml: `hsm: {module: …, token: …, pin_file: …}`",
        )
    if len(epoch) != BYTES:
        raise EpochKeyMissing(path=path, why=f"it has {len(epoch)} bytes instead of {BYTES}")
    return epoch
