"""Files larger than memory are sealed piece by piece; what was tampered with does not open."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.store.sealed import SealBroken
from freehold.store.sealed_pieces import PIECE, Sealing, opened

KEY = bytes(32)
SEALED = PIECE + 28


def sealed(*pieces: bytes, about: bytes = b"here") -> bytes:
    sink = io.BytesIO()
    sealing = Sealing(KEY, about, sink.write)
    for piece in pieces:
        sealing.feed(piece)
    sealing.finish()
    return sink.getvalue()


def read(data: bytes, about: bytes = b"here") -> bytes:
    return b"".join(opened(KEY, about, io.BytesIO(data)))


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_whatever_comes_in_comes_out(pieces: list[bytes]) -> None:
    assert read(sealed(*pieces)) == b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_every_length_around_a_piece_comes_back(size: int) -> None:
    plain = bytes(i % 251 for i in range(1000)) * (size // 1000 + 1)
    assert read(sealed(plain[:size])) == plain[:size]


def test_the_first_bytes_and_the_length_are_known() -> None:
    sealing = Sealing(KEY, b"here", lambda _: None)
    for _ in range(3):
        sealing.feed(b"\x80\x04" + bytes(400))
    assert (sealing.bytes, len(sealing.head), sealing.head[:2]) == (1206, 512, b"\x80\x04")


WHOLE = sealed(bytes(2 * PIECE + 5))


@pytest.mark.parametrize(
    "damaged",
    [
        WHOLE[:SEALED],
        WHOLE[: 2 * SEALED],
        WHOLE[SEALED:],
        WHOLE[SEALED : 2 * SEALED] + WHOLE[:SEALED] + WHOLE[2 * SEALED :],
        WHOLE[:-1],
        WHOLE[:100] + bytes([WHOLE[100] ^ 1]) + WHOLE[101:],
        WHOLE + WHOLE[2 * SEALED :],
        b"",
    ],
    ids=[
        "first piece only",
        "last left out",
        "first left out",
        "swapped",
        "cut",
        "flipped",
        "longer",
        "nothing",
    ],
)
def test_what_is_left_out_moved_cut_or_changed_does_not_open(damaged: bytes) -> None:
    with pytest.raises(SealBroken):
        read(damaged)


def test_a_file_moved_to_another_place_does_not_open() -> None:
    with pytest.raises(SealBroken):
        read(WHOLE, about=b"there")
