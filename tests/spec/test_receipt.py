"""A receipt proves by itself; nothing in it can be changed."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import Tampered
from freehold.ledger.notes import sign_checkpoint, verifier_key
from freehold.spec.ids import canonical
from freehold.spec.merkle import complete_root, inclusion_proof, leaf_hash, root_of
from freehold.spec.notes import Checkpoint
from freehold.spec.receipt import Receipt, ReceiptWrong

ORIGIN = "freehold.local/0a1b2c3d"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = verifier_key(KEY, ORIGIN)
ENTRIES = [canonical({"kind": "answer.close", "object": f"ans_{i}"}) for i in range(11)]


def receipt(ix: int) -> Receipt:
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    proof = inclusion_proof(ix, 11, lambda h, n: complete_root(leaves[n << h : (n + 1) << h]))
    note = sign_checkpoint(Checkpoint(origin=ORIGIN, size=11, root=root_of(leaves)), KEY)
    return Receipt(entry=ENTRIES[ix], ix=ix, proof=tuple(proof), checkpoint=note)


@given(st.integers(0, 10))
def test_a_receipt_read_back_from_its_text_holds_for_its_entry(ix: int) -> None:
    checkpoint, entry = Receipt.parse(receipt(ix).text()).check(PUBLIC)
    assert (checkpoint.size, entry["object"]) == (11, f"ans_{ix}")


def test_the_text_begins_as_the_standard_says() -> None:
    lines = receipt(3).text().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1].startswith("extra ")
    assert lines[2] == "index 3"
    assert lines[lines.index("") + 1] == ORIGIN


@given(st.data())
def test_no_character_of_a_receipt_can_be_changed(data: st.DataObject) -> None:
    text = receipt(data.draw(st.integers(0, 10))).text()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != text[at]))
    with pytest.raises(Tampered):
        Receipt.parse(text[:at] + other + text[at + 1 :]).check(PUBLIC)


@pytest.mark.parametrize("text", ["", "c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v1\nindex 0\n\nx"])
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ReceiptWrong):
        Receipt.parse(text)
