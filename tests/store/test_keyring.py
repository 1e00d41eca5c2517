"""Keys come back as they were made, open only where they belong, and are gone when destroyed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from freehold.store.home import Home
from freehold.store.keyring import EpochKeyMissing, EpochKeyWrong, KeyDestroyed, Keyring
from freehold.store.rows import DatabaseDamaged
from freehold.store.sealed import SealBroken, seal, unseal


def reopened(home: Home) -> Keyring:
    return Keyring(home.keyring, home.control / "epoch.key")


def test_a_key_made_once_is_the_same_after_a_restart(home: Home, keyring: Keyring) -> None:
    made = keyring.ensure("subject/claims/ab", "dataset/ds_1", "subject/claims/ab")
    assert made[0] == made[2] != made[1]
    again = reopened(home)
    assert again.ensure("subject/claims/ab", "dataset/ds_1") == made[:2]
    again.close()


def test_a_key_that_was_never_made_is_told(keyring: Keyring) -> None:
    with pytest.raises(KeyDestroyed, match="dataset/nothing"):
        keyring.key("dataset/nothing")


def test_a_destroyed_key_opens_nothing_any_more(home: Home, keyring: Keyring) -> None:
    (key,) = keyring.ensure("subject/claims/ab")
    sealed = seal(key, b"water damage", b"ans_1/request")
    keyring.drop(["subject/claims/ab"])
    for ring in (keyring, reopened(home)):
        with pytest.raises(KeyDestroyed):
            ring.key("subject/claims/ab")
        (new,) = ring.ensure("subject/claims/ab")
        with pytest.raises(SealBroken):
            unseal(new, sealed, b"ans_1/request")
        ring.drop(["subject/claims/ab"])
        if ring is not keyring:
            ring.close()


def test_no_key_stands_in_the_file_in_clear(home: Home, keyring: Keyring) -> None:
    keys = keyring.ensure(*(f"dataset/{n}" for n in range(50)))
    stored = home.keyring.read_bytes()
    assert not any(key in stored for key in keys)
    assert home.keyring.stat().st_mode & 0o777 == 0o600


def test_a_wrapped_key_moved_to_another_name_does_not_open(home: Home, keyring: Keyring) -> None:
    keyring.ensure("subject/claims/ab", "subject/claims/cd")
    with closing(sqlite3.connect(home.keyring)) as raw, raw:
        raw.execute(
            "UPDATE keys SET wrapped = (SELECT wrapped FROM keys WHERE name = 'subject/claims/ab')"
            " WHERE name = 'subject/claims/cd'"
        )
    with pytest.raises(SealBroken):
        keyring.key("subject/claims/cd")


def test_a_secret_somebody_gave_us_is_replaced_by_a_newer_one(keyring: Keyring) -> None:
    keyring.put("provider/claims-chat", b"sk-old")
    assert keyring.key("provider/claims-chat") == b"sk-old"
    keyring.put("provider/claims-chat", b"sk-new")
    assert keyring.key("provider/claims-chat") == b"sk-new"


def test_a_person_has_another_name_in_every_project(keyring: Keyring) -> None:
    assert keyring.subject("claims", "anna-k") == keyring.subject("claims", "anna-k")
    assert keyring.subject("claims", "anna-k") != keyring.subject("sales", "anna-k")


def test_another_epoch_key_is_refused_before_anything_is_sealed_with_it(home: Home, keyring: Keyring) -> None:
    keyring.ensure("dataset/ds_1")
    (home.control / "epoch.key").write_bytes(os.urandom(32))
    with pytest.raises(EpochKeyWrong, match=r"epoch\.key"):
        reopened(home)


@pytest.mark.parametrize("content", [None, b"", b"short", bytes(33)])
def test_an_epoch_key_that_is_missing_or_cut_is_told(
    home: Home, keyring: Keyring, content: bytes | None
) -> None:
    path = home.control / "epoch.key"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EpochKeyMissing, match=r"epoch\.key"):
        reopened(home)


def test_an_epoch_key_is_never_written_over(home: Home) -> None:
    path = home.control / "epoch.key"
    Keyring.create_epoch_key(path)
    before = path.read_bytes()
    Keyring.create_epoch_key(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_keyring_is_told(home: Home) -> None:
    Keyring.create_epoch_key(home.control / "epoch.key")
    home.keyring.write_bytes(b"these are somebody's notes, " * 200)
    with pytest.raises(DatabaseDamaged):
        reopened(home)


def test_a_failed_change_leaves_the_keyring_as_it_was_and_usable(keyring: Keyring) -> None:
    keyring.ensure("dataset/a")
    with pytest.raises(ZeroDivisionError):
        _fail_in_the_middle(keyring)
    keyring._open.clear()
    assert keyring.key("dataset/a")
    keyring.ensure("dataset/b")


def _fail_in_the_middle(keyring: Keyring) -> None:
    with keyring._changing() as db:
        db.execute("DELETE FROM keys")
        raise ZeroDivisionError


@pytest.mark.parametrize("ask", ["key", "known"])
def test_an_epoch_key_that_another_control_changes_in_the_middle_of_a_look_is_taken_anew(
    home: Home, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    (key,) = keyring.ensure("dataset/a")
    another, look = Keyring(home.keyring, home.epoch_key), keyring._look
    rotations = iter(range(2))

    def look_and_be_overtaken() -> None:
        look()
        if next(rotations, None) is not None:
            another.rotate()

    monkeypatch.setattr(keyring, "_look", look_and_be_overtaken)
    keyring._open.clear()
    found = keyring.key("dataset/a") if ask == "key" else keyring.known(["dataset/a"])["dataset/a"]
    assert found == key
    another.close()
