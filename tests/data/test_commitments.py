"""What a version promises about its rows: order counts, chunking does not, keys hide."""

from __future__ import annotations

import hashlib
import hmac
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.data import commitments
from freehold.data.promise import Occurrences
from freehold.spec import merkle

_ROWS = st.lists(st.binary(max_size=6), max_size=30)


@given(_ROWS)
def test_the_root_is_the_one_of_rfc_6962(rows: list[bytes]) -> None:
    promised = [hashlib.sha256(row).digest() for row in rows]
    assert commitments.root(b"".join(promised)) == merkle.root_of([merkle.leaf_hash(p) for p in promised])
    assert list(commitments.each(b"".join(promised))) == promised
    for number, promise in enumerate(promised, start=1):
        assert commitments.nth(b"".join(promised), number) == promise


@given(_ROWS, st.data())
def test_equal_rows_are_counted_the_same_however_they_are_cut(rows: list[bytes], data: st.DataObject) -> None:
    import numpy as np

    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    hashes = [np.array([hash(row) for row in part], np.int64) for part in parts]
    counter = Occurrences(hashes)
    counted = [n for part, h in zip(parts, hashes, strict=True) for n in counter.of(part, h)]
    assert counted == [rows[:place].count(row) for place, row in enumerate(rows)]


def test_rows_with_the_same_hash_are_still_told_apart() -> None:
    import numpy as np

    hashes = np.array([7, 7, 7], np.int64)
    assert list(Occurrences([hashes]).of([b"a", b"b", b"a"], hashes)) == [0, 0, 1]


def test_a_commitment_is_what_the_decision_says() -> None:
    key, row = os.urandom(32), b"row"
    salt = hmac.new(key, row + bytes(7) + b"\x03", hashlib.sha256).digest()
    assert commitments.commit(key, row, 3) == hashlib.sha256(salt + row).digest()


def test_other_keys_rows_and_occurrences_give_other_commitments() -> None:
    a, b = os.urandom(32), os.urandom(32)
    made = {
        commitments.commit(key, row, count) for key in (a, b) for row in (b"x", b"y") for count in (0, 1, 256)
    }
    assert len(made) == 12


def test_a_row_about_two_persons_needs_both_keys() -> None:
    a, b = os.urandom(32), os.urandom(32)
    assert commitments.joint_key([a]) == a
    assert len({commitments.joint_key(keys) for keys in ([a], [b], [a, b], [b, a])}) == 4


@pytest.mark.parametrize(
    ("schema", "rows", "top"),
    [
        ([("a", "text")], 2, b"r"),
        ([("b", "text")], 1, b"r"),
        ([("a", "integer")], 1, b"r"),
        ([("a", "text")], 1, b"s"),
    ],
)
def test_the_digest_covers_names_types_count_and_root(
    schema: list[tuple[str, commitments.Word]], rows: int, top: bytes
) -> None:
    assert commitments.version_digest(schema, rows, top) != commitments.version_digest(
        [("a", "text")], 1, b"r"
    )
