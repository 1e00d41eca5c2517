"""What a version promises about each row, and the digest over all of it (decision 0003).

commitment = SHA-256(salt ‖ row), salt = HMAC-SHA-256(key, row ‖ occurrence), where `row` is the
canonical bytes, `occurrence` counts the same row before it in the version (8 bytes, most significant
first) and `key` belongs to the persons the row is about, or to the data set where there is none. With
the key, anyone can check that a row is the one that was added. Once the key is destroyed, nobody can
say what a commitment was made to, not even by trying every value; and the digest still stands.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence

from freehold.data.cells import Word
from freehold.spec import merkle
from freehold.spec.ids import digest
from freehold.store.sealed import derive

SIZE = 32


def commitment_key(key: bytes) -> bytes:
    """The sub-key of a person's or data set's key by which rows are committed to."""
    return derive(key, "commitment")


def joint_key(keys: Sequence[bytes]) -> bytes:
    """The key of a row about several persons: without any one of theirs it cannot be made."""
    return keys[0] if len(keys) == 1 else hashlib.sha256(b"joint" + b"".join(keys)).digest()


def commit(key: bytes, row: bytes, occurrence: int) -> bytes:
    """The commitment to a row, 32 bytes."""
    salt = hmac.digest(key, row + occurrence.to_bytes(8, "big"), "sha256")
    return hashlib.sha256(salt + row).digest()


def root(packed: bytes) -> bytes:
    """The RFC 6962 Merkle root over commitments written one after the other, in the order of rows.

    Another order is another version. Done with a stack of complete subtrees, for a list of all leaf
    hashes would be most of what an intake needs of memory.
    """
    stack: list[tuple[int, bytes]] = []
    for commitment in each(packed):
        height, node = 0, merkle.leaf_hash(commitment)
        while stack and stack[-1][0] == height:
            height, node = height + 1, merkle.node_hash(stack.pop()[1], node)
        stack.append((height, node))
    if not stack:
        return merkle.EMPTY_ROOT
    _, top = stack.pop()
    while stack:
        top = merkle.node_hash(stack.pop()[1], top)
    return top


def each(packed: bytes) -> Iterator[bytes]:
    """The commitments one by one."""
    view = memoryview(packed)
    return (bytes(view[at : at + SIZE]) for at in range(0, len(packed), SIZE))


def nth(packed: bytes, row: int) -> bytes:
    """The commitment of the row with that number, from 1 on."""
    return packed[(row - 1) * SIZE : row * SIZE]


def version_digest(schema: Sequence[tuple[str, Word]], rows: int, top: bytes) -> str:
    """What everything else cites: over the schema (names and types, in order), row count and root."""
    columns = [{"name": name, "type": word} for name, word in schema]
    return digest({"schema": columns, "rows": rows, "root": top.hex()})
