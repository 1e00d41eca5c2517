"""Formulas against cases that were published: each ratio is printed, what is known to miss says why."""

from __future__ import annotations

import pytest

from tests.support.plans import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=[f"{case.id} {case.what}" for case in CASES])
def test_a_published_case_lies_within_its_band_or_says_why_it_misses(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        told = f"misses: {case.misses}" if case.misses else f"within {case.low:g} to {case.high:g}"
        print(f"\n{case.id} {case.what}: {case.ratio:.3f} of what was published; {told}", end="")
    assert case.within is not bool(case.misses)


def test_every_case_of_the_table_is_there() -> None:
    assert {case.id for case in CASES} == {f"G{number:02}" for number in range(1, 23)}
