"""Saying something about words without the words."""

from __future__ import annotations

import hashlib
import hmac


def commitment(key: bytes, words: str | bytes) -> str:
    """A salted commitment to words that may not stand in the ledger: `hmac-sha256:` and hex.

    HMAC (RFC 2104) with a key from the keyring, or a salt that is sealed beside the words; when that is
    destroyed, the words can be neither confirmed nor guessed.
    """
    data = words.encode() if isinstance(words, str) else words
    return "hmac-sha256:" + hmac.new(key, data, hashlib.sha256).hexdigest()
