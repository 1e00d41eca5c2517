"""Several workloads in all: what is added, and what is told of each."""

from __future__ import annotations

import datetime as dt

import pytest

from freehold.sizing import facts as figures
from freehold.sizing.size import Plan, size
from freehold.sizing.together import together
from freehold.sizing.workload import BadWorkload, from_text

ANSWERS = """\
model: llama-3-8b
train: {method: lora, tokens: 1.0e7, times_a_year: 12}
serve: {requests_a_day: 400000, tokens_in: 900, tokens_out: 250}
"""
LEARNS = """\
model: llama-3-70b
train: {method: full, tokens: 5.0e9, days: 20, times_a_year: 12}
"""


def plan(text: str) -> Plan:
    return size(figures.load(), from_text(text), dt.date(2026, 11, 21))


def test_money_power_and_energy_of_all_plans_are_those_of_each_added_up() -> None:
    plans = [plan(ANSWERS), plan(LEARNS)]
    found = together(["answers", "learns"], plans)
    for name, section, figure in (("energy", "energy", "all of it"), ("to be kept", "storage", "to be kept")):
        assert found.value(name) == pytest.approx(sum(one.section(section).value(figure) for one in plans))
    stands = [one.section(name).value("power") for one in plans for name in ("hall",)]
    assert found.value("power") == pytest.approx(sum(stands) + plans[0].section("facility").value("power"))
    rented = [one.section("money").value("training, rented") for one in plans]
    assert found.value("training") == pytest.approx(sum(rented))
    for one in found.figures:
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
    (table,) = found.tables
    assert [row["plan"] for row in table.rows] == ["answers", "learns"]
    assert table.rows[1]["serves on"] == ""


def test_what_may_not_be_taken_is_not_the_cheapest() -> None:
    inside = together(["inside"], [plan(ANSWERS + "sensitivity: Restricted\n")])
    (row,) = inside.tables[0].rows
    assert not any(word in str(cell) for cell in row.values() for word in ("API", "cloud"))


def test_a_plan_that_is_not_possible_says_so_among_the_others() -> None:
    late = LEARNS.replace("days: 20", "days: 0.001")
    found = together(["answers", "late"], [plan(ANSWERS), plan(late)])
    assert [row["possible"] for row in found.tables[0].rows] == ["yes", "no"]
    assert any(note.startswith("late: time: ") for note in found.notes)


def test_sums_of_several_currencies_are_none() -> None:
    with pytest.raises(BadWorkload) as told:
        together(["a", "b"], [plan(ANSWERS), plan(ANSWERS + "currency: eur\n")])
    assert "eur and usd" in told.value.why
