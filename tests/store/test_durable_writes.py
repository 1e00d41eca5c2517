"""What is acknowledged survives a power cut: temp file, fsync, rename, fsync of the folder, in this order.

Seen at the calls themselves: each real, each noted with what it was about. That the order is enough is
shown by power cuts in tests/durability.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.store.blobs import FileBlobs
from freehold.store.epoch import FileEpoch
from freehold.store.home import write_atomically

Calls = list[tuple[str, str]]
DATA = b"water damage in the kitchen" * 1000


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every fsync, rename and new folder, in order."""
    noted: Calls = []
    fsync, replace, rename, mkdir = os.fsync, os.replace, os.rename, os.mkdir

    def note(word: str, about: object) -> None:
        noted.append((word, str(about)))

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        size = "" if os.path.isdir(path) else f" {os.fstat(descriptor).st_size}"
        note("sync", f"{path}{size}")

    def moved(real: Callable[..., None]) -> Callable[..., None]:
        def move(source: object, target: object, **more: object) -> None:
            real(source, target, **more)
            note("rename", f"{source} {target}")

        return move

    def made(path: object, mode: int = 0o777, **more: object) -> None:
        mkdir(path, mode, **more)  # type: ignore[arg-type]
        note("mkdir", path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", moved(replace))
    monkeypatch.setattr(os, "rename", moved(rename))
    monkeypatch.setattr(os, "mkdir", made)
    return noted


def in_order(calls: Calls, path: Path, size: int) -> None:
    """The file was whole and durable before it got its name, and its name is durable at the end."""
    (place,) = [n for n, (word, about) in enumerate(calls) if word == "rename" and about.endswith(f" {path}")]
    temporary = calls[place][1].split()[0]
    assert ("sync", f"{temporary} {size}") in calls[:place]
    assert ("sync", str(path.parent)) in calls[place:]
    for n, (word, about) in enumerate(calls):
        if word == "mkdir":
            assert ("sync", str(Path(about).parent)) in calls[n:], f"the name of {about} may be lost"


def test_a_file(calls: Calls, tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", DATA)
    in_order(calls, tmp_path / "file", len(DATA))


def test_an_object_in_a_folder_that_is_new(calls: Calls, tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    path = blobs.path(blobs.put(DATA))
    in_order(calls, path, len(DATA))
    assert ("mkdir", str(path.parent)) in calls


def test_an_object_that_comes_as_a_file(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(DATA)
    blobs = FileBlobs(tmp_path / "blobs")
    in_order(calls, blobs.path(blobs.put_file(tmp_path / "weights")), len(DATA))


def test_an_epoch_key_and_its_successor(calls: Calls, tmp_path: Path) -> None:
    epoch = FileEpoch(tmp_path / "epoch.key")
    epoch.create()
    in_order(calls, tmp_path / "epoch.key", 32)
    calls.clear()
    epoch.prepare()
    in_order(calls, tmp_path / "epoch.key.next", 32)
    calls.clear()
    epoch.take_place()
    assert calls[0] == ("rename", f"{tmp_path}/epoch.key.next {tmp_path}/epoch.key")
    assert calls[1] == ("sync", str(tmp_path))
