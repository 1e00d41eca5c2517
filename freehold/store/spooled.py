"""What a gateway puts into its spool and control takes out: beginnings, turns, ends, and sealed words.

An end that says `answered` can be followed by another end of the same answer that says otherwise: the
disk was so slow that the answer did not leave. The later one is true.

Words are sealed under a key that the gateway makes and seals to control (HPKE); that sealed key rides
with every record, so that control opens each on its own and the gateway itself opens none that an
earlier process wrote.
"""

from __future__ import annotations

import hashlib

import msgspec

from freehold.spec.answer import Again, Close, Intent, Turn

WORDS_KEY = b"freehold spool words"
"""What the sealed content key is about (HPKE info)."""


class Box(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`spec.answer.Words`, sealed."""

    key: bytes
    """The content key, sealed to control."""
    sealed: bytes
    """The words under it (AES-256-GCM), bound to the answer's id."""


class Began(msgspec.Struct, frozen=True, tag="began", forbid_unknown_fields=True):
    """An answer began."""

    intent: Intent


class Turned(msgspec.Struct, frozen=True, tag="turned", forbid_unknown_fields=True):
    """It went on with another target."""

    turn: Turn


class Ended(msgspec.Struct, frozen=True, tag="ended", forbid_unknown_fields=True):
    """It ended."""

    close: Close
    words: Box | None = None


class Repeated(msgspec.Struct, frozen=True, tag="repeated", forbid_unknown_fields=True):
    """It was given again."""

    again: Again


Spooled = Began | Turned | Ended | Repeated
_DECODER = msgspec.msgpack.Decoder(Spooled)
_ENCODER = msgspec.msgpack.Encoder()


def pack(record: Spooled | msgspec.Struct) -> bytes:
    """A record as it lies in a frame."""
    return _ENCODER.encode(record)


def unpack(payload: bytes) -> Spooled:
    """Back from a frame's payload. Raises msgspec.ValidationError or msgspec.DecodeError."""
    try:
        record: Spooled = _DECODER.decode(payload)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError("a text in it is not UTF-8") from error
    return record


def matter_of(answer: str) -> bytes:
    """The 16 bytes by which a spool pairs an answer's beginning with its end."""
    return hashlib.sha256(answer.encode()).digest()[:16]
