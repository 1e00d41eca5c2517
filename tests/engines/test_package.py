"""Nothing is loaded that is not exactly what was signed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosting import Signed, fake_files, host_arguments, write_rules, write_signed

from freehold.engines import identity
from freehold.engines.host import main, read_envelope, read_public
from freehold.engines.identity import OtherEngine
from freehold.engines.package import ModelChanged, load_verified, manifest_bytes, read_manifest
from freehold.errors import Tampered
from freehold.spec.snapshot import Column
from freehold.store.signing import SignatureWrong

INPUTS = (Column(name="text", datatype="BYTES"),)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return write_signed(tmp_path / "m", {**fake_files(INPUTS), "extra.txt": b"words"}, engine="fake")


def load(signed: Signed) -> object:
    return load_verified(signed.folder, read_envelope(signed.envelope), read_public(signed.public))


def test_an_untouched_model_loads(signed: Signed) -> None:
    assert load(signed) == signed.manifest


def flip(signed: Signed) -> None:
    (signed.folder / "extra.txt").write_bytes(b"wordz")


def drop(signed: Signed) -> None:
    (signed.folder / "extra.txt").unlink()


def add(signed: Signed) -> None:
    (signed.folder / "more.bin").write_bytes(b"")


def add_below(signed: Signed) -> None:
    (signed.folder / "sub").mkdir()
    (signed.folder / "sub" / "more.bin").write_bytes(b"")


def link(signed: Signed) -> None:
    (signed.folder / "extra.txt").rename(signed.folder.parent / "words")
    (signed.folder / "extra.txt").symlink_to(signed.folder.parent / "words")


def link_folder(signed: Signed) -> None:
    (signed.folder / "sub").symlink_to(signed.folder.parent)


def pipe(signed: Signed) -> None:
    os.mkfifo(signed.folder / "pipe")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (flip, "`extra.txt` has another digest"),
        (drop, "`extra.txt` is missing"),
        (add, "`more.bin` is not in the manifest"),
        (add_below, "`sub/more.bin` is not in the manifest"),
        (link, "`extra.txt` is a link"),
        (link_folder, "`sub` is a link"),
        (pipe, "`pipe` is no plain file"),
    ],
)
def test_a_changed_folder_is_refused_and_the_change_is_named(
    signed: Signed, change: Callable[[Signed], None], says: str
) -> None:
    change(signed)
    with pytest.raises(ModelChanged) as refused:
        load(signed)
    assert says in refused.value.why


def test_another_key_is_refused(signed: Signed) -> None:
    signed.public.write_bytes(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(SignatureWrong):
        load(signed)


def test_a_manifest_changed_after_signing_is_refused(signed: Signed) -> None:
    said = json.loads(signed.envelope.read_text())
    said["payload"] = said["payload"][:-8] + "AAAA" + said["payload"][-4:]
    signed.envelope.write_text(json.dumps(said))
    with pytest.raises(SignatureWrong):
        load(signed)


def test_another_engine_version_is_refused_and_both_are_named(tmp_path: Path) -> None:
    signed = write_signed(
        tmp_path / "m", fake_files(INPUTS), engine="fake", change={"engine": "onnxruntime 0.0.1"}
    )
    with pytest.raises(OtherEngine) as refused:
        load(signed)
    assert "onnxruntime 0.0.1" in refused.value.why
    assert identity.engine() in refused.value.why


def test_another_flag_is_refused_by_its_name(tmp_path: Path) -> None:
    flags = {**identity.flags("fake"), "features": "0"}
    signed = write_signed(tmp_path / "m", fake_files(INPUTS), engine="fake", change={"engine_flags": flags})
    with pytest.raises(OtherEngine) as refused:
        load(signed)
    assert refused.value.why == f"features: approved 0, here {identity.FEATURES}"


def test_a_manifest_that_says_something_else_than_the_folder_is_refused(tmp_path: Path) -> None:
    files = fake_files(INPUTS)
    other = write_signed(tmp_path / "other", fake_files(INPUTS, classes=("x", "y")), engine="fake")
    signed = write_signed(tmp_path / "m", files, engine="fake", change={"about": other.manifest.about})
    with pytest.raises(ModelChanged) as refused:
        load(signed)
    assert "say different things" in refused.value.why


def test_a_manifest_may_not_name_a_file_outside_the_folder(tmp_path: Path) -> None:
    base = write_signed(tmp_path / "base", fake_files(INPUTS), engine="fake")
    entry = type(base.manifest.files[0])(path="../release.pub", digest="sha256:" + "0" * 64, bytes=32)
    signed = write_signed(
        tmp_path / "m",
        fake_files(INPUTS),
        engine="fake",
        change={"files": (*base.manifest.files, entry)},
    )
    with pytest.raises(ModelChanged) as refused:
        load(signed)
    assert "outside the folder" in refused.value.why


def test_a_manifest_survives_being_written(signed: Signed) -> None:
    assert read_manifest(manifest_bytes(signed.manifest)) == signed.manifest


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"about": {}, "files": []}'])
def test_what_is_no_manifest_is_refused(payload: bytes) -> None:
    with pytest.raises(ModelChanged):
        read_manifest(payload)


def test_the_serving_digest_follows_the_engine_and_not_the_run(signed: Signed) -> None:
    m = signed.manifest
    fields = {name: getattr(m, name) for name in type(m).__dataclass_fields__}
    about = type(m.about)(
        **{name: getattr(m.about, name) for name in type(m.about).__dataclass_fields__} | {"run": "run_9"}
    )
    assert type(m)(**{**fields, "about": about, "name": "other"}).serving_digest == m.serving_digest
    assert type(m)(**{**fields, "engine": "fake 2"}).serving_digest != m.serving_digest


@pytest.mark.parametrize("change", [flip, drop, add, link])
def test_the_engine_process_refuses_with_exit_code_8_and_says_why(
    signed: Signed, change: Callable[[Signed], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(signed)
    assert main(host_arguments(signed, tmp_path / "e.sock")) == Tampered.exit_code
    assert "is not what was signed" in capsys.readouterr().err
    assert not (tmp_path / "e.sock").exists()


@pytest.mark.parametrize("missing", ["envelope", "public"])
def test_without_envelope_or_key_nothing_is_verified(
    signed: Signed, missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    getattr(signed, missing).unlink()
    assert main(host_arguments(signed, tmp_path / "e.sock")) == Tampered.exit_code
    assert "cannot be verified" in capsys.readouterr().err


def _revoke(signed: Signed, key: Ed25519PrivateKey) -> None:
    write_rules(signed.rules, key, [signed.manifest.serving_digest])


def _remove_rules(signed: Signed, _key: Ed25519PrivateKey) -> None:
    signed.rules.unlink()


def _sign_by_another(signed: Signed, _key: Ed25519PrivateKey) -> None:
    write_rules(signed.rules, Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (_revoke, "it learned from somebody who was forgotten"),
        (_remove_rules, "nothing says that the model may be served"),
        (_sign_by_another, "signed by another key"),
    ],
)
def test_an_engine_that_somebody_starts_by_hand_refuses_what_is_revoked(
    plant: Callable[[Signed, Ed25519PrivateKey], None],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = Ed25519PrivateKey.generate()
    signed = write_signed(tmp_path / "s", fake_files(INPUTS), engine="fake", key=key)
    plant(signed, key)
    assert main(host_arguments(signed, tmp_path / "e.sock")) == Tampered.exit_code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "e.sock").exists()


def test_a_socket_path_that_is_too_long_is_told(
    signed: Signed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(host_arguments(signed, tmp_path / ("e" * 200))) == 9
    assert "107 bytes at most" in capsys.readouterr().err
