"""Destroyed keys stay destroyed: in older copies, after a crash anywhere, in another process's memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from freehold.store import keyring as module
from freehold.store.home import Home
from freehold.store.keyring import EpochKeyWrong, KeyDestroyed, Keyring

ANNA, BOB = "subject/claims/anna", "subject/claims/bob"


class PowerCut(BaseException):
    """The process is gone at this point."""


def opened(home: Home) -> Keyring:
    return Keyring(home.keyring, home.epoch_key)


def test_an_older_copy_of_the_keyring_opens_nothing(home: Home, keyring: Keyring, tmp_path: Path) -> None:
    _, bob = keyring.ensure(ANNA, BOB)
    copy = tmp_path / "copy.db"
    shutil.copy(home.keyring, copy)
    assert keyring.destroy([ANNA]) == 1
    with pytest.raises(EpochKeyWrong):
        Keyring(copy, home.epoch_key)
    with pytest.raises(KeyDestroyed):
        keyring.key(ANNA)
    assert keyring.key(BOB) == bob
    assert not home.epoch_key.with_name("epoch.key.next").exists()


def test_a_crash_while_keys_change_leaves_all_of_them(
    home: Home, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REWRAPPED", 10)
    keys = keyring.ensure(*(f"dataset/{n}" for n in range(35)))
    with monkeypatch.context() as patched:
        sealed = module.seal

        def seal(key: bytes, plain: bytes, about: bytes) -> bytes:
            if about == b"dataset/30":
                raise PowerCut
            return sealed(key, plain, about)

        patched.setattr(module, "seal", seal)
        with pytest.raises(PowerCut):
            keyring.destroy(["dataset/1"])
    again = opened(home)
    assert again.ensure(*(f"dataset/{n}" for n in range(35))) == keys
    assert again.destroy(["dataset/1"]) == 34
    again.close()


def test_another_process_forgets_what_it_had_open(home: Home, keyring: Keyring) -> None:
    """Another control had the key in its memory when this one destroyed it."""
    other = opened(home)
    _, bob = other.ensure(ANNA, BOB)
    keyring.destroy([ANNA])
    with pytest.raises(KeyDestroyed):
        other.key(ANNA)
    assert other.known([ANNA, BOB]) == {BOB: bob}
    (new,) = other.ensure("dataset/new")
    assert keyring.key("dataset/new") == new
    other.close()


def test_the_old_epoch_key_is_overwritten(home: Home, keyring: Keyring) -> None:
    keyring.ensure(ANNA)
    old = home.epoch_key.read_bytes()
    beside = home.epoch_key.with_name("a-link-to-the-old-file")
    os.link(home.epoch_key, beside)
    keyring.destroy([ANNA])
    assert beside.read_bytes() != old
