"""Objects by content: put bytes, get a digest; nothing is ever changed in place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from freehold.errors import NotFound, Tampered
from freehold.store.home import write_atomically


class BlobChanged(Tampered):
    """the stored object `{digest}` is not what was stored"""


class Blobs(Protocol):
    """Where objects lie. Files now; S3 has the same four calls and passes the same suite."""

    def put(self, data: bytes) -> str:
        """Store and return `sha256:…`; durable when it returns; storing twice is storing once."""

    def get(self, digest: str) -> bytes:
        """The bytes, checked against the digest. Raises NotFound or BlobChanged."""

    def delete(self, digest: str) -> None:
        """Remove for good; removing what is not there is fine."""

    def list(self) -> Iterator[str]:
        """Every digest stored, in no order."""


class FileBlobs:
    """Files in `folder/ab/cdef…`, 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise NotFound(kind="object", name=digest[:80])
        return self._folder / name[:2] / name[2:]

    def put(self, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if not self._holds(path, data):  # a changed object is mended by storing it again
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, data)
        return digest

    @staticmethod
    def _holds(path: Path, data: bytes) -> bool:
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False

    def get(self, digest: str) -> bytes:
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(kind="object", name=digest) from None
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise BlobChanged(
                digest=digest, why="its bytes have another digest now", hint="restore it from a backup"
            )
        return data

    def delete(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)

    def list(self) -> Iterator[str]:
        for path in self._folder.glob("??/*"):
            if not path.name.startswith("."):
                yield f"sha256:{path.parent.name}{path.name}"
