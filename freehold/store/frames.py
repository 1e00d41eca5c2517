"""How one record lies in a spool: a frame with a checksum, chained to the frame before it.

::

    magic 4 | length 4 | sequence 8 | durable 8 | mark 1 | matter 16 | previous 32 | payload … | crc 4

Little-endian. `previous` is the SHA-256 of the whole frame before (of the spool's name for the
first), so that a frame changed together with its checksum still breaks the chain. `durable` is the
first sequence that was not yet synced when the frame was written: everything below it had reached
the disk. That one number tells a torn tail (the last, unacknowledged write of a dying process) from
damage (bytes that had been durable and are not what they were).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import msgspec

MAGIC = b"FHs1"
MAX_PAYLOAD = 48 << 20
_HEAD = struct.Struct("<4sIQQB16s32s")
_CRC = struct.Struct("<I")
OVERHEAD = _HEAD.size + _CRC.size
NO_MATTER = bytes(16)


class Mark(IntEnum):
    """What a frame does to the matter it names."""

    NOTE = 0
    BEGINS = 1
    ENDS = 2


_MARKS = tuple(Mark)


class Frame(msgspec.Struct, frozen=True):
    """One record as it lies on disk."""

    sequence: int
    durable: int
    mark: Mark
    matter: bytes
    """16 bytes that pair a beginning with its end; zero for a note."""
    previous: bytes
    payload: bytes

    def encode(self) -> bytes:
        """The bytes, checksum last."""
        head = _HEAD.pack(
            MAGIC,
            len(self.payload),
            self.sequence,
            self.durable,
            self.mark,
            self.matter,
            self.previous,
        )
        body = head + self.payload
        return body + _CRC.pack(zlib.crc32(body))


@dataclass(frozen=True, slots=True)
class Trouble:
    """The first place where the chain does not go on."""

    offset: int
    why: str
    damaged: bool
    """True when a later frame proves that this place had been durable; else it is a torn tail."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment holds: the frames that follow each other, and what comes after them, if anything."""

    frames: tuple[Frame, ...]
    length: int
    """Bytes of the frames that hold."""
    head: bytes | None
    """The chain hash after the last of them; None when there is none and none was given."""
    trouble: Trouble | None


def genesis(name: str) -> bytes:
    """What the first frame of the spool `name` is chained to."""
    return hashlib.sha256(b"freehold spool\n" + name.encode()).digest()


def head_of(encoded: bytes) -> bytes:
    """The chain hash after a frame: SHA-256 over the frame, which carries the hash before it."""
    return hashlib.sha256(encoded).digest()


def read_one(data: bytes, offset: int) -> tuple[Frame, int] | str:
    """The frame at `offset` and where it ends, or why there is none."""
    read = pass_one(data, offset)
    if isinstance(read, str):
        return read
    sequence, end = read
    _, _, _, durable, mark, matter, previous = _HEAD.unpack_from(data, offset)
    payload = data[offset + _HEAD.size : end - _CRC.size]
    return Frame(sequence, durable, _MARKS[mark], matter, previous, payload), end


def pass_one(data: bytes, offset: int) -> tuple[int, int] | str:
    """The sequence of the frame at `offset` and where it ends, or why there is none."""
    if len(data) - offset < OVERHEAD:
        return "cut short"
    magic, length, sequence, _, mark, _, _ = _HEAD.unpack_from(data, offset)
    if magic != MAGIC:
        return "no frame begins here"
    end = offset + OVERHEAD + length
    if length > MAX_PAYLOAD or end > len(data):
        return "cut short"
    (crc,) = _CRC.unpack_from(data, end - _CRC.size)
    if zlib.crc32(memoryview(data)[offset : end - _CRC.size]) != crc:
        return "its checksum does not hold"
    if mark >= len(_MARKS):
        return "its mark is unknown"
    return sequence, end


def scan(data: bytes, *, sequence: int, head: bytes | None) -> Scan:
    """Read frames from the start of `data`, where `sequence` and the chain hash `head` should go on.

    Without a `head` the first frame's own is believed: its predecessors were trimmed away.
    """
    frames: list[Frame] = []
    offset = 0
    while offset < len(data):
        read = read_one(data, offset)
        if isinstance(read, str):
            trouble = Trouble(offset, read, _was_durable(data, offset, sequence))
            return Scan(tuple(frames), offset, head, trouble)
        if why := _break(read[0], sequence, head):
            # a whole frame that follows something else: no dying process leaves that behind
            return Scan(tuple(frames), offset, head, Trouble(offset, why, damaged=True))
        frame, end = read
        frames.append(frame)
        sequence, head, offset = frame.sequence + 1, head_of(data[offset:end]), end
    return Scan(tuple(frames), offset, head, None)


def _break(frame: Frame, sequence: int, head: bytes | None) -> str:
    if frame.sequence != sequence:
        return f"sequence {frame.sequence} where {sequence} was due"
    if head is not None and frame.previous != head:
        return "it is not chained to the frame before it"
    return ""


def _was_durable(data: bytes, offset: int, sequence: int) -> bool:
    """Whether a frame further on says that `sequence` had been synced before it was written."""
    return any(frame.durable > sequence for frame in salvage(data, offset + 1))


def salvage(data: bytes, offset: int = 0) -> Iterator[Frame]:
    """Every frame from `offset` on whose own checksum holds, chained or not."""
    while (offset := data.find(MAGIC, offset)) >= 0:
        read = read_one(data, offset)
        if isinstance(read, str):
            offset += 1
            continue
        frame, offset = read
        yield frame
