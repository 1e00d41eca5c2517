"""Merkle trees as RFC 6962 hashes them, and the two proofs about them, as RFC 9162 checks them.

Pure arithmetic over leaf hashes: where the hashes lie is the caller's business, told as a function
from (height, number) to the hash of that complete subtree, which covers the leaves
`number * 2**height` up to `(number + 1) * 2**height`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from freehold.errors import Tampered

Node = Callable[[int, int], bytes]
"""(height, number) to the hash of a complete subtree; height 0 is the leaves."""

EMPTY_ROOT = sha256(b"").digest()


class ProofWrong(Tampered):
    """a proof of {about} does not hold"""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 over 0x00 and the entry (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 over 0x01 and two children (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of sibling hashes."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, MTH of RFC 6962 section 2.1."""
    return root(len(leaves), lambda height, number: _subtree(leaves, height, number))


def root(size: int, node: Node) -> bytes:
    """The root of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else _range(0, size, node)


def inclusion_proof(ix: int, size: int, node: Node) -> list[bytes]:
    """The hashes that lead from leaf `ix` to the root of `size` leaves: PATH of RFC 6962 section 2.1.1."""
    if not 0 <= ix < size:
        raise ValueError(f"leaf {ix} is not among {size}")
    start, end, proof = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if ix < middle:
            proof.append(_range(middle, end, node))
            end = middle
        else:
            proof.append(_range(start, middle, node))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """The hashes that show that `new` leaves begin with the same `old`: PROOF, RFC 6962 section 2.1.2."""
    if not 0 <= old <= new:
        raise ValueError(f"{old} leaves are more than {new}")
    if old in (0, new):
        return []
    start, end, proof, whole = 0, new, [], True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range(middle, end, node))
            end = middle
        else:
            proof.append(_range(start, middle, node))
            start, whole = middle, False
    if not whole:
        proof.append(_range(start, end, node))
    return proof[::-1]


def root_from_inclusion(ix: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162 section 2.1.3.2). Raises ProofWrong."""
    if not 0 <= ix < size:
        raise ProofWrong(about="inclusion", why=f"leaf {ix} is not among {size}")
    number, last, reached = ix, size - 1, leaf
    for other in proof:
        if last == 0:
            raise ProofWrong(about="inclusion", why="it is too long")
        if number & 1 or number == last:
            reached = node_hash(other, reached)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            reached = node_hash(reached, other)
        number, last = number >> 1, last >> 1
    if last != 0:
        raise ProofWrong(about="inclusion", why="it is too short")
    return reached


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that `new` leaves begin with the same `old` (RFC 9162 section 2.1.4.2). Raises ProofWrong."""
    if not 0 <= old <= new:
        raise ProofWrong(about="consistency", why=f"{new} leaves are fewer than the {old} seen before")
    if old in (0, new):
        _same(old_root, EMPTY_ROOT if old == 0 else new_root)
        if proof:
            raise ProofWrong(about="consistency", why="it is too long")
        return
    steps = list(proof)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    first, second = _climb(old - 1, new - 1, steps)
    _same(first, old_root)
    _same(second, new_root)


def _climb(number: int, last: int, steps: list[bytes]) -> tuple[bytes, bytes]:
    """Both roots that a consistency proof leads to."""
    while number & 1:
        number, last = number >> 1, last >> 1
    if not steps:
        raise ProofWrong(about="consistency", why="it is too short")
    first = second = steps[0]
    for other in steps[1:]:
        if last == 0:
            raise ProofWrong(about="consistency", why="it is too long")
        if number & 1 or number == last:
            first, second = node_hash(other, first), node_hash(other, second)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            second = node_hash(second, other)
        number, last = number >> 1, last >> 1
    if last != 0:
        raise ProofWrong(about="consistency", why="it is too short")
    return first, second


def _same(reached: bytes, expected: bytes) -> None:
    if reached != expected:
        raise ProofWrong(about="consistency", why="it leads to another root: history was changed")


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(height, number) of the complete subtrees that make up an RFC 6962 range, left to right."""
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _range(start: int, end: int, node: Node) -> bytes:
    """MTH of the leaves from `start` up to `end`, where `start` is a border of the tree."""
    parts = [node(height, number) for height, number in subtrees(start, end)]
    reached = parts.pop()
    while parts:
        reached = node_hash(parts.pop(), reached)
    return reached


def _subtree(leaves: Sequence[bytes], height: int, number: int) -> bytes:
    return complete_root(leaves[number << height : (number + 1) << height])
