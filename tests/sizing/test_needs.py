"""What can be said wrongly of a need or a figure is told: what, why, what now."""

from __future__ import annotations

import datetime as dt

import pytest

from freehold.sizing import facts as figures
from freehold.sizing.facts import BadFact
from freehold.sizing.need import BadNeed, from_text

GOOD = "task: classify\nsensitivity: Internal\nrequests_a_day: 10\ntokens_in: 5\ntokens_out: 1\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("taks: classify", "did you mean `task`?"),
        ("quality: superb", "one of: good, high, best"),
        ("examples: many", "it is no number"),
        ("months: 0", "0 is not 0.25 or more"),
        ("budget: -5", "-5 is not 1 or more"),
        ("pretrained: perhaps", "it is yes or no"),
        ('budget: "inf"', "inf is not 1 or more"),
        ('latency_ms: "nan"', "nan is not 1 or more"),
    ],
)
def test_a_wrong_answer_is_told(line: str, says: str) -> None:
    with pytest.raises(BadNeed) as told:
        from_text(GOOD + line)
    assert says in f"{told.value.why} {told.value.hint}"
    assert told.value.hint


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BadNeed) as told:
        from_text("task: classify")
    assert "sensitivity" in told.value.what
    with pytest.raises(BadNeed):
        from_text("- a list")


def test_numbers_are_read_as_people_write_them() -> None:
    need = from_text(GOOD + 'budget: "1,200,000"')
    assert need.budget == 1_200_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("device.h100.rent: 2", "it lacks value, label"),
        ("a: {value: x, label: measured, as_of: 2026-01-01, source: s}", "value is no number"),
        ("a: {value: 1, label: measured, as_of: lately, source: s}", "as_of no date"),
        ("a: {value: 1, label: guessed, as_of: 2026-01-01, source: s}", "measured, derived, estimated"),
        (
            "a: {value: 3, low: 4, label: measured, as_of: 2026-01-01, source: s}",
            "between its low and its high",
        ),
        ("a: {value: 3, lowest: 4, label: measured, as_of: 2026-01-01, source: s}", "no such field: lowest"),
        ("a: {value: 0, label: measured, as_of: 2026-01-01, source: s}", "not above 0"),
        ("- a list", "is a list of names with their figures"),
        ("train.mfu: {value: 40, label: measured, as_of: 2026-01-01, source: s}", "it is a share"),
        (
            "device.h100.mfu: {value: 0.9, high: 1.2, label: measured, as_of: 2026-01-01, source: s}",
            "1.2 is above 1",
        ),
    ],
)
def test_a_wrong_figure_is_told(text: str, says: str) -> None:
    with pytest.raises(BadFact) as told:
        figures.load(text)
    assert says in told.value.why


def test_your_own_figure_takes_the_place_of_ours() -> None:
    own = "device.h100.rent: {value: 1.10, label: measured, as_of: 2026-11-01, source: our contract}"
    assert figures.load(own)("device.h100.rent") == 1.10
    assert figures.load()("device.h100.rent") == 2.95


def test_every_shipped_figure_has_a_source_and_a_date_and_is_found_by_name() -> None:
    known = figures.load()
    assert {"a100", "b200", "h100", "h200", "l4", "l40s", "mi300x"} <= set(known.devices())
    known("people.year")
    (fact,) = known.used.values()
    assert fact.source
    assert fact.unsourced
    assert fact.age(dt.date(2026, 11, 21)) == 1
    with pytest.raises(BadFact):
        known("device.abacus.rent")


def test_a_device_told_by_halves_is_not_planned_with_and_that_is_said() -> None:
    known = figures.load(
        "device.h300.tflops: {value: 9000, label: measured, as_of: 2026-11-01, source: our bench}"
    )
    assert "h300" not in known.devices()
    assert known.warnings(dt.date(2026, 11, 21))[0] == (
        "device.h300 is not planned with: it lacks memory_gb, bandwidth_gb_s, watts, link_gb_s, rent"
    )


def test_every_share_that_is_shipped_is_known_as_one() -> None:
    known = figures.load()
    shares = {name for name in figures.SHARES if known.get(name) is not None or known.at_numbers(name)}
    assert shares == set(figures.SHARES)
