"""Before anything is loaded: the newest signed snapshot here does not revoke it.

The supervisor lays the snapshot beside the models it fetches. Without one nothing is loaded, for then
nobody says that the model may still be served.
"""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.errors import Tampered
from freehold.spec.snapshot import PAYLOAD_TYPE
from freehold.store.signing import Envelope, verify


class ModelRevoked(Tampered):
    """the model `{digest}` is revoked"""


class NoRules(Tampered):
    """nothing says that the model may be served"""


def refuse(rules: Path, public: Ed25519PublicKey, digest: str) -> None:
    """Raise ModelRevoked for a serving digest that the snapshot in the file `rules` revokes.

    Raises NoRules when it cannot be read, SignatureWrong when another key signed it.
    """
    try:
        envelope = Envelope.from_json(json.loads(rules.read_bytes()))
    except (OSError, ValueError) as error:
        raise NoRules(
            why=f"the signed snapshot `{rules.name}` cannot be read",
            hint="the supervisor lays it beside the models: see that control can be reached",
        ) from error
    said = json.loads(verify(public, envelope, PAYLOAD_TYPE))
    if digest in said.get("revoked", ()):
        raise ModelRevoked(
            digest=digest[:19],
            why="it learned from somebody who was forgotten",
            hint="serve the one that was rebuilt without them",
        )
