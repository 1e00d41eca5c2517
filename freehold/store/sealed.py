"""Sealing bytes: AES-256-GCM (NIST SP 800-38D) under a key from the keyring."""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from freehold.errors import Tampered

NONCE = 12


class SealBroken(Tampered):
    """sealed bytes do not open with this key"""


def seal(key: bytes, plain: bytes, about: bytes) -> bytes:
    """12 random bytes of nonce, then ciphertext and tag.

    `about` says where the bytes belong and is authenticated: moved elsewhere they no longer open. One
    key seals at most 2^32 times (the bound of SP 800-38D section 8.3 for random nonces).
    """
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, about)


def nonces(count: int) -> list[bytes]:
    """For as many seals, to be used at once: a machine that is set back to an earlier state draws others."""
    drawn = os.urandom(NONCE * count)
    return [drawn[at : at + NONCE] for at in range(0, len(drawn), NONCE)]


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """The plain bytes. Raises SealBroken for a wrong key, a wrong place or a changed byte."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], about)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(why="wrong key, wrong place, or changed bytes") from error


def derive(key: bytes, use: str) -> bytes:
    """A sub-key for one use: HKDF-SHA-256 (RFC 5869) without salt, 32 bytes, `use` as info.

    Written out as its two HMACs, because a data set derives one per person (a third of the time).
    """
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, use.encode() + b"\x01", "sha256")
