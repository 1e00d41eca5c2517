"""Objects by content: put bytes, get a digest; nothing is ever changed in place.

Large objects (weights) go in and out as files, piece by piece: memory does not grow with them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from freehold.errors import NotFound, Tampered
from freehold.store.home import DiskFull, sync_folder, write_atomically

PIECE = 1 << 20


class BlobChanged(Tampered):
    """the stored object `{digest}` is not what was stored"""


class Blobs(Protocol):
    """Where objects lie: files, or S3 (`store.s3`). Both pass tests/conformance/test_objects.py."""

    def put(self, data: bytes) -> str:
        """Store and return `sha256:…`; durable when it returns; storing twice is storing once."""

    def get(self, digest: str) -> bytes:
        """The bytes, checked against the digest. Raises NotFound or BlobChanged."""

    def put_file(self, path: Path) -> str:
        """As `put`, of a file that may be larger than memory; the file itself stays where it is."""

    def get_file(self, digest: str, path: Path) -> None:
        """Write the object into a new file, readable by its owner alone.

        The file is there only when it is complete and checked. Raises NotFound or BlobChanged.
        """

    def size(self, digest: str) -> int:
        """How many bytes it has. Raises NotFound."""

    def pieces(self, digest: str) -> Iterator[bytes]:
        """The bytes as they lie there, one piece after another: the caller checks the digest.

        Raises NotFound.
        """

    def delete(self, digest: str) -> None:
        """Remove for good; removing what is not there is fine."""

    def list(self) -> Iterator[str]:
        """Every digest stored, in no order."""


class FileBlobs:
    """Files in `folder/ab/cdef…`, 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Where an object lies. Raises NotFound for what is no digest."""
        return self._folder / place_of(digest)

    def put(self, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if not self._holds(path, data):  # a changed object is mended by storing it again
            self._make_place(path)
            write_atomically(path, data)
        return digest

    def _make_place(self, path: Path) -> None:
        """The folder an object lies in, its own name durable: else a power cut takes it with all it holds."""
        _make_folder(self._folder)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self._folder)  # each time: who made it may have died before this

    @staticmethod
    def _holds(path: Path, data: bytes) -> bool:
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False

    def get(self, digest: str) -> bytes:
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(kind="object", name=digest) from None
        return checked(digest, data)

    def put_file(self, path: Path) -> str:
        _make_folder(self._folder)
        temporary = self._folder / f".{secrets.token_hex(8)}.tmp"
        digest = _written(pieces_of(path), temporary)
        place = self.path(digest)
        try:
            if place.exists() and digest_of(place) == digest:
                return digest
            self._make_place(place)
            os.replace(temporary, place)
            sync_folder(place.parent)
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    def get_file(self, digest: str, path: Path) -> None:
        into_file(self, digest, path)

    def size(self, digest: str) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(kind="object", name=digest) from None

    def pieces(self, digest: str) -> Iterator[bytes]:
        try:
            yield from pieces_of(self.path(digest))
        except FileNotFoundError:
            raise NotFound(kind="object", name=digest) from None

    def delete(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def list(self) -> Iterator[str]:
        for path in self._folder.glob("??/*"):
            if not path.name.startswith("."):
                yield f"sha256:{path.parent.name}{path.name}"


# -- what every place of objects does the same way -----------------------------------------------------


def place_of(digest: str) -> str:
    """`ab/cdef…`: where an object lies below the folder or prefix of all. Raises NotFound."""
    name = digest.removeprefix("sha256:")
    if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise NotFound(kind="object", name=digest[:80])
    return f"{name[:2]}/{name[2:]}"


def checked(digest: str, data: bytes) -> bytes:
    """`data`, if it is what its name says. Raises BlobChanged."""
    if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
        raise _changed(digest)
    return data


def into_file(blobs: Blobs, digest: str, path: Path) -> None:
    """Write an object into a new file that is there only when it is complete and checked."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        if _written(blobs.pieces(digest), temporary) != digest:
            raise _changed(digest)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _make_folder(folder: Path) -> None:
    """A folder that survives a power cut together with what is in it: its own name is durable, too."""
    if not folder.exists():
        if not folder.parent.exists():
            _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def _changed(digest: str) -> BlobChanged:
    return BlobChanged(
        digest=digest, why="its bytes have another digest now", hint="restore it from a backup"
    )


def _written(pieces: Iterable[bytes], target: Path) -> str:
    """Write piece by piece, durably; the digest of what was written. Raises DiskFull."""
    hashed = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                hashed.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(why="an object was not stored", hint="free some space") from error
        raise
    return "sha256:" + hashed.hexdigest()


def digest_of(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
