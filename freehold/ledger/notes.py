"""Writing signed notes and checkpoints (C2SP signed-note, tlog-checkpoint); `spec.notes` reads them."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.spec.notes import Checkpoint, VerifierKey


def verifier_key(key: Ed25519PrivateKey, name: str) -> VerifierKey:
    """The public half, under the name it signs as."""
    return VerifierKey(name=name, public=key.public_key().public_bytes_raw())


def sign_note(text: str, key: Ed25519PrivateKey, name: str) -> str:
    """The note over `text`, which must end with a line feed."""
    if not text.endswith("\n"):
        raise ValueError("the text of a note ends with a line feed")
    signature = verifier_key(key, name).id + key.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(signature).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note of a checkpoint; the log signs under its own origin."""
    return sign_note(checkpoint.text(), key, checkpoint.origin)
