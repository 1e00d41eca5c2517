"""Many keys at once: made outside, kept all or none, dropped again."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from freehold.store.keyring import KeyDestroyed, KeyExists, Keyring, derive


def test_keys_made_outside_are_kept_all_or_none(keyring: Keyring) -> None:
    keyring.ensure("dataset/b")
    with pytest.raises(KeyExists):
        keyring.add({"dataset/a": os.urandom(32), "dataset/b": os.urandom(32)})
    with pytest.raises(KeyDestroyed):
        keyring.key("dataset/a")


def test_known_keys_come_by_name_and_unknown_ones_are_left_out(keyring: Keyring) -> None:
    made = {f"subject/p/{n}": os.urandom(32) for n in range(1200)}
    keyring.add(made)
    keyring._open.clear()  # as after a restart
    assert keyring.known([*made, "subject/p/nobody"]) == made


def test_a_dropped_key_is_gone(keyring: Keyring) -> None:
    keyring.add({"chunk/a": os.urandom(32)})
    keyring.drop(["chunk/a", "chunk/never"])
    with pytest.raises(KeyDestroyed):
        keyring.key("chunk/a")


def test_sub_keys_are_those_of_hkdf() -> None:
    key = os.urandom(32)
    peer = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"commitment").derive(key)
    assert derive(key, "commitment") == peer
