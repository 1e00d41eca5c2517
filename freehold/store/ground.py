"""What every room stands on, in one record passed by hand."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.spec.ids import Clock
from freehold.store.blobs import Blobs
from freehold.store.keyring import Keyring
from freehold.store.rows import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Rows, keys, objects, the signing key and the time. Only the control process has one."""

    db: Database
    keyring: Keyring
    blobs: Blobs
    release_key: Ed25519PrivateKey
    """Signs model manifests and snapshots; its public half is pinned in the serving zone."""
    origin: str
    """The installation's name, the origin line of its ledger checkpoints."""
    clock: Clock
