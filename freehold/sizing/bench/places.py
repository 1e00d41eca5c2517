"""Where data lies while it is measured, behind one interface: a folder, or a bucket."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from freehold.sizing.bench import cache
from freehold.sizing.bench.room import PREFIX
from freehold.spec.s3 import place
from freehold.store.s3 import open_store, telling

if TYPE_CHECKING:
    from obstore.store import S3Store


class Place(Protocol):
    """Somewhere to write files and to read them back. Cheap to pickle: every reader gets a copy."""

    @property
    def words(self) -> str:
        """What a person calls it."""

    def create(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A file to write into; on the disk, or in the bucket, once the block has been left."""

    def open(self, name: str) -> BinaryIO:
        """A file to read from, from its beginning."""

    def make_cold(self, names: Sequence[str]) -> float:
        """Forget what is cached of these here; returns the share of them that stayed in memory."""

    def forget(self, name: str) -> None:
        """Forget one, without looking."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a file system."""

    path: Path

    @property
    def words(self) -> str:
        return str(self.path)

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def make_cold(self, names: Sequence[str]) -> float:
        return cache.make_cold(self.path / name for name in names)

    def forget(self, name: str) -> None:
        cache.drop(self.path / name)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of an S3 bucket; keys come from the environment, as AWS names them."""

    url: str

    @classmethod
    def below(cls, url: str) -> Bucket:
        """A prefix of our own below `url`. Raises NotAnAddress, NoS3."""
        return cls.named(url, f"{PREFIX}{secrets.token_hex(4)}")

    @classmethod
    def named(cls, url: str, name: str) -> Bucket:
        """A prefix that others know as well. Raises NotAnAddress, NoS3."""
        _store(url)
        before, query, after = url.partition("?")
        return cls(f"{before.rstrip('/')}/{name}{query}{after}")

    @property
    def words(self) -> str:
        return self.url

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        from obstore import put

        file = io.BytesIO()
        yield file
        with telling(place(self.url), name):
            put(_store(self.url), name, file.getvalue())

    def open(self, name: str) -> BinaryIO:
        """Fetched whole: not every server answers a range with that part alone."""
        from obstore import get

        with telling(place(self.url), name):
            return io.BytesIO(get(_store(self.url), name).bytes().to_bytes())

    def make_cold(self, names: Sequence[str]) -> float:
        return 0.0  # nothing of it is kept on this side

    def forget(self, name: str) -> None:
        pass

    def remove_all(self) -> None:
        """Everything below the prefix."""
        from obstore import delete
        from obstore import list as listed

        with telling(place(self.url), ""):
            store = _store(self.url)
            for page in listed(store):
                delete(store, [one["path"] for one in page])


_OPEN: dict[str, S3Store] = {}
"""Stores by address: a connection pool each, one of them for a process."""


def _store(url: str) -> S3Store:
    """Of `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`. Raises NotAnAddress, NoS3."""
    if url not in _OPEN:
        _OPEN[url] = open_store(place(url))
    return _OPEN[url]
