"""Sealing bytes: AES-256-GCM (NIST SP 800-38D) under a key from the keyring."""

from __future__ import annotations

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


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """The plain bytes. Raises SealBroken for a wrong key, a wrong place or a changed byte."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], about)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(why="wrong key, wrong place, or changed bytes") from error
