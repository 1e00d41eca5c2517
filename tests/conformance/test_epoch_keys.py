"""What every place of the epoch key does: a file, and a PKCS #11 module (SoftHSM); a crash at every step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soft_hsm

from freehold.spec.config import Hsm
from freehold.store.epoch import EpochKeyMissing, EpochKeys, FileEpoch
from freehold.store.home import Home
from freehold.store.hsm import HsmAway, HsmEpoch, PinMissing
from freehold.store.keyring import EpochKeyWrong, KeyDestroyed, Keyring

ANNA, BOB = "subject/claims/anna", "subject/claims/bob"
Epochs = Callable[[], EpochKeys]


class PowerCut(BaseException):
    """The process is gone at this point."""


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Hsm]]:
    """Makes tokens. The library reads its settings once in a process, so it is one folder for all."""
    soft_hsm.library()
    folder = tmp_path_factory.mktemp("hsm")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in soft_hsm.configure(folder).items():
            patched.setenv(name, value)
        numbers = iter(range(1000))
        yield lambda: soft_hsm.new_token(folder, f"freehold-{next(numbers)}")


@pytest.fixture(params=["file", "hsm"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "fh")
    made.create()
    return made


@pytest.fixture
def epochs(kind: str, home: Home, request: pytest.FixtureRequest) -> Epochs:
    """Opens the place anew, as another process would."""
    if kind == "file":
        return lambda: FileEpoch(home.epoch_key)
    token = request.getfixturevalue("hsm")()
    return lambda: HsmEpoch(home.epoch_key, token)


@pytest.fixture
def keyring(home: Home, epochs: Epochs) -> Iterator[Keyring]:
    epochs().create()
    ring = Keyring(home.keyring, epochs())
    yield ring
    ring.close()


def test_keys_come_back_after_a_restart(home: Home, keyring: Keyring, epochs: Epochs) -> None:
    (anna,) = keyring.ensure(ANNA)
    epochs().create()  # again: what is there stays
    again = Keyring(home.keyring, epochs())
    assert again.key(ANNA) == anna
    again.close()


def test_the_keyring_changes_to_a_new_epoch_key_while_it_is_used(keyring: Keyring) -> None:
    anna, bob = keyring.ensure(ANNA, BOB)
    before = keyring.epoch
    assert keyring.rotate() == 2
    assert keyring.epoch != before
    assert keyring.known([ANNA, BOB]) == {ANNA: anna, BOB: bob}


def test_a_copy_of_everything_from_before_opens_nothing(
    home: Home, keyring: Keyring, epochs: Epochs, kind: str, tmp_path: Path
) -> None:
    """Keyring and epoch key copied, a key destroyed: with an HSM even both copies open nothing."""
    _, bob = keyring.ensure(ANNA, BOB)
    shutil.copytree(home.control, tmp_path / "copy")
    assert keyring.destroy([ANNA]) == 1
    with pytest.raises(KeyDestroyed):
        keyring.key(ANNA)
    assert keyring.key(BOB) == bob
    with pytest.raises(EpochKeyWrong):
        Keyring(tmp_path / "copy" / "keyring.db", epochs())
    if kind == "hsm":
        current = epochs()
        assert isinstance(current, HsmEpoch)
        stolen = HsmEpoch(tmp_path / "copy" / "epoch.key", current._hsm)
        with pytest.raises(EpochKeyMissing, match="does not have its key"):
            Keyring(tmp_path / "copy" / "keyring.db", stolen)


@pytest.mark.parametrize(
    ("where", "after", "destroyed"),
    [
        ("prepare", False, False),
        ("prepare", True, False),
        ("take_place", False, True),
        ("take_place", True, True),
    ],
)
def test_a_crash_leaves_the_old_keyring_or_the_new_one(
    home: Home,
    keyring: Keyring,
    epochs: Epochs,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    after: bool,
    destroyed: bool,
) -> None:
    _, bob = keyring.ensure(ANNA, BOB)
    with monkeypatch.context() as patched:
        _cut(patched, type(epochs()), where, after=after)
        with pytest.raises(PowerCut):
            keyring.destroy([ANNA])
    again = Keyring(home.keyring, epochs())
    assert again.key(BOB) == bob
    assert (ANNA in again.names("subject/")) is not destroyed
    assert again.destroy([ANNA]) == 1
    assert again.names("") == [BOB]
    again.close()
    assert sorted(path.name for path in home.control.glob("epoch.key*")) == ["epoch.key"]


def _cut(patched: pytest.MonkeyPatch, where: type, name: str, *, after: bool) -> None:
    """The power fails before or after this."""
    real = getattr(where, name)

    def cutting(*given: object) -> object:
        if after:
            real(*given)
        raise PowerCut

    patched.setattr(where, name, cutting)


def test_while_a_change_cannot_be_finished_nothing_is_wrapped_by_the_old_key(
    home: Home, keyring: Keyring, epochs: Epochs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All keys have changed already, and the module goes away before the new one is in its place."""
    keyring.ensure(ANNA)
    with monkeypatch.context() as patched:
        patched.setattr(type(epochs()), "take_place", _away)
        with pytest.raises(HsmAway):
            keyring.rotate()
        with pytest.raises(HsmAway):
            keyring.ensure(BOB)
    (bob,) = keyring.ensure(BOB)  # it is back
    again = Keyring(home.keyring, epochs())
    assert again.key(BOB) == bob
    again.close()


def _away(_: object) -> None:
    raise HsmAway(token="freehold")


# -- the file alone ---------------------------------------------------------------------------------------


def test_the_old_epoch_key_is_overwritten(home: Home) -> None:
    FileEpoch(home.epoch_key).create()
    ring = Keyring(home.keyring, home.epoch_key)
    ring.ensure(ANNA)
    old = home.epoch_key.read_bytes()
    beside = home.epoch_key.with_name("a-link-to-the-old-file")
    os.link(home.epoch_key, beside)
    ring.destroy([ANNA])
    ring.close()
    assert beside.read_bytes() != old


# -- the module alone -------------------------------------------------------------------------------------


@pytest.fixture
def module(hsm: Callable[[], Hsm], home: Home) -> HsmEpoch:
    made = HsmEpoch(home.epoch_key, hsm())
    made.create()
    return made


def keys_in(hsm: Hsm) -> list[object]:
    import pkcs11

    with pkcs11.lib(hsm.module).get_token(token_label=hsm.token).open(user_pin=soft_hsm.PIN) as session:
        return [bytes(key[pkcs11.Attribute.ID]) for key in session.get_objects()]


def test_the_file_holds_no_key_and_the_module_gives_none(module: HsmEpoch, home: Home) -> None:
    import pkcs11

    assert module.read() not in home.epoch_key.read_bytes()
    token = pkcs11.lib(module._hsm.module).get_token(token_label=module._hsm.token)
    with token.open(user_pin=soft_hsm.PIN) as session:
        (key,) = session.get_objects()
        assert key[pkcs11.Attribute.SENSITIVE]
        assert not key[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_a_crash_before_the_old_key_is_destroyed_in_the_module_is_made_good(
    module: HsmEpoch, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Keyring(home.keyring, module)
    ring.ensure(ANNA)
    (old,) = keys_in(module._hsm)
    with monkeypatch.context() as patched:
        _cut(patched, HsmEpoch, "_destroy", after=False)
        with pytest.raises(PowerCut):
            ring.rotate()
    ring.close()
    assert len(keys_in(module._hsm)) == 2
    Keyring(home.keyring, HsmEpoch(home.epoch_key, module._hsm)).close()
    (new,) = keys_in(module._hsm)
    assert new != old


def test_a_crash_while_a_key_that_never_came_is_destroyed_is_made_good(
    module: HsmEpoch, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Keyring(home.keyring, module)
    (anna,) = ring.ensure(ANNA)
    with monkeypatch.context() as patched:
        _cut(patched, HsmEpoch, "prepare", after=True)
        with pytest.raises(PowerCut):
            ring.rotate()
    ring.close()
    with monkeypatch.context() as patched:
        _cut(patched, HsmEpoch, "_destroy", after=True)
        with pytest.raises(PowerCut):
            Keyring(home.keyring, HsmEpoch(home.epoch_key, module._hsm))
    again = Keyring(home.keyring, HsmEpoch(home.epoch_key, module._hsm))
    assert again.key(ANNA) == anna
    again.close()
    assert len(keys_in(module._hsm)) == 1


def test_a_key_in_a_file_moves_into_the_module_with_the_next_change(
    hsm: Callable[[], Hsm], home: Home, tmp_path: Path
) -> None:
    FileEpoch(home.epoch_key).create()
    ring = Keyring(home.keyring, home.epoch_key)
    (anna,) = ring.ensure(ANNA)
    ring.close()
    old = home.epoch_key.read_bytes()
    os.link(home.epoch_key, tmp_path / "a-link-to-the-old-file")
    token = hsm()
    ring = Keyring(home.keyring, HsmEpoch(home.epoch_key, token))
    assert ring.key(ANNA) == anna
    ring.rotate()
    assert ring.key(ANNA) == anna
    ring.close()
    assert len(home.epoch_key.read_bytes()) > 32
    assert (tmp_path / "a-link-to-the-old-file").read_bytes() != old
    with pytest.raises(EpochKeyMissing, match="hardware security module"):
        Keyring(home.keyring, home.epoch_key)


def test_what_is_wrong_with_the_module_is_told(module: HsmEpoch, home: Home, tmp_path: Path) -> None:
    from dataclasses import replace

    said = module._hsm
    with pytest.raises(HsmAway, match="no-such-token"):
        HsmEpoch(home.epoch_key, replace(said, token="no-such-token")).read()
    with pytest.raises(HsmAway):
        HsmEpoch(home.epoch_key, replace(said, module="/no/such/library.so")).read()
    (tmp_path / "wrong.pin").write_text("0000")
    (tmp_path / "wrong.pin").chmod(0o600)
    with pytest.raises(HsmAway) as told:
        HsmEpoch(home.epoch_key, replace(said, pin_file=str(tmp_path / "wrong.pin"))).read()
    assert "0000" not in str(told.value)
    (tmp_path / "wrong.pin").chmod(0o644)
    with pytest.raises(PinMissing, match="chmod 600"):
        HsmEpoch(home.epoch_key, replace(said, pin_file=str(tmp_path / "wrong.pin"))).read()
