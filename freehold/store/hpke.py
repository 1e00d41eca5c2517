"""Sealing to somebody else's public key: HPKE (RFC 9180), X25519, HKDF-SHA-256, AES-256-GCM.

Whoever holds the public half can write and cannot read: gateways seal their spools to control, and
control seals a provider's API key to the gateway.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from freehold.store.home import write_atomically
from freehold.store.sealed import SealBroken

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def new_key_file(path: Path, public_path: Path | None = None) -> bytes:
    """Make a key pair: 32 raw private bytes in `path` (0600), the public half in `public_path`.

    Returns the 32 raw public bytes.
    """
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    write_atomically(path, key.private_bytes_raw(), 0o600)
    if public_path is not None:
        write_atomically(public_path, public, 0o600)
    return public


def public_of(private: bytes) -> bytes:
    """The 32 raw public bytes that belong to 32 raw private ones."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal_to(public: bytes, plain: bytes, about: bytes) -> bytes:
    """Seal so that only the holder of the private half opens it: 32 bytes of key, ciphertext, tag.

    `about` says where the bytes belong; it is bound as HPKE's info, and elsewhere they do not open.
    Raises ValueError when `public` is no X25519 key.
    """
    return _SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(public), about)


def open_with(private: bytes, sealed: bytes, about: bytes) -> bytes:
    """The plain bytes. Raises SealBroken for a wrong key, a wrong place or a changed byte."""
    try:
        return _SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private), about)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(why="wrong key, wrong place, or changed bytes") from error
