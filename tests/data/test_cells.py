"""Types are found, and nothing is converted that would lose something."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.data.cells import ARROW, Cells, Written, cells_from, decide, told
from freehold.data.naming import hmacs
from freehold.store.keyring import Keyring


def _written(*cells: str | None) -> Written:
    return Written(pa.array(cells, pa.string()))


def _type(cells: Cells) -> str:
    return decide(cells.fits(), cells.filled())


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        (["1", "-20", "0", None], "integer"),
        (["1", "2.5", "-.5", "1e5"], "number"),
        (["true", "False", "TRUE"], "boolean"),
        (["yes", "no"], "text"),
        (["007", "008"], "text"),
        (["+491701234567"], "text"),
        (["2024-01-31", "2024-02-01"], "text"),
        (["9223372036854775807"], "integer"),
        (["9223372036854775808"], "text"),
        (["-9223372036854775808", "-9223372036854775809"], "text"),
        (["nan", "inf", "NaN"], "text"),
        (["1_000", "٣", "0x10", "1,5"], "text"),
        (["1e999"], "text"),
        ([" 7 ", "8", "  "], "integer"),
        ([None, None], "text"),
        ([], "text"),
    ],
)
def test_the_type_of_written_cells_is_found(cells: list[str | None], word: str) -> None:
    assert _type(_written(*cells)) == word


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([1, None, -5], "integer"),
        ([1, 2.5], "number"),
        ([True, False], "boolean"),
        (["1", "2"], "text"),
        ([{"a": 1}, [2]], "json"),
        ([2**63], "json"),
        ([None], "text"),
    ],
)
def test_the_type_of_told_values_is_theirs(values: list[Any], word: str) -> None:
    assert _type(told(values)) == word


def test_one_slip_in_many_numbers_does_not_make_them_text() -> None:
    cells = _written(*["5"] * 40, "five")
    assert _type(cells) == "integer"
    assert cells.read("integer").null_count == 1


def test_many_words_among_numbers_do() -> None:
    assert _type(_written(*["5"] * 9, "five")) == "text"


def test_a_whole_number_that_a_float_cannot_hold_is_no_number() -> None:
    cells = _written("0.5", "9007199254740992", "9007199254740993", "12345678901234567890")
    assert cells.read("number").to_pylist() == [0.5, 9007199254740992.0, None, None]
    assert told([0.5, 2**53 + 1]).read("number").to_pylist() == [0.5, None]


def test_mixed_told_values_are_seen_as_such() -> None:
    cells = told([1, "x", 2.5, True, None, {"a": [1, "ä"]}])
    assert cells.filled() == 5
    assert cells.fits() == {"integer": 1, "text": 1, "number": 2, "boolean": 1, "json": 1}
    assert cells.texts().to_pylist() == ["1", "x", "2.5", "true", None, '{"a":[1,"ä"]}']
    assert cells.holds().to_pylist() == [True, True, True, True, False, True]


def test_text_is_not_changed_in_any_way() -> None:
    words = ["  spaced  ", "e\u0301 is not \u00e9", "nul\x00byte", "line\nbreak"]
    assert _written(*words).read("text").to_pylist() == words
    assert told(words).read("text").to_pylist() == words


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_64_bit_integer_is_read_exactly(value: int) -> None:
    assert _written(str(value)).read("integer").to_pylist() == [value]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_is_read_exactly(value: float) -> None:
    (read,) = _written(repr(value)).read("number").to_pylist()
    if read is None:  # a whole number of more digits than a float vouches for
        assert abs(value) > 2**53
    else:
        assert read == value
        assert math.copysign(1, read) == math.copysign(1, value)


_JSON = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(
    st.lists(st.one_of(_JSON, st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.lists(_JSON)))
)
def test_cells_survive_being_taken_apart(values: list[Any]) -> None:
    cells = told(values)
    again = cells_from(cells.parts(), len(values))
    assert [again.read(w).to_pylist() for w in ARROW] == [cells.read(w).to_pylist() for w in ARROW]
    assert cells.filled() == sum(v is not None for v in values)


@given(st.lists(st.one_of(st.none(), st.text(alphabet="0123456789.-+e truFALSE"))))
def test_what_fits_is_what_is_read(words: list[str | None]) -> None:
    cells = _written(*words)
    for word, count in cells.fits().items():
        if word not in ("text", "json"):
            read = cells.read(word)
            assert len(read) - read.null_count == count


def test_blanks_around_a_name_make_no_other_person(keyring: Keyring) -> None:
    (lookup,) = keyring.ensure("lookup/claims")
    names = pa.array(["ann", " ann\t", "\u2003ann\x1f", "Ann", "a nn", "", "  ", None])
    found = hmacs(names, lookup).to_pylist()
    ann = bytes.fromhex(keyring.subject("claims", "ann"))
    assert found[:3] == [ann] * 3
    assert len(set(found[3:5]) - {ann}) == 2
    assert found[5:] == [None] * 3
    assert keyring.subject("claims", " ann ") == ann.hex()
