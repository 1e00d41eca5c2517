"""Which rows are held out: decided by each row's own key, never by the others.

So removing a person never moves another row from training to testing or back.
"""

from __future__ import annotations

import hashlib


def share_of(key: str, seed: int, use: str = "held-out") -> float:
    """A number in [0, 1) that follows from the row's key, the seed and the use alone.

    The first 53 bits of SHA-256 over `use/seed/key`, read as a fraction: uniform over keys.
    """
    first = hashlib.sha256(f"{use}/{seed}/{key}".encode()).digest()[:8]
    return (int.from_bytes(first, "big") >> 11) / 2**53


def is_held_out(key: str, seed: int, share: float) -> bool:
    """Whether the row is for testing; `share` of all keys are."""
    return share_of(key, seed) < share
