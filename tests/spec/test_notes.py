"""Signed notes and checkpoints: what holds is read, everything else is refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from freehold.ledger.notes import sign_checkpoint, sign_note, verifier_key
from freehold.spec.notes import Checkpoint, NoteWrong, VerifierKey, open_note, read_checkpoint

ORIGIN = "freehold.local/0a1b2c3d"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = verifier_key(KEY, ORIGIN)

# the key and note that the documentation of Go's golang.org/x/mod/sumdb/note shows
FOREIGN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
FOREIGN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
    "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_that_another_implementation_signed_is_read() -> None:
    text = open_note(FOREIGN_NOTE, VerifierKey.parse(FOREIGN_KEY))
    assert text.startswith("If you think cryptography")
    assert str(VerifierKey.parse(FOREIGN_KEY)) == FOREIGN_KEY


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_comes_back_as_it_was_signed(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root)
    assert read_checkpoint(sign_checkpoint(checkpoint, KEY), PUBLIC) == checkpoint


@given(st.data())
def test_no_character_of_a_signed_checkpoint_can_be_changed(data: st.DataObject) -> None:
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=7, root=bytes(32)), KEY)
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != note[at]))
    changed = note[:at] + other + note[at + 1 :]
    with pytest.raises(NoteWrong):
        read_checkpoint(changed, PUBLIC)


def test_the_bits_that_base64_does_not_use_cannot_be_changed_either() -> None:
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=7, root=bytes(32)), KEY)
    last = note[-3]  # before the padding: two of its six bits stand for nothing
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = alphabet[alphabet.index(last) ^ 1]
    with pytest.raises(NoteWrong):
        read_checkpoint(note[:-3] + twin + note[-2:], PUBLIC)


def test_a_signature_by_another_key_of_the_same_name_does_not_count() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=7, root=bytes(32)), other)
    with pytest.raises(NoteWrong, match=r"freehold\.local"):
        read_checkpoint(note, PUBLIC)


def test_a_checkpoint_of_another_log_does_not_count() -> None:
    text = Checkpoint(origin="elsewhere.example/log", size=7, root=bytes(32)).text()
    with pytest.raises(NoteWrong) as told:
        read_checkpoint(sign_note(text, KEY, ORIGIN), PUBLIC)
    assert "elsewhere.example" in told.value.why


@pytest.mark.parametrize("text", ["", "\n", "only text\n", f"{ORIGIN}\n-1\nAAAA\n", f"{ORIGIN}\n01\nAAAA\n"])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteWrong):
        read_checkpoint(sign_note(text, KEY, ORIGIN) if text.endswith("\n") else text, PUBLIC)


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AAAA", FOREIGN_KEY[:-4] + "AAAA"])
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteWrong):
        VerifierKey.parse(text)
