"""Shapes of columns: nobody is seen in them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freehold.data.shapes import FEWEST, _ranges, _values

numbers = st.lists(st.floats(-1e9, 1e9, allow_nan=False), max_size=300)


@given(numbers)
def test_no_range_has_fewer_rows_than_five_and_none_is_lost(values: list[float]) -> None:
    shape = _ranges("age", "range", np.array(values, dtype=float))
    assert all(rows >= FEWEST for _, rows in shape.bins)
    assert sum(rows for _, rows in shape.bins) + shape.left_out == len(values)
    assert shape.left_out < FEWEST


@given(st.dictionaries(st.text(max_size=5), st.integers(1, 40), max_size=20))
def test_no_value_is_told_that_stands_in_fewer_rows_than_five(counts: dict[str, int]) -> None:
    shape = _values("topic", counts)
    told = {word for word, _ in shape.bins} - {"others"}
    assert all(counts[word] >= FEWEST for word in told)
    assert all(rows >= FEWEST for _, rows in shape.bins)
    assert sum(rows for _, rows in shape.bins) + shape.left_out == sum(counts.values())


def test_the_ends_of_a_scale_are_open() -> None:
    ages = [30.0] * 50 + [40.0] * 50 + [103.0]
    words = [word for word, _ in _ranges("age", "range", np.array(ages)).bins]
    assert words[0].startswith(("below", "all"))
    assert "103" not in " ".join(words)


def test_one_value_in_every_row_is_one_range() -> None:
    shape = _ranges("flat", "range", np.array([7.0] * 9))
    assert sum(rows for _, rows in shape.bins) == 9
