"""A figure reads the same wherever it is written."""

from __future__ import annotations

import pytest

from freehold.spec.figures import in_words


@pytest.mark.parametrize(
    ("value", "share", "words"),
    [
        ("0.005000", True, "0.50 %"),
        ("-0.003000", True, "-0.30 %"),
        ("-0.000004", True, "0.00 %"),
        ("12.345600", False, "12.35"),
        ("-999.400000", False, "-999.4"),
        ("1204.400000", False, "1,204"),
        (None, True, "–"),
        (None, False, "–"),
    ],
)
def test_a_figure_is_a_share_in_percent_or_a_number_that_can_be_read(
    value: str | None, share: bool, words: str
) -> None:
    assert in_words(value, share=share) == words
