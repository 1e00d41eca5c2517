"""Our layer beside somebody else's: LazyFS leaves of the same work what ours says a power cut may leave."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import embedded

from freehold.store.home import Home
from tests.durability.cuts import Asked, Record, recorded
from tests.durability.disk import Disk, File, Folder
from tests.durability.lazyfs import NEEDS, Again, is_there, mounted
from tests.durability.recovery import Found, Told, look

pytestmark = [embedded, pytest.mark.timeout(600), pytest.mark.skipif(not is_there(), reason=NEEDS)]

CUTS = 20


def cut_at(record: Record, at: int, folder: Path) -> tuple[Path, Disk, Told]:
    """What LazyFS left of everything before the event `at`; and what our layer and the world outside know."""
    disk, told = Disk(record.root, record.before), Told()
    for event in record.events[:at]:
        told.take(event.data) if event.op == "A" else disk.apply(event)
    with mounted(folder, record.before) as lazy:
        again = Again(record.root, lazy.mount)
        again.play(record.events[:at])
        lazy.cut()
        again.over()
    return folder / "kept", disk, told


def unlike(disk: Disk, kept: Path) -> list[str]:
    """Where it is not every name that there was, each file as of its last sync."""
    expected = dict(files(disk.top, ""))
    there = {str(path.relative_to(kept)): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    wrong = [f"{name}: there or not" for name in sorted(expected.keys() ^ there.keys())]
    return wrong + [
        f"{name}: {len(there[name])} bytes, and {len(file.durable)} are durable"
        for name, file in expected.items()
        if name in there and there[name] != bytes(file.durable) and not may_be(file, there[name])
    ]


def files(folder: Folder, place: str) -> Iterator[tuple[str, File]]:
    for name, below in folder.now.items():
        if isinstance(below, Folder):
            yield from files(below, f"{place}{name}/")
        else:
            yield f"{place}{name}", below


def may_be(file: File, content: bytes) -> bool:
    """Whether one of the outcomes of our layer is this: it cuts a file short at once, which ours may keep."""
    return any(file.after("mixed", random.Random(seed)) == content for seed in range(200))


def points(record: Record, count: int) -> list[int]:
    return sorted(random.Random(5).sample(record.points, count))


def test_what_it_leaves_is_what_our_layer_says_a_cut_may_leave(work: Record, tmp_path: Path) -> None:
    for at in points(work, CUTS):
        kept, disk, told = cut_at(work, at, tmp_path / str(at))
        assert unlike(disk, kept) == []
        found = look(kept, told)
        assert found.well, found


@pytest.mark.parametrize("wrong", ["without-sync", "normal"])
def test_what_does_not_sync_loses_there_too(
    recorder: Path, template: Home, tmp_path: Path, wrong: str
) -> None:
    record = recorded(recorder, template, tmp_path / "it", Asked(answers=300, batch=30, wrong=(wrong,)))
    found: list[Found] = []
    for at in points(record, 6):
        kept, _, told = cut_at(record, at, tmp_path / str(at))
        found.append(look(kept, told))
    assert any(one.lost for one in found)


def test_a_byte_that_our_layer_would_not_leave_is_seen(work: Record, tmp_path: Path) -> None:
    kept, disk, _ = cut_at(work, points(work, 1)[0], tmp_path / "it")
    path = next(path for path in sorted(kept.rglob("*")) if path.is_file() and path.stat().st_size)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert unlike(disk, kept) != []
