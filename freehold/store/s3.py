"""Objects in an S3 bucket: the same calls as files, over any server that speaks S3.

Where they lie is one line of `freehold.yaml` (`spec.s3`). The credentials never stand there: they come
as AWS's own tools take them (`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a web identity, the
machine's role), and of our processes only control is given them.

An object is written by one PUT, or by a multipart upload that becomes visible as a whole: there is no half
an object. What the server acknowledged is the server's to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import NotFound, Unavailable
from freehold.spec.ids import digest_bytes
from freehold.spec.s3 import Place
from freehold.store.blobs import PIECE, checked, digest_of, into_file, place_of

if TYPE_CHECKING:
    from obstore.store import S3Store

MULTIPART = 8 << 20
"""Larger objects go in parts of this size or more: a part that fails is sent again, not the whole."""
MOST_PARTS = 5_000
"""S3 takes 10,000 of one object, so parts of a very large one are larger; how large it becomes is a guess
where it comes in pieces."""
RETRIES = 4


class NoS3(Unavailable):
    """objects in S3 need the extra `s3`"""


class ObjectsAway(Unavailable):
    """the objects in `{place}` cannot be reached"""


class ObjectsRefused(Unavailable):
    """the server of `{place}` does not let us in"""


def open_store(at: Place) -> S3Store:
    """The library's own store for a place; nothing is asked of the server yet. Raises NoS3."""
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise NoS3(why="`obstore` is not installed", hint="pip install 'freehold[s3]'") from error
    more: dict[str, Any] = {"region": at.region or "us-east-1"}
    if at.endpoint:
        more["endpoint"] = at.endpoint
    return S3Store(
        at.bucket,
        prefix=at.prefix or None,
        client_options={
            "allow_http": at.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=30),
            "timeout": timedelta(days=1),  # of a whole request: a backup is read by one
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=30)},
        **more,
    )


class S3Blobs:
    """Objects under `PREFIX/ab/cdef…`, each named by its digest."""

    def __init__(self, at: Place) -> None:
        self._at = at
        self._store = open_store(at)

    def put(self, data: bytes) -> str:
        digest = digest_bytes(data)
        self._send(digest, data)
        return digest

    def get(self, digest: str) -> bytes:
        with self._asking(digest):
            data = _obstore().get(self._store, place_of(digest)).bytes().to_bytes()
        return checked(digest, data)

    def put_file(self, path: Path) -> str:
        digest = digest_of(path)
        self._send(digest, path)
        return digest

    def _send(self, digest: str, source: bytes | Path) -> None:
        with self._asking(digest):
            _put(self._store, place_of(digest), source)

    def get_file(self, digest: str, path: Path) -> None:
        into_file(self, digest, path)

    def size(self, digest: str) -> int:
        with self._asking(digest):
            return int(_obstore().head(self._store, place_of(digest))["size"])

    def pieces(self, digest: str) -> Iterator[bytes]:
        with self._asking(digest):
            for piece in _obstore().get(self._store, place_of(digest)).stream(min_chunk_size=PIECE):
                yield bytes(piece)

    def delete(self, digest: str) -> None:
        try:
            with self._asking(digest):
                _obstore().delete(self._store, place_of(digest))
        except NotFound:
            return

    def list(self) -> Iterator[str]:
        with self._asking(""):
            for some in _obstore().list(self._store, chunk_size=1000):
                for found in some:
                    digest = f"sha256:{found['path'].replace('/', '')}"  # without the prefix already
                    if _is_ours(digest, found["path"]):
                        yield digest

    @contextmanager
    def _asking(self, digest: str) -> Iterator[None]:
        with telling(self._at, digest):
            yield


def _is_ours(digest: str, path: str) -> bool:
    try:
        return place_of(digest) == path
    except NotFound:
        return False  # somebody else's


# -- single objects by name: backups, anchors ----------------------------------------------------------


def put(at: Place, name: str, data: bytes | Path | Iterable[bytes], size: int = 0) -> None:
    """Write one object below a place, whole or not at all. `size` is about how many bytes come in pieces.

    Raises NoS3, ObjectsAway, ObjectsRefused.
    """
    store = open_store(at)
    with telling(at, name):
        _put(store, name, data, size)


def get(at: Place, name: str) -> bytes | None:
    """One object, or none when it is not there."""
    try:
        return b"".join(read(at, name))
    except NotFound:
        return None


def read(at: Place, name: str) -> Iterator[bytes]:
    """One object, piece by piece. Raises NotFound."""
    store = open_store(at)
    with telling(at, name):
        for piece in _obstore().get(store, name).stream(min_chunk_size=PIECE):
            yield bytes(piece)


def size(at: Place, name: str) -> int | None:
    """How many bytes one object has; none when it is not there."""
    store = open_store(at)
    try:
        with telling(at, name):
            return int(_obstore().head(store, name)["size"])
    except NotFound:
        return None


def names(at: Place, folder: str) -> list[str]:
    """The names of the objects in a folder below a place, sorted."""
    store = open_store(at)
    with telling(at, folder):
        found = [
            one["path"] for some in _obstore().list(store, f"{folder}/", chunk_size=1000) for one in some
        ]
    return sorted(path.rpartition("/")[2] for path in found)


def delete(at: Place, name: str) -> None:
    """Remove one object; removing what is not there is fine."""
    store = open_store(at)
    try:
        with telling(at, name):
            _obstore().delete(store, name)
    except NotFound:
        return


@contextmanager
def telling(at: Place, name: str) -> Iterator[None]:
    """The library's errors in our words. Theirs may quote a whole request, so nothing of it is taken."""
    from obstore import exceptions as theirs

    try:
        yield
    except (theirs.NotFoundError, FileNotFoundError) as error:
        raise NotFound(kind="object", name=name) from error
    except (theirs.PermissionDeniedError, theirs.UnauthenticatedError) as error:
        raise ObjectsRefused(
            place=at,
            why="no credentials, or ones that may not do this",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where control runs, or give it a role",
        ) from error
    except theirs.BaseError as error:
        raise ObjectsAway(
            place=at,
            why=f"the server did not do it ({type(error).__name__})",
            hint="see that the bucket is there and `endpoint` is right; what waits is tried again",
        ) from error


def _put(store: S3Store, name: str, data: bytes | Path | Iterable[bytes], size: int = 0) -> None:
    if isinstance(data, Path):
        size = data.stat().st_size
    elif isinstance(data, bytes):
        size = len(data)
    _obstore().put(store, name, data, chunk_size=part_size(size), max_concurrency=2)


def part_size(size: int) -> int:
    """In parts of how many bytes an object of `size` bytes goes."""
    return max(MULTIPART, -(-size // MOST_PARTS))


def _obstore() -> Any:
    import obstore

    return obstore
