"""Whoever holds the public half can write and cannot read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.store import hpke
from freehold.store.sealed import SealBroken


def test_a_key_pair_lies_in_two_files_that_only_we_read(tmp_path: Path) -> None:
    public = hpke.new_key_file(tmp_path / "spool.hpke", tmp_path / "spool.hpke.pub")
    private = (tmp_path / "spool.hpke").read_bytes()
    assert len(private) == len(public) == 32
    assert (tmp_path / "spool.hpke.pub").read_bytes() == public == hpke.public_of(private)
    assert stat.S_IMODE((tmp_path / "spool.hpke").stat().st_mode) == 0o600


@given(plain=st.binary(max_size=2000), about=st.binary(max_size=200), data=st.data())
def test_what_is_sealed_opens_there_and_nowhere_else(plain: bytes, about: bytes, data: st.DataObject) -> None:
    private, other = bytes(range(32)), bytes(range(1, 33))
    sealed = hpke.seal_to(hpke.public_of(private), plain, about)
    assert hpke.open_with(private, sealed, about) == plain
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[place] ^= data.draw(st.integers(1, 255))
    for key, text, where in (
        (other, sealed, about),
        (private, sealed, about + b"x"),
        (private, bytes(changed), about),
        (private, sealed[:place], about),
    ):
        with pytest.raises(SealBroken):
            hpke.open_with(key, text, where)


def test_sealing_twice_gives_different_bytes() -> None:
    public = hpke.public_of(bytes(range(32)))
    assert hpke.seal_to(public, b"x", b"") != hpke.seal_to(public, b"x", b"")


def test_something_that_is_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        hpke.seal_to(b"short", b"x", b"")
    with pytest.raises(SealBroken):
        hpke.open_with(b"short", b"x" * 60, b"")
