"""How figures are written for people."""

from __future__ import annotations

import pytest

from freehold.spec.figures import one_or, plural


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 answers"), (1, "1 answer"), (2, "2 answers"), (1204, "1,204 answers")]
)
def test_a_count_stands_before_the_right_form_of_its_word(number: int, told: str) -> None:
    assert plural(number, "answer") == told


def test_a_word_whose_plural_is_irregular_brings_it() -> None:
    assert plural(2, "entry", "entries") == "2 entries"
    assert one_or(1, "entry", "entries") == "entry"
