"""A bucket as a place to measure: a real server, over HTTP; nothing is left in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from s3_server import S3Server

from freehold.sizing.bench import storage
from freehold.sizing.bench.places import Bucket
from freehold.sizing.bench.profiles import Profile
from freehold.sizing.bench.progress import Progress, Told
from freehold.sizing.bench.storage import Asked
from freehold.spec.s3 import NotAnAddress
from freehold.store.s3 import ObjectsAway

SMALL = Profile(
    name="small", layout="tfrecord", per_file=50, record=2_000, batch=20, compute=0.002, least=0.9
)
ASKED = Asked(jobs=(SMALL,), size=500_000, readers=1, runs=1, steps=4, writers=2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(autouse=True)
def _let_in(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.let_in(monkeypatch)


def kept(server: S3Server) -> list[Path]:
    return [path for path in server.newest.rglob("*") if path.is_file()]


def test_a_bucket_is_written_read_and_left_empty(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.new_bucket("below")
    (server.newest / "below").mkdir()
    (server.newest / "below" / "theirs").write_text("stays")
    monkeypatch.setattr(storage, "available", lambda: 400_000)
    other = replace(SMALL, name="other", layout="parquet")
    stood: list[int] = []
    progress = Progress(lambda told: stood.append(len(kept(server))) if "writing" in told.stage else None)
    (found,) = storage.measure([url], replace(ASKED, jobs=(SMALL, other)), progress).found
    assert [one.job.name for one in found.trained] == ["small", "other"]
    assert all(run.size >= 4 * 20 * 2_000 for one in found.trained for run in one.here.runs)
    assert found.checkpoint is not None
    assert found.checkpoint.size == 100_000, "objects are held in memory as a whole: a quarter of it"
    assert set(found.left_out) == {"load", "random", "vectors", "spill"}
    assert max(stood) <= 1 + 5, "the files of one job at a time, and theirs"
    assert [path.name for path in kept(server)] == ["theirs"]


def test_nothing_is_left_of_one_that_was_interrupted(server: S3Server) -> None:
    url = server.new_bucket("below")

    def stop(told: Told) -> None:
        if told.stage.endswith("small") and kept(server):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.measure([url], ASKED, Progress(stop))
    assert kept(server) == []


def test_a_mistyped_bucket_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    stages: list[Told] = []
    with pytest.raises(NotAnAddress):
        storage.measure([str(tmp_path), "s3://bucket/x?regoin=eu"], ASKED, Progress(stages.append))
    assert stages == []


def test_why_it_ended_is_told_where_nothing_can_be_removed_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Bucket) -> None:
        raise ObjectsAway(place="s3://b", why="the second failure", hint="")

    def first(*_: object) -> None:
        raise ObjectsAway(place="s3://b", why="the first failure", hint="")

    monkeypatch.setattr(Bucket, "remove_all", away)
    monkeypatch.setattr(storage, "_place", first)
    with pytest.raises(ObjectsAway) as told:
        storage.measure(["s3://b/x"], ASKED, Progress())
    assert told.value.why == "the first failure"
