"""Receiving a backup: it appears under its name once it is whole, checked and durable, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from freehold.cli.exported import FolderTaken, Pieces
from freehold.errors import BadInput
from freehold.store.backup_files import Found, look, unpack
from freehold.store.home import DiskFull, sync_folder

SLACK = 1 << 20
"""Bytes that folders and a tar need beside the files."""


def refuse_taken(to: Path) -> None:
    """A backup never mixes with what is there. Raises FolderTaken, BadInput."""
    if to.exists():
        raise FolderTaken(folder=to, why="a backup takes a place of its own", hint="name a new one")
    if not to.absolute().parent.is_dir():
        raise BadInput(
            what=f"`{to}` cannot be written",
            why=f"there is no folder `{to.absolute().parent}`",
            hint="make it, or mount the disk it is on",
        )


def refuse_full(to: Path, size: int) -> None:
    """Raise DiskFull when the disk would not hold it."""
    stat = os.statvfs(to.absolute().parent)
    free, needed = stat.f_bavail * stat.f_frsize, size + size // 50 + SLACK
    if free < needed:
        raise DiskFull(
            why=f"the backup needs {needed / 1e6:.1f} MB at `{to}`, {free / 1e6:.1f} MB are free",
            hint="nothing was written: free some space, or name a place on another disk",
        )


def write(pieces: Iterator[bytes], to: Path) -> Found:
    """Write what arrives to `to`, read it all again, give it its name. Raises BackupBroken, DiskFull."""
    partial = to.with_name(to.name + ".partial")
    _remove(partial)
    try:
        if to.suffix == ".tar":
            _write_file(pieces, partial)
        else:
            partial.mkdir(mode=0o700)
            unpack(to.name, Pieces(pieces), partial)
        os.sync()  # thousands of small files: once for all of them
        found = look(partial)
        partial.rename(to)
        sync_folder(to.absolute().parent)
        return found
    except BaseException:
        _remove(partial)
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
