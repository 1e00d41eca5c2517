"""Sealed bytes and signed envelopes: moved, changed or signed by another they no longer hold."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from freehold.store import signing
from freehold.store.sealed import SealBroken, seal, unseal
from freehold.store.signing import Envelope, KeyFileUnusable, SignatureWrong

KEY = bytes(range(32))
SIGNER = Ed25519PrivateKey.from_private_bytes(KEY)
TYPE = "application/vnd.freehold.snapshot+json"


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_sealed_bytes_open_where_they_belong(plain: bytes, about: bytes) -> None:
    assert unseal(KEY, seal(KEY, plain, about), about) == plain


@given(st.data())
def test_sealed_bytes_that_were_changed_moved_or_cut_do_not_open(data: st.DataObject) -> None:
    sealed = seal(KEY, b"water damage", b"ans_1/request")
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[at] ^= data.draw(st.integers(1, 255))
    for key, given_, about in (
        (KEY, bytes(changed), b"ans_1/request"),
        (KEY, sealed[:at], b"ans_1/request"),
        (KEY, sealed, b"ans_2/request"),
        (os.urandom(32), sealed, b"ans_1/request"),
    ):
        with pytest.raises(SealBroken):
            unseal(key, given_, about)


def test_the_same_words_are_sealed_differently_each_time() -> None:
    assert seal(KEY, b"yes", b"") != seal(KEY, b"yes", b"")


@given(st.binary(max_size=300))
def test_an_envelope_gives_its_payload_to_who_has_the_public_key(payload: bytes) -> None:
    envelope = Envelope.from_json(signing.sign(SIGNER, TYPE, payload).as_json())
    assert signing.verify(SIGNER.public_key(), envelope, TYPE) == payload


@pytest.mark.parametrize(
    "change",
    [
        {"payload": b"{} "},
        {"payload_type": "application/json"},
        {"signature": bytes(64)},
        {"signature": b""},
    ],
)
def test_an_envelope_with_anything_changed_does_not_hold(change: dict[str, Any]) -> None:
    envelope = replace(signing.sign(SIGNER, TYPE, b"{}"), **change)
    with pytest.raises(SignatureWrong):
        signing.verify(SIGNER.public_key(), envelope, envelope.payload_type)


def test_an_envelope_of_another_kind_or_another_signer_does_not_count() -> None:
    envelope = signing.sign(SIGNER, TYPE, b"{}")
    with pytest.raises(SignatureWrong, match="manifest"):
        signing.verify(SIGNER.public_key(), envelope, "manifest")
    with pytest.raises(SignatureWrong):
        signing.verify(Ed25519PrivateKey.generate().public_key(), envelope, TYPE)


@pytest.mark.parametrize("data", [{}, [], None, {"payloadType": "x", "payload": "!", "signatures": []}, "x"])
def test_what_is_no_envelope_is_refused(data: Any) -> None:
    with pytest.raises(SignatureWrong):
        Envelope.from_json(data)


def test_a_signing_key_is_read_back_and_is_the_owners_alone(tmp_path: Path) -> None:
    made = signing.new_key_file(tmp_path / "release.key")
    assert (tmp_path / "release.key").stat().st_mode & 0o777 == 0o600
    read = signing.load_key_file(tmp_path / "release.key")
    assert signing.key_id(read.public_key()) == signing.key_id(made.public_key())


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_signing_key_that_is_missing_or_cut_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "release.key").write_bytes(content)
    with pytest.raises(KeyFileUnusable, match=r"release\.key"):
        signing.load_key_file(tmp_path / "release.key")
