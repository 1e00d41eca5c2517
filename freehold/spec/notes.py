"""Signed notes and checkpoints, as C2SP signed-note and tlog-checkpoint lay them out: how to read them.

A note is text, an empty line, and one line per signature. A checkpoint is a note whose text says the
log's origin, its size and its root. Writing them is left to `freehold.ledger.notes`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from freehold.errors import Tampered

ED25519 = b"\x01"
"""The algorithm byte of signed-note for Ed25519."""


class NoteWrong(Tampered):
    """the signed note of `{name}` does not hold"""

    def __init__(self, *, name: str, why: str) -> None:
        hint = "compare with the note as its ledger tells it at `/ledger/checkpoint`, whole, to the last byte"
        super().__init__(name=name, why=why, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key with the name it signs under; as text `name+hash+key`, which other tools take too."""

    name: str
    public: bytes
    """32 raw bytes, Ed25519."""

    @property
    def id(self) -> bytes:
        """4 bytes: SHA-256 over name, line feed, algorithm and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `name+hash+key`. Raises NoteWrong."""
        name, _, rest = text.strip().partition("+")
        hash_, _, coded = rest.partition("+")
        raw = _base64(coded, name)
        key = cls(name=name, public=raw[1:])
        if not _is_text(name) or raw[:1] != ED25519 or len(raw) != 33 or key.id.hex() != hash_:
            raise NoteWrong(name=name[:80], why="this is no verifier key of Ed25519")
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log was at one moment."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The body of the note that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """The text of the note, when `key` signed it. Raises NoteWrong."""
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise NoteWrong(name=key.name, why="it has not the shape of a signed note")
    for line in lines.splitlines():
        mark, _, rest = line.partition(" ")
        name, _, coded = rest.partition(" ")
        if mark == "—" and name == key.name:
            signature = _base64(coded, name)
            if signature[:4] == key.id:
                _check(key, signature[4:], text + "\n")
                return text + "\n"
    raise NoteWrong(name=key.name, why=f"it has no signature by the key {key.id.hex()}")


def read_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note, when `key` signed it for the log of its own name. Raises NoteWrong."""
    checkpoint = parse_checkpoint(open_note(note, key), key.name)
    if checkpoint.origin != key.name:
        raise NoteWrong(name=key.name, why=f"it speaks of another log, `{checkpoint.origin[:80]}`")
    return checkpoint


def parse_checkpoint(text: str, name: str = "") -> Checkpoint:
    """The three lines that every checkpoint begins with; lines after them are left to others."""
    lines = text.split("\n")
    if len(lines) < 4 or not _is_count(lines[1]):
        raise NoteWrong(name=name or lines[0][:80], why="it has not the shape of a checkpoint")
    root = _base64(lines[2], lines[0])
    if len(root) != 32:
        raise NoteWrong(name=lines[0][:80], why="its root has not 32 bytes")
    return Checkpoint(origin=lines[0], size=int(lines[1]), root=root)


def _is_text(text: str) -> bool:
    """Whether it has no halves of characters, as bytes that are no UTF-8 leave behind in arguments."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20 and (text == "0" or text[0] != "0")


def _check(key: VerifierKey, signature: bytes, text: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
    except (InvalidSignature, ValueError) as error:
        raise NoteWrong(name=key.name, why="the signature does not fit the text") from error


def _base64(text: str, name: str) -> bytes:
    """Strictly: two texts never stand for the same bytes."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteWrong(name=name[:80], why="it holds text that is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise NoteWrong(name=name[:80], why="it holds text that is not base64 as it should be written")
    return raw
