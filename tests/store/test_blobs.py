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
    return blobs.path(digest)


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


def test_a_file_goes_in_and_out_under_the_digest_of_its_bytes(blobs: FileBlobs, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(DATA * 1000)
    digest = blobs.put_file(tmp_path / "weights")
    assert digest == blobs.put(DATA * 1000)
    blobs.get_file(digest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == DATA * 1000
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600
    assert list(blobs.list()) == [digest]


def test_a_file_larger_than_a_piece_does_not_pass_through_memory_at_once(
    blobs: FileBlobs, tmp_path: Path
) -> None:
    import tracemalloc

    with (tmp_path / "weights").open("wb") as file:
        file.truncate(40 << 20)
    tracemalloc.start()
    digest = blobs.put_file(tmp_path / "weights")
    blobs.get_file(digest, tmp_path / "back")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_storing_a_file_again_mends_what_was_changed(blobs: FileBlobs, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(DATA)
    digest = blobs.put_file(tmp_path / "weights")
    before = path_of(blobs, digest).stat().st_ino
    blobs.put_file(tmp_path / "weights")
    assert path_of(blobs, digest).stat().st_ino == before
    path_of(blobs, digest).write_bytes(b"W" + DATA[1:])
    blobs.put_file(tmp_path / "weights")
    assert blobs.get(digest) == DATA


def test_a_changed_object_does_not_become_a_file(blobs: FileBlobs, tmp_path: Path) -> None:
    digest = blobs.put(DATA)
    path_of(blobs, digest).write_bytes(b"W" + DATA[1:])
    with pytest.raises(BlobChanged):
        blobs.get_file(digest, tmp_path / "back")
    with pytest.raises(NotFound):
        blobs.get_file("sha256:" + "0" * 64, tmp_path / "back")
    assert list(tmp_path.glob("*back*")) == []


def test_an_object_that_fills_the_disk_leaves_nothing_behind(
    blobs: FileBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    from freehold.store import blobs as room
    from freehold.store.home import DiskFull

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "weights").write_bytes(DATA)
    monkeypatch.setattr(room.os, "fsync", full)
    with pytest.raises(DiskFull):
        blobs.put_file(tmp_path / "weights")
    monkeypatch.undo()
    assert list(blobs.list()) == []
    assert list(tmp_path.rglob("*.tmp")) == []
