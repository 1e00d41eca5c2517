"""The tree's arithmetic against a naive reading of RFC 6962, and proofs that must and must not hold."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.spec.merkle import (
    EMPTY_ROOT,
    ProofWrong,
    check_consistency,
    complete_root,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from_inclusion,
    root_of,
)

# the eight entries and their roots that the authors of RFC 6962's reference log test with
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}

sizes = st.integers(min_value=1, max_value=700)


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(str(i).encode()) for i in range(count)]


def naive(hashes: list[bytes]) -> bytes:
    """MTH as section 2.1 of RFC 6962 says it, word by word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"").digest()
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\x01" + naive(hashes[:k]) + naive(hashes[k:])).digest()


def node(hashes: list[bytes], height: int, number: int) -> bytes:
    return complete_root(hashes[number << height : (number + 1) << height])


def test_the_known_roots_of_the_reference_log() -> None:
    hashes = [leaf_hash(entry) for entry in ENTRIES]
    assert {n: root_of(hashes[:n]).hex() for n in ROOTS} == ROOTS
    assert root_of([]) == EMPTY_ROOT


@given(sizes)
def test_the_root_is_the_one_of_the_standard(size: int) -> None:
    assert root_of(leaves(size)) == naive(leaves(size))


@given(st.data())
def test_every_leaf_proves_itself_and_no_other(data: st.DataObject) -> None:
    size = data.draw(sizes)
    ix = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    proof = inclusion_proof(ix, size, lambda h, n: node(hashes, h, n))
    assert root_from_inclusion(ix, size, hashes[ix], proof) == naive(hashes)
    assert root_from_inclusion(ix, size, leaf_hash(b"another"), proof) != naive(hashes)


@given(st.data())
def test_a_longer_log_proves_that_it_begins_with_the_shorter(data: st.DataObject) -> None:
    new = data.draw(sizes)
    old = data.draw(st.integers(0, new))
    hashes = leaves(new)
    proof = consistency_proof(old, new, lambda h, n: node(hashes, h, n))
    check_consistency(old, new, naive(hashes[:old]), naive(hashes), proof)


@given(st.data())
def test_a_changed_history_has_no_consistency_proof(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    hashes = leaves(new)
    before = naive(hashes[:old])
    hashes[changed] = leaf_hash(b"rewritten")
    proof = consistency_proof(old, new, lambda h, n: node(hashes, h, n))
    with pytest.raises(ProofWrong):
        check_consistency(old, new, before, naive(hashes), proof)


@given(st.data())
def test_a_proof_with_a_hash_changed_missing_or_added_does_not_hold(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, new - 1))
    hashes = leaves(new)
    good = consistency_proof(old, new, lambda h, n: node(hashes, h, n))
    at = data.draw(st.integers(0, len(good) - 1))
    for bad in (
        [*good[:at], leaf_hash(b"x"), *good[at + 1 :]],
        [*good[:at], *good[at + 1 :]],
        [*good, leaf_hash(b"x")],
    ):
        with pytest.raises(ProofWrong):
            check_consistency(old, new, naive(hashes[:old]), naive(hashes), bad)


def test_a_log_that_shrank_is_told() -> None:
    with pytest.raises(ProofWrong) as told:
        check_consistency(5, 4, naive(leaves(5)), naive(leaves(4)), [])
    assert "fewer than the 5 seen before" in told.value.why


@given(st.data())
def test_an_inclusion_proof_of_the_wrong_length_does_not_hold(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 300))
    ix = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    good = inclusion_proof(ix, size, lambda h, n: node(hashes, h, n))
    for bad in (good[:-1], [*good, leaf_hash(b"x")]):
        with pytest.raises(ProofWrong):
            root_from_inclusion(ix, size, hashes[ix], bad)
