"""Objects come back by what they are, or not at all."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from freehold.errors import NotFound
from freehold.store.blobs import BlobChanged, FileBlobs

DATA = b"water damage in the kitchen" * 100


def path_of(blobs: FileBlobs, digest: str) -> Path:
    return blobs._path(digest)


def test_an_object_comes_back_under_its_digest(blobs: FileBlobs) -> None:
    digest = blobs.put(DATA)
    assert digest == "sha256:" + hashlib.sha256(DATA).hexdigest()
    assert blobs.get(digest) == DATA
    assert list(blobs.list()) == [digest]
    assert path_of(blobs, digest).stat().st_mode & 0o777 == 0o600


def test_storing_twice_is_storing_once(blobs: FileBlobs) -> None:
    digest = blobs.put(DATA)
    before = path_of(blobs, digest).stat().st_ino
    assert blobs.put(DATA) == digest
    assert path_of(blobs, digest).stat().st_ino == before


def test_a_changed_byte_is_told_and_mended_by_storing_again(blobs: FileBlobs) -> None:
    digest = blobs.put(DATA)
    path_of(blobs, digest).write_bytes(b"W" + DATA[1:])
    with pytest.raises(BlobChanged, match=digest):
        blobs.get(digest)
    blobs.put(DATA)
    assert blobs.get(digest) == DATA


def test_a_removed_object_is_not_there_and_removing_it_again_is_fine(blobs: FileBlobs) -> None:
    digest = blobs.put(DATA)
    blobs.delete(digest)
    blobs.delete(digest)
    with pytest.raises(NotFound):
        blobs.get(digest)
    assert list(blobs.list()) == []


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "../../epoch.key", "sha256:" + "g" * 64, "sha256:" + "A" * 64]
)
def test_what_is_no_digest_leads_nowhere(blobs: FileBlobs, digest: str) -> None:
    with pytest.raises(NotFound):
        blobs.get(digest)


def test_many_threads_may_store_the_same_object(blobs: FileBlobs) -> None:
    failures: list[BaseException] = []

    def store() -> None:
        try:
            blobs.put(DATA)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=store) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(blobs.list())) == 1
