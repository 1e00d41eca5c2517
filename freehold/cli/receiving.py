"""Receiving a backup: it appears under its name once it is whole, checked and durable, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from freehold.cli.exported import FolderTaken
from freehold.errors import BadInput
from freehold.spec.s3 import SCHEME, Place, place
from freehold.store import s3
from freehold.store.backed_up import BackupBroken
from freehold.store.backup_files import Found, look, unpack
from freehold.store.home import DiskFull, sync_folder
from freehold.store.pieces import Pieces

SLACK = 1 << 20
"""Bytes that folders and a tar need beside the files."""
ENDS = ".tar"
"""How a backup that is one file or one object is called."""


def target_of(to: str) -> Target:
    """What `TO` means. Raises NotAnAddress."""
    if to.startswith(SCHEME):
        return InS3(place(to))
    return OnDisk(Path(to))


def source_of(source: str) -> Path | Place:
    """What `FROM` means. Raises NotAnAddress."""
    return place(source) if source.startswith(SCHEME) else Path(source)


def found_at(to: str) -> Found | None:
    """The backup that lies at `TO` already, whole. Raises NotAnAddress, ObjectsAway."""
    source = source_of(to)
    if isinstance(source, Path):
        there = source.exists()
    else:
        there = source.name.endswith(ENDS) and s3.size(source.folder, source.name) is not None
    if not there:
        return None
    try:
        return look(source)
    except (BackupBroken, OSError):
        return None


class Target(Protocol):
    """Where a backup is to go."""

    def refuse_taken(self) -> None:
        """A backup never mixes with what is there. Raises FolderTaken, BadInput."""

    def refuse_full(self, size: int) -> None:
        """Raise DiskFull when it would not be held."""

    def write(self, pieces: Iterator[bytes]) -> Found:
        """Write what arrives and read it all again; it is there whole, or not at all.

        Raises BackupBroken, DiskFull, ObjectsAway.
        """


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A new folder, or one file where its name ends in `.tar`."""

    to: Path

    def __str__(self) -> str:
        return str(self.to)

    def refuse_taken(self) -> None:
        if self.to.exists():
            raise FolderTaken(folder=self.to, why="a backup takes a place of its own", hint="name a new one")
        if not self.to.absolute().parent.is_dir():
            raise BadInput(
                what=f"`{self.to}` cannot be written",
                why=f"there is no folder `{self.to.absolute().parent}`",
                hint="make it, or mount the disk it is on",
            )

    def refuse_full(self, size: int) -> None:
        stat = os.statvfs(self.to.absolute().parent)
        free, needed = stat.f_bavail * stat.f_frsize, size + size // 50 + SLACK
        if free < needed:
            raise DiskFull(
                why=f"the backup needs {needed / 1e6:.1f} MB at `{self.to}`, {free / 1e6:.1f} MB are free",
                hint="nothing was written: free some space, or name a place on another disk",
            )

    def write(self, pieces: Iterator[bytes]) -> Found:
        partial = self.to.with_name(self.to.name + ".partial")
        _remove(partial)
        try:
            if self.to.suffix == ENDS:
                _write_file(pieces, partial)
            else:
                partial.mkdir(mode=0o700)
                unpack(self.to.name, Pieces(pieces), partial)
            os.sync()  # thousands of small files: once for all of them
            found = look(partial)
            partial.rename(self.to)
            sync_folder(self.to.absolute().parent)
            return found
        except BaseException:
            _remove(partial)
            raise


@dataclass(slots=True)
class InS3:
    """One object. It is seen once the server has all of it; what does not read well is removed again."""

    at: Place
    size: int = 0
    """About how many bytes are to come."""

    def __str__(self) -> str:
        return str(self.at)

    def refuse_taken(self) -> None:
        if not self.at.name.endswith(ENDS):
            raise BadInput(
                what=f"`{self.at}` is no name of a backup",
                why="in S3 a backup is one object that ends in `.tar`",
                hint=f"{self.at}/freehold-backup.tar",
            )
        if s3.size(self.at.folder, self.at.name) is not None:
            raise FolderTaken(folder=self.at, why="a backup takes a place of its own", hint="name a new one")

    def refuse_full(self, size: int) -> None:
        """A bucket says so itself; but it wants to know how large the parts are."""
        self.size = size + size // 50 + SLACK

    def write(self, pieces: Iterator[bytes]) -> Found:
        s3.put(self.at.folder, self.at.name, pieces, self.size)
        try:
            return look(self.at)
        except BaseException:
            s3.delete(self.at.folder, self.at.name)
            raise


def _write_file(pieces: Iterator[bytes], path: Path) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(pieces)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(why=f"`{path}` was not written whole", hint="free some space") from error
        raise


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
