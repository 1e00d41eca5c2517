"""Proofs for others: that an entry is in the ledger, and that the ledger only grew."""

from __future__ import annotations

import sqlalchemy as sa

from freehold.errors import NotFound
from freehold.ledger.sequencer import Sequencer
from freehold.spec.merkle import consistency_proof, inclusion_proof
from freehold.spec.notes import read_checkpoint
from freehold.spec.receipt import Receipt
from freehold.store import tables


def receipt(sequencer: Sequencer, entry: str, timeout: float = 2.0) -> Receipt:
    """The receipt of one entry under the newest checkpoint.

    Raises NotFound for no such entry, NotSequenced when it gets no place within `timeout` seconds.
    """
    with sequencer.db.read() as connection:
        query = sa.select(tables.entries.c.body).where(tables.entries.c.id == entry)
        body: str | None = connection.execute(query).scalar()
    if body is None:
        raise NotFound(kind="entry", name=entry)
    ix = sequencer.wait_for(entry, timeout)
    note = sequencer.newest() or ""
    size = read_checkpoint(note, sequencer.public).size
    proof = inclusion_proof(ix, size, sequencer.tiles.nodes(size))
    return Receipt(entry=body.encode(), ix=ix, proof=tuple(proof), checkpoint=note)


def consistency(sequencer: Sequencer, old: int, new: int) -> list[bytes]:
    """The hashes that show that the first `old` entries of `new` are still the same.

    Raises NotFound when no checkpoint covers `new` yet.
    """
    note = sequencer.newest()
    size = read_checkpoint(note, sequencer.public).size if note else 0
    if not 0 <= old <= new <= size:
        raise NotFound(kind="pair of sizes", name=f"{old}, {new}", why=f"the ledger has {size} entries")
    return consistency_proof(old, new, sequencer.tiles.nodes(new))
