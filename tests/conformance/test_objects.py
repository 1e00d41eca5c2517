"""What every place of objects does: files in a folder, and S3 (a real server, over HTTP)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from s3_server import S3Server

from freehold.errors import NotFound
from freehold.spec.s3 import place
from freehold.store.blobs import BlobChanged, Blobs, FileBlobs
from freehold.store.s3 import S3Blobs, part_size

DATA = b"water damage in the kitchen" * 100
LARGE = 20 << 20  # several parts, and several pieces


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(params=["files", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def blobs(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Blobs:
    if kind == "files":
        return FileBlobs(tmp_path / "blobs")
    server = request.getfixturevalue("server")
    server.let_in(monkeypatch)
    return S3Blobs(place(server.new_bucket("some/where")))


@pytest.fixture
def spoil(
    kind: str, blobs: Blobs, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[str, bytes], None]:
    """Write past the seam, as a broken disk or an intruder does."""

    def write(digest: str, data: bytes) -> None:
        root = (
            tmp_path / "blobs" if kind == "files" else request.getfixturevalue("server").newest / "some/where"
        )
        name = digest.removeprefix("sha256:")
        (root / name[:2] / name[2:]).write_bytes(data)

    return write


def test_an_object_comes_back_under_its_digest(blobs: Blobs) -> None:
    digest = blobs.put(DATA)
    assert digest == "sha256:" + hashlib.sha256(DATA).hexdigest()
    assert blobs.get(digest) == DATA
    assert b"".join(blobs.pieces(digest)) == DATA
    assert blobs.size(digest) == len(DATA)
    assert list(blobs.list()) == [digest]


def test_an_empty_object_is_one_too(blobs: Blobs) -> None:
    digest = blobs.put(b"")
    assert blobs.get(digest) == b""
    assert blobs.size(digest) == 0


def test_storing_twice_is_storing_once(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    assert blobs.put(DATA) == blobs.put(DATA) == blobs.put_file(tmp_path / "file")
    assert len(list(blobs.list())) == 1


def test_a_changed_byte_is_told_and_mended_by_storing_again(
    blobs: Blobs, spoil: Callable[[str, bytes], None], tmp_path: Path
) -> None:
    digest = blobs.put(DATA)
    spoil(digest, b"W" + DATA[1:])
    with pytest.raises(BlobChanged, match=digest):
        blobs.get(digest)
    with pytest.raises(BlobChanged):
        blobs.get_file(digest, tmp_path / "back")
    assert list(tmp_path.glob("*back*")) == []
    blobs.put(DATA)
    assert blobs.get(digest) == DATA


def test_what_is_not_there_is_said_and_removing_it_again_is_fine(blobs: Blobs, tmp_path: Path) -> None:
    digest = blobs.put(DATA)
    blobs.delete(digest)
    blobs.delete(digest)
    for ask in (
        lambda: blobs.get(digest),
        lambda: blobs.size(digest),
        lambda: list(blobs.pieces(digest)),
        lambda: blobs.get_file(digest, tmp_path / "back"),
    ):
        with pytest.raises(NotFound):
            ask()
    assert list(blobs.list()) == []
    assert list(tmp_path.glob("*back*")) == []


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "../../epoch.key", "sha256:" + "g" * 64, "sha256:" + "A" * 64]
)
def test_what_is_no_digest_leads_nowhere(blobs: Blobs, digest: str) -> None:
    with pytest.raises(NotFound):
        blobs.get(digest)


def test_a_large_file_goes_in_and_out_without_passing_through_memory_at_once(
    blobs: Blobs, tmp_path: Path
) -> None:
    import tracemalloc

    with (tmp_path / "weights").open("wb") as file:
        file.truncate(LARGE)
        file.write(b"weights")
    tracemalloc.start()
    digest = blobs.put_file(tmp_path / "weights")
    blobs.get_file(digest, tmp_path / "back")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert (tmp_path / "back").read_bytes() == (tmp_path / "weights").read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600
    assert list(blobs.list()) == [digest]


def test_many_threads_may_store_the_same_object(blobs: Blobs) -> None:
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
    assert len(set(blobs.list())) == 1


# -- S3 alone -------------------------------------------------------------------------------------------


def test_two_prefixes_of_one_bucket_do_not_see_each_other(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.let_in(monkeypatch)
    url = server.new_bucket("one")
    one, other = S3Blobs(place(url)), S3Blobs(place(url.replace("/one?", "/other?")))
    digest = one.put(DATA)
    assert list(other.list()) == []
    with pytest.raises(NotFound):
        other.get(digest)


def test_a_prefix_that_looks_like_the_beginning_of_a_digest_hides_no_object(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.let_in(monkeypatch)
    blobs = S3Blobs(place(server.new_bucket("a")))
    stored = {blobs.put(b"%d" % number) for number in range(40)}
    assert any(digest.startswith("sha256:a") for digest in stored)
    assert set(blobs.list()) == stored


@pytest.mark.parametrize("size", [0, 1 << 20, 72 << 30, 400 << 30, 5 << 40])
def test_no_object_goes_in_more_parts_than_s3_takes(size: int) -> None:
    assert -(-size // part_size(size)) < 10_000
    assert part_size(size) <= 5 << 30, "the largest part"


def test_a_backup_says_how_large_its_object_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.cli import receiving

    said: list[int] = []
    monkeypatch.setattr(receiving.s3, "put", lambda *given: said.append(given[3]))
    monkeypatch.setattr(receiving, "look", lambda _: None)
    target = receiving.InS3(place("s3://bucket/night.tar"))
    target.refuse_full(400 << 30)
    target.write(iter([b""]))
    assert said[0] > 400 << 30


def test_a_wrong_secret_and_a_server_that_is_away_are_told_without_saying_either(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freehold.store.s3 import ObjectsAway, ObjectsRefused

    url = server.new_bucket("")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "freehold")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(ObjectsRefused) as refused:
        S3Blobs(place(url)).put(DATA)
    monkeypatch.setattr("freehold.store.s3.RETRIES", 0)
    with pytest.raises(ObjectsAway) as away:
        S3Blobs(place(f"s3://bucket?endpoint={quote('http://127.0.0.1:9', safe='')}")).put(DATA)
    for told in (str(refused.value), str(away.value)):
        assert "not-the-secret" not in told
        assert DATA[:10].decode() not in told


def test_more_objects_than_one_answer_of_the_server_names(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.let_in(monkeypatch)
    blobs = S3Blobs(place(server.new_bucket("")))
    stored = {blobs.put(b"%d" % number) for number in range(1_050)}
    assert set(blobs.list()) == stored
