"""A spool keeps what it acknowledged, recognises what it did not, and says so when bytes changed."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.store import spool as spool_module
from freehold.store.frames import OVERHEAD, Frame, Mark, genesis, head_of, read_one, scan
from freehold.store.spool import Note, Spool, SpoolDamaged, SpoolInUse, SpoolUnwritable, left_behind, sweep


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def _payloads(data: bytes) -> list[bytes]:
    at, found = 0, []
    while at < len(data):
        read = read_one(data, at)
        assert not isinstance(read, str), read
        frame, at = read
        found.append(frame.payload)
    return found


def _reopened(spool: Spool) -> Spool:
    spool.close()
    return Spool.open(spool._folder)


def _segments(spool: Spool) -> list[Path]:
    return sorted(spool._folder.glob("*.frames"))


def test_what_was_committed_is_there_after_reopening(parent: Path) -> None:
    spool = Spool.create(parent)
    assert spool.commit([Note(b"one"), Note(b"two")]) == 2
    assert spool.commit([Note(b"three")]) == 3
    again = _reopened(spool)
    assert again.durable == 3
    assert _payloads(again.read(0)) == [b"one", b"two", b"three"]
    assert _payloads(again.read(2)) == [b"three"]
    assert again.commit([Note(b"four")]) == 4
    again.close()


def test_a_spool_has_one_owner(parent: Path) -> None:
    spool = Spool.create(parent)
    with pytest.raises(SpoolInUse):
        Spool.open(spool._folder)
    spool.close()
    Spool.open(left_behind(parent)[0]).close()


def test_a_spool_that_is_being_made_is_nobodys_to_take(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another gateway looks for what was left behind, again and again."""
    real, looked = spool_module.sync_folder, []

    def look(folder: Path) -> None:
        for path in left_behind(folder):
            looked.append(path)
            with pytest.raises(SpoolInUse):
                Spool.open(path)
        real(folder)

    monkeypatch.setattr(spool_module, "sync_folder", look)
    spool = Spool.create(parent)
    assert looked == [parent / spool.id]
    spool.close()


def test_what_a_killed_process_left_half_made_or_half_removed_is_swept(parent: Path) -> None:
    living = Spool.create(parent)
    for name in ("new-spl_without_a_lock", "new-spl_a", ".spl_b"):
        (parent / name).mkdir()
    (parent / "new-spl_a" / "lock").touch()
    (parent / ".spl_b" / "00000000000000000001.frames").write_bytes(b"acknowledged")
    assert sweep(parent) == 3
    assert [path.name for path in parent.iterdir()] == [living.id]
    living.close()


def test_what_is_being_made_is_swept_by_nobody_else(parent: Path) -> None:
    unnamed = parent / "new-spl_a"
    unnamed.mkdir()
    lock = spool_module._locked(unnamed)
    assert sweep(parent) == 0
    os.close(lock)
    assert sweep(parent) == 1


def test_a_spool_that_was_swept_before_it_had_its_lock_is_made_anew(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locking = spool_module._locked, list[Path]()

    def slow(folder: Path) -> int:
        locking.append(folder)
        if len(locking) == 1:
            assert sweep(parent) == 1
        return real(folder)

    monkeypatch.setattr(spool_module, "_locked", slow)
    spool = Spool.create(parent)
    assert [path.name for path in parent.iterdir()] == [spool.id]
    assert locking[0].name != f"new-{spool.id}"
    spool.close()


def test_a_beginning_without_an_end_is_found_at_reopening(parent: Path) -> None:
    spool = Spool.create(parent)
    a, b = bytes([1]) * 16, bytes([2]) * 16
    spool.commit([Note(b"a", Mark.BEGINS, a), Note(b"b", Mark.BEGINS, b)])
    spool.commit([Note(b"end of a", Mark.ENDS, a)])
    again = _reopened(spool)
    assert [frame.payload for frame in again.unfinished] == [b"b"]
    again.close()


def test_a_torn_tail_is_cut_off_and_the_chain_goes_on(parent: Path) -> None:
    spool = Spool.create(parent)
    spool.commit([Note(b"kept")])
    (segment,) = _segments(spool)
    with segment.open("ab") as file:
        file.write(Frame(2, 2, Mark.NOTE, bytes(16), spool._head, b"never acknowledged").encode()[:-3])
    again = _reopened(spool)
    assert again.durable == 1
    assert again.torn > 0
    again.commit([Note(b"next")])
    last = _reopened(again)
    assert _payloads(last.read(0)) == [b"kept", b"next"]
    last.close()


def test_a_changed_byte_that_had_been_durable_is_damage_and_names_the_place(parent: Path) -> None:
    spool = Spool.create(parent)
    spool.commit([Note(b"first")])
    spool.commit([Note(b"second")])
    (segment,) = _segments(spool)
    data = bytearray(segment.read_bytes())
    data[data.index(b"first")] ^= 1
    segment.write_bytes(data)
    with pytest.raises(SpoolDamaged) as damaged:
        _reopened(spool)
    assert segment.name in str(damaged.value)
    assert "byte 0" in str(damaged.value)


def test_a_frame_rewritten_with_a_right_checksum_still_breaks_the_chain(parent: Path) -> None:
    spool = Spool.create(parent)
    spool.commit([Note(b"first")])
    spool.commit([Note(b"second")])
    (segment,) = _segments(spool)
    forged = Frame(1, 1, Mark.NOTE, bytes(16), genesis(spool.id), b"forge")
    segment.write_bytes(forged.encode() + segment.read_bytes()[len(forged.encode()) :])
    with pytest.raises(SpoolDamaged, match="damaged"):
        _reopened(spool)


def test_a_missing_segment_is_damage(parent: Path) -> None:
    spool = Spool.create(parent)
    for text in (b"a", b"b", b"c"):
        spool.commit([Note(text)])
        spool.turn_over()
    _segments(spool)[1].unlink()
    with pytest.raises(SpoolDamaged):
        _reopened(spool)


def test_segments_are_trimmed_after_acknowledgement_but_not_under_an_open_matter(parent: Path) -> None:
    spool = Spool.create(parent)
    matter = bytes([7]) * 16
    spool.commit([Note(b"begin", Mark.BEGINS, matter)])
    spool.turn_over()
    spool.acknowledge(spool.durable)
    assert len(_segments(spool)) == 2
    spool.commit([Note(b"end", Mark.ENDS, matter)])
    spool.turn_over()
    spool.acknowledge(spool.durable)
    assert len(_segments(spool)) == 1
    again = _reopened(spool)
    assert again.commit([Note(b"goes on")]) == again.durable
    again.close()


def test_a_removed_spool_is_gone(parent: Path) -> None:
    spool = Spool.create(parent)
    spool.commit([Note(b"x")])
    spool.remove()
    assert list(parent.iterdir()) == []


def test_reading_goes_on_where_it_stopped_over_segments(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT", 400)
    spool = Spool.create(parent)
    for n in range(20):
        spool.commit([Note(b"%d" % n)])
    assert len(_segments(spool)) > 3
    after, seen = 0, []
    while data := spool.read(after, limit=200):
        payloads = _payloads(data)
        seen += payloads
        after += len(payloads)
    assert seen == [b"%d" % n for n in range(20)]
    spool.close()


def test_a_record_larger_than_a_reading_is_read_alone(parent: Path) -> None:
    spool = Spool.create(parent)
    spool.commit([Note(b"small"), Note(b"L" * 5000), Note(b"small again")])
    assert _payloads(spool.read(0, limit=300)) == [b"small"]
    assert _payloads(spool.read(1, limit=300)) == [b"L" * 5000]
    assert _payloads(spool.read(2, limit=300)) == [b"small again"]
    spool.close()


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """A real limit of the kernel on file sizes; not a fixture: the test's report may itself go to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_and_the_spool_recovers_with_it(parent: Path) -> None:
    spool = Spool.create(parent)
    spool.commit([Note(b"fits")])
    with small_disk(), pytest.raises(SpoolUnwritable) as refused:
        spool.commit([Note(b"x" * 8000)])
    assert refused.value.status == 503
    assert refused.value.why
    spool.commit([Note(b"fits too")])
    again = _reopened(spool)
    assert _payloads(again.read(0)) == [b"fits", b"fits too"]
    again.close()


def test_a_sync_that_fails_leaves_nothing_of_its_batch(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool.create(parent)
    spool.commit([Note(b"kept")])
    real = os.fdatasync

    def fails(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(SpoolUnwritable, match="nothing is answered"):
        spool.commit([Note(b"lost"), Note(b"lost too")])
    monkeypatch.setattr(os, "fdatasync", real)
    assert spool.commit([Note(b"after")]) == 2
    again = _reopened(spool)
    assert _payloads(again.read(0)) == [b"kept", b"after"]
    again.close()


_BATCHES = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), min_size=1, max_size=6)


def _written(batches: list[list[bytes]]) -> tuple[Path, bytes, list[int]]:
    """A spool's folder, its one segment's bytes, and where each batch ends."""
    spool = Spool.create(Path(tempfile.mkdtemp()))
    ends = []
    for batch in batches:
        spool.commit([Note(payload) for payload in batch])
        ends.append(spool.size)
    (segment,) = _segments(spool)
    spool.close()
    return segment, segment.read_bytes(), ends


@settings(max_examples=60, deadline=None)
@given(batches=_BATCHES, data=st.data())
def test_any_prefix_is_a_torn_tail_and_keeps_every_whole_frame(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    segment, whole, _ = _written(batches)
    cut = data.draw(st.integers(0, len(whole)))
    segment.write_bytes(whole[:cut])
    spool = Spool.open(segment.parent)
    kept = _payloads(spool.read(0)) if spool.durable else []
    everything = [payload for batch in batches for payload in batch]
    assert kept == everything[: len(kept)]
    lengths = [OVERHEAD + len(payload) for payload in everything]
    assert sum(lengths[: len(kept)]) <= cut < sum(lengths[: len(kept) + 1]) or cut == len(whole)
    spool.commit([Note(b"goes on")])
    spool.close()
    Spool.open(segment.parent).close()


@settings(max_examples=120, deadline=None)
@given(batches=_BATCHES, data=st.data())
def test_any_flipped_bit_is_recognised(batches: list[list[bytes]], data: st.DataObject) -> None:
    """With a batch after it, it is damage; in the last batch it looks like a torn tail and is cut."""
    segment, whole, ends = _written(batches)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << (bit % 8)
    segment.write_bytes(changed)
    last_batch = bit // 8 >= (ends[-2] if len(ends) > 1 else 0)
    if not last_batch:
        with pytest.raises(SpoolDamaged):
            Spool.open(segment.parent)
        return
    spool = Spool.open(segment.parent)
    kept = _payloads(spool.read(0)) if spool.durable else []
    everything = [payload for batch in batches for payload in batch]
    assert kept == everything[: len(kept)]
    assert len(kept) < len(everything)
    spool.close()


@settings(max_examples=60, deadline=None)
@given(payloads=st.lists(st.binary(max_size=60), min_size=1, max_size=8))
def test_frames_come_back_as_they_were_written(payloads: list[bytes]) -> None:
    head, data, written = genesis("spl_x"), b"", []
    for n, payload in enumerate(payloads, 1):
        frame = Frame(n, 1, Mark(n % 3), bytes([n]) * 16, head, payload)
        written.append(frame)
        data += frame.encode()
        head = head_of(frame.encode())
    found = scan(data, sequence=1, head=genesis("spl_x"))
    assert found.trouble is None
    assert list(found.frames) == written
    assert found.head == head


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_reading_anything_at_all_never_breaks(data: bytes) -> None:
    found = scan(b"FHs1" + data, sequence=1, head=genesis("spl_x"))
    assert found.trouble is not None
