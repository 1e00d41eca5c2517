"""Reading a backup, a folder or one tar: every file is what the manifest says, or it is refused."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from freehold.spec.s3 import Place
from freehold.store import backed_up, s3
from freehold.store.backed_up import BackupBroken, Statement, read_manifest
from freehold.store.home import DiskFull
from freehold.store.pieces import Pieces

PIECE = 1 << 20
_MANIFEST_LIMIT = 256 << 20
_OURS = re.compile(
    rf"{re.escape(backed_up.DATABASE)}|{re.escape(backed_up.KEYRING)}|{re.escape(backed_up.SEALED)}"
    rf"|{re.escape(backed_up.CHECKPOINT)}|{backed_up.BLOBS}[0-9a-f]{{2}}/[0-9a-f]{{62}}"
)


class Readable(Protocol):
    """What a tar is read from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A backup that is whole. Whose signature it is has still to be checked."""

    statement: Statement
    signature: Mapping[str, Any]


def look(source: Path | Place) -> Found:
    """Read every byte of a backup. Raises BackupBroken."""
    return copy(source, None)


def copy(source: Path | Place, into: Path | None) -> Found:
    """Read every byte and write the files into the folder `into`, if there is one.

    What was written is to be thrown away when this raises: BackupBroken, DiskFull.
    """
    if isinstance(source, Place):
        return unpack(source.name, Pieces(s3.read(source.folder, source.name)), into)
    if source.is_dir():
        return _taken(source.name, _in_folder(source), into)
    with source.open("rb") as opened:
        return unpack(source.name, opened, into)


def unpack(name: str, tar: Readable, into: Path | None) -> Found:
    """`copy`, of a tar that is read from somewhere."""
    try:
        return _taken(name, _in_tar(name, tar), into)
    except (tarfile.TarError, EOFError) as error:
        raise BackupBroken(name=name, why=f"it is no whole tar: {error}", hint="make it again") from error


def _taken(name: str, files: Iterator[tuple[str, IO[bytes]]], into: Path | None) -> Found:
    seen: dict[str, dict[str, Any]] = {}
    last: bytes | None = None
    for place, source in files:
        if last is not None or (place != backed_up.MANIFEST and not _OURS.fullmatch(place)):
            raise BackupBroken(name=name, why=f"it holds `{place[:120]}`, which is no file of a backup")
        if place == backed_up.MANIFEST:
            last = source.read(_MANIFEST_LIMIT)
            if into is not None:
                (into / place).write_bytes(last)
        else:
            seen[place] = _one(source, into / place if into is not None else None)
    if last is None:
        raise BackupBroken(name=name, why="it ends before its manifest", hint="make it again")
    statement, signature, listed = read_manifest(last)
    if seen != listed:
        wrong = sorted(place for place in seen | listed if seen.get(place) != listed.get(place))
        raise BackupBroken(
            name=name, why=f"`{wrong[0]}` is not what was signed", hint="use another backup, or make it again"
        )
    return Found(statement=statement, signature=signature)


def _one(source: IO[bytes], path: Path | None) -> dict[str, Any]:
    """Digest and size of one file, which is written to `path` meanwhile."""
    hashed, size = hashlib.sha256(), 0
    with _written(path) as file:
        while piece := source.read(PIECE):
            hashed.update(piece)
            size += len(piece)
            file.write(piece)
    return {"sha256": hashed.hexdigest(), "bytes": size}


@contextmanager
def _written(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        path = Path(os.devnull)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            yield file
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(why=f"`{path.name}` was not written", hint="free some space") from error
        raise


def _in_folder(folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every file, the manifest last."""
    there = sorted(path for path in folder.rglob("*") if not path.is_dir())
    for path in sorted(there, key=lambda path: path.name == backed_up.MANIFEST):
        place = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise BackupBroken(name=folder.name, why=f"`{place[:120]}` is no regular file")
        with path.open("rb") as file:
            yield place, file


def _in_tar(name: str, source: Readable) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(fileobj=source, mode="r|") as tar:  # type: ignore[call-overload]  # needs read only
        for member in tar:
            path = PurePosixPath(member.name)
            if not member.isreg() or path.parts[:1] != (backed_up.TOP,):
                raise BackupBroken(name=name, why=f"it holds `{member.name[:120]}`")
            body = tar.extractfile(member)
            assert body is not None  # a regular file has one
            yield "/".join(path.parts[1:]), body
