"""The domain of training: what is learned of rows, what is not, and which rows are outside."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer

from freehold.screen.domain import MOST_VALUES, learn, outside
from freehold.spec.domain import LEAST, ColumnDomain, read, told
from freehold.spec.snapshot import Column

AGE = Column(name="age", datatype="FP64")
KIND = Column(name="kind", datatype="BYTES")
PAID = Column(name="paid", datatype="BOOL")


def of(column: Column, cells: list[Any]) -> ColumnDomain:
    (learned,) = learn((column,), {column.name: cells})
    return learned


def out(domain: ColumnDomain, *cells: Any) -> int:
    return outside((domain,), {domain.name: list(cells)}).get(domain.name, 0)


def test_a_number_is_inside_between_what_was_seen_and_a_margin() -> None:
    ages = of(AGE, [float(age) for age in range(20, 80)])
    assert out(ages, 20.0, 79.0, 50) == 0
    assert out(ages, 3.0, 110.0, float("inf"), -31) == 4


def test_no_bound_is_one_rows_own_number() -> None:
    ages = [float(age) for age in range(20, 80)]
    rich = of(AGE, [*ages, 1_234_567.0])
    assert rich == of(AGE, [*ages, 80.0])  # whoever is alone out there moved nothing
    assert {float(rich.low), float(rich.high)}.isdisjoint(ages)


def test_the_order_of_rows_changes_nothing_not_even_of_the_two_zeros() -> None:
    cells = [0.0, -0.0] * 20 + [float(n) for n in range(9)]
    shuffled = random.Random(3).sample(cells, len(cells))
    assert of(AGE, cells) == of(AGE, shuffled)


def test_a_column_that_never_varied_knows_one_number() -> None:
    always = of(AGE, [7.0] * 30)
    assert (always.low, always.high) == ("7.0", "7.0")
    assert out(always, 7, 7.5) == 1


@pytest.mark.parametrize("end", [1.797e308, 1.0e308, 5e-324])
def test_a_column_at_the_ends_of_what_a_float_can_say_is_open(end: float) -> None:
    assert of(AGE, [-end] * LEAST + [0.0] * LEAST + [end] * LEAST).kind == "open"
    assert of(AGE, [0.0] * LEAST + [end] * LEAST).kind in ("open", "number")


def test_too_few_numbers_say_nothing() -> None:
    few = of(AGE, [float(n) for n in range(2 * LEAST - 1)])
    assert few.kind == "open"
    assert out(few, 1e9, None) == 0


def test_a_missing_number_is_outside_where_none_was_missing() -> None:
    whole, gaps = of(AGE, [1.0] * 30), of(AGE, [1.0] * 30 + [None] * LEAST)
    assert out(whole, None, float("nan")) == 2
    assert out(gaps, None, float("nan")) == 0


def test_a_category_is_inside_when_enough_rows_share_it() -> None:
    kinds = of(KIND, ["fire"] * 400 + ["water"] * 300 + [""] * LEAST + ["hail"] * (LEAST - 1))
    assert kinds.values == ("", "fire", "water")
    assert out(kinds, "fire", "", "hail", "moon") == 2


def test_what_few_rows_share_is_open_where_it_is_usual() -> None:
    names = [f"street {number}" for number in range(50)]
    assert of(KIND, ["fire"] * 400 + names).kind == "open"


@pytest.mark.parametrize("value", ["anna@example.org", "DE44 5001 0517 5407 3249 31", "word " * 20])
def test_a_value_that_says_something_of_a_person_is_no_category(value: str) -> None:
    assert of(KIND, ["fire"] * 1000 + [value] * 20).values == ("fire",)
    assert of(KIND, [value] * 100).kind == "open"


def test_a_list_without_end_is_no_domain() -> None:
    cells = [str(number) for number in range(MOST_VALUES + 1)] * LEAST
    assert of(KIND, cells).kind == "open"


def test_truth_values_are_a_category() -> None:
    always = of(PAID, [True] * 30)
    assert always.values == ("true",)
    assert out(always, True, False, None) == 2


def test_rows_that_were_held_out_are_inside_and_a_slipped_decimal_point_is_not() -> None:
    """The figures of decision 0063, on a real table of 569 rows and 30 columns."""
    table = load_breast_cancer().data.tolist()
    random.Random(1).shuffle(table)
    columns = tuple(Column(name=str(place), datatype="FP64") for place in range(30))

    def cells(rows: list[list[float]]) -> dict[str, list[Any]]:
        return {str(place): [row[place] for row in rows] for place in range(30)}

    domain = learn(columns, cells(table[:455]))
    held_out = table[455:]
    slipped = [[value * (10 if place == n % 30 else 1) for place, value in enumerate(row)]
               for n, row in enumerate(held_out)]  # fmt: skip
    assert sum(bool(outside(domain, cells([row]))) for row in held_out) <= 0.06 * len(held_out)
    assert sum(bool(outside(domain, cells([row]))) for row in slipped) >= 0.85 * len(slipped)


def test_a_domain_is_read_as_it_was_told_and_a_broken_one_holds_nothing() -> None:
    domain = learn((AGE, KIND), {"age": [1.0] * 30, "kind": ["fire"] * 30})
    assert read({"kind": "columns", "domain": told(domain)}) == domain
    assert read({"kind": "columns"}) is None
    for broken in ("", [{"name": "age"}], [{"name": "age", "kind": "number", "values": [], "more": 1}], 3):
        assert read({"domain": broken}) == ()
