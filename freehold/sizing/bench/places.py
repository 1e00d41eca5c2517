"""Where data lies while it is measured, behind one interface: a folder, or a bucket."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Protocol, cast
from urllib.parse import parse_qsl

from freehold.errors import Unavailable
from freehold.sizing.bench import cache
from freehold.sizing.bench.room import PREFIX


class NoS3(Unavailable):
    """`{url}` cannot be reached from here"""


class BucketAway(Unavailable):
    """`{url}` cannot be read or written"""


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
        """A prefix of our own below `url`. Raises NoS3."""
        if find_spec("obstore") is None:
            raise NoS3(url=url, why="the extra `s3` is not installed", hint="pip install 'freehold[s3]'")
        before, query, after = url.partition("?")
        return cls(f"{before.rstrip('/')}/{PREFIX}{secrets.token_hex(4)}{query}{after}")

    @property
    def words(self) -> str:
        return self.url

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        from obstore import put

        file = io.BytesIO()
        yield file
        with _told(self.url):
            put(_store(self.url), name, file.getvalue())

    def open(self, name: str) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(_Ranges(self.url, name), buffer_size=1 << 20))

    def make_cold(self, names: Sequence[str]) -> float:
        return 0.0  # nothing of it is kept on this side

    def forget(self, name: str) -> None:
        pass

    def remove_all(self) -> None:
        """Everything below the prefix."""
        from obstore import delete
        from obstore import list as listed

        with _told(self.url):
            store = _store(self.url)
            for page in listed(store):
                delete(store, [one["path"] for one in page])


@contextmanager
def _told(url: str) -> Iterator[None]:
    """The library's errors in our words; theirs may quote a whole request, so nothing of it is taken."""
    from obstore import exceptions as theirs

    try:
        yield
    except theirs.BaseError as error:
        raise BucketAway(
            url=url.partition("?")[0],
            why=f"the server did not do it ({type(error).__name__})",
            hint="are bucket, endpoint, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY as they should be?",
        ) from error


_OPEN: dict[str, object] = {}
"""Stores by address: a connection pool each, one of them for a process."""


def _store(url: str):  # type: ignore[no-untyped-def]  # obstore's union of stores
    """Of `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`; what follows the question mark may be left out."""
    from obstore.store import from_url

    if url not in _OPEN:
        address, _, more = url.partition("?")
        options = dict(parse_qsl(more))
        client = {"allow_http": True} if options.get("endpoint", "").startswith("http://") else None
        _OPEN[url] = from_url(address, client_options=client, **options)  # type: ignore[call-overload]
    return _OPEN[url]


class _Ranges(io.RawIOBase):
    """An object, read piece by piece."""

    def __init__(self, url: str, name: str) -> None:
        from obstore import head

        self._store, self._name = _store(url), name
        self._size = int(head(self._store, name)["size"])
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        from obstore import get_range

        view = memoryview(cast("bytearray", buffer)).cast("B")
        wanted = min(len(view), self._size - self._at)
        if wanted <= 0:
            return 0
        view[:wanted] = memoryview(get_range(self._store, self._name, start=self._at, length=wanted))
        self._at += wanted
        return wanted

    def readall(self) -> bytes:
        rest = bytearray(self._size - self._at)
        done = 0
        while done < len(rest) and (got := self.readinto(memoryview(rest)[done:])):
            done += got
        return bytes(rest[:done])
