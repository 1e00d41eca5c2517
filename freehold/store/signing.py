"""Ed25519 keys in files, and signed envelopes (DSSE) for everything that crosses between zones."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from freehold.errors import Tampered, Unavailable
from freehold.store.home import write_atomically


class SignatureWrong(Tampered):
    """the signature of `{what}` does not hold"""


class KeyFileUnusable(Unavailable):
    """the key file `{path}` cannot be used"""


def new_key_file(path: Path) -> Ed25519PrivateKey:
    """Make a key and write its 32 raw bytes, 0600."""
    key = Ed25519PrivateKey.generate()
    write_atomically(path, key.private_bytes_raw(), 0o600)
    return key


def load_key_file(path: Path) -> Ed25519PrivateKey:
    """Read what `new_key_file` wrote. Raises KeyFileUnusable."""
    try:
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has not the 32 bytes of a key"
        raise KeyFileUnusable(path=path, why=why or str(error), hint="restore it from a backup") from error


def key_id(public: Ed25519PublicKey) -> str:
    """The first 16 hex digits of SHA-256 over the raw public key."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its type and signature, as DSSE 1.0 (secure-systems-lab/dsse) lays it out."""

    payload_type: str
    payload: bytes
    keyid: str
    signature: bytes

    def as_json(self) -> dict[str, Any]:
        """The JSON form of DSSE."""
        return {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(self.signature).decode()}],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Envelope:
        """Read the JSON form. Raises SignatureWrong when it has not that shape."""
        try:
            (first, *_) = data["signatures"]
            return cls(
                payload_type=data["payloadType"],
                payload=base64.b64decode(data["payload"], validate=True),
                keyid=first["keyid"],
                signature=base64.b64decode(first["sig"], validate=True),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise SignatureWrong(what="an envelope", why="it has not the shape of DSSE") from error

    def kept(self) -> str:
        """For a row that stays: the same, its payload deflated. Rules with many keys repeat themselves."""
        text = base64.b64encode(deflated(self.payload)).decode()
        return json.dumps(replace(self, payload=b"").as_json() | {"deflated": text}, sort_keys=True)

    @classmethod
    def from_kept(cls, text: str) -> Envelope:
        """Read what `kept` wrote, or DSSE as it is. Raises SignatureWrong, ValueError."""
        data = json.loads(text)
        return replace(cls.from_json(data), payload=_kept_in(data))


def deflated(data: bytes) -> bytes:
    """What stays of rules in a row: with many keys they repeat themselves."""
    return zlib.compress(data, 1)


def inflated(data: bytes) -> bytes:
    """What `deflated` was given; nothing where it is damaged."""
    try:
        return zlib.decompress(data)
    except zlib.error:
        return b""


def kept_payload(text: str) -> bytes:
    """What the envelope in a row holds, whoever signed it. Raises ValueError, KeyError or TypeError."""
    return _kept_in(json.loads(text))


def _kept_in(data: Any) -> bytes:
    if "deflated" not in data:
        return base64.b64decode(data["payload"])
    try:
        return zlib.decompress(base64.b64decode(data["deflated"], validate=True))
    except zlib.error as error:
        raise ValueError("what was deflated is damaged") from error


def sign(key: Ed25519PrivateKey, payload_type: str, payload: bytes) -> Envelope:
    """Sign over DSSE's pre-authentication encoding, so that the type is covered too."""
    signature = key.sign(_encode(payload_type, payload))
    return Envelope(payload_type, payload, key_id(key.public_key()), signature)


def verify(public: Ed25519PublicKey, envelope: Envelope, payload_type: str) -> bytes:
    """The payload, when the type is the expected one and the signature holds; else SignatureWrong."""
    if envelope.payload_type != payload_type:
        raise SignatureWrong(what=payload_type, why=f"the envelope holds `{envelope.payload_type}`")
    try:
        public.verify(envelope.signature, _encode(payload_type, envelope.payload))
    except InvalidSignature as error:
        raise SignatureWrong(what=payload_type, why="signed by another key, or changed") from error
    return envelope.payload


def _encode(payload_type: str, payload: bytes) -> bytes:
    """PAE of DSSE 1.0: `DSSEv1 SP LEN(type) SP type SP LEN(body) SP body`."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
