"""Where it may stand: distances, what the law asks, and what breaks."""

from __future__ import annotations

import datetime as dt

import pytest

from freehold.sizing import facts as figures
from freehold.sizing import place
from freehold.sizing.figure import Section
from freehold.sizing.size import size
from freehold.sizing.workload import from_text

TEXT = "model: llama-3-8b\nserve: {requests_a_day: 500, tokens_in: 90, tokens_out: 25}\n"


def planned(lines: str) -> Section:
    return size(figures.load(), from_text(TEXT + lines), dt.date(2026, 11, 21)).section("place")


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [("gb", "us", 5400, 6200), ("de", "fr", 400, 550), ("de", "de", 1, 500)],
)
def test_distances_are_those_of_the_globe(one: str, other: str, least: float, most: float) -> None:
    found = place.kilometres(one, other)
    assert found is not None
    assert least < found < most
    assert place.kilometres(other, one) == pytest.approx(found)


def test_what_is_measured_between_cities_lies_near() -> None:
    """London to New York takes about 80 ms; 0.021 ms a km says 117 for the mean path."""
    assert planned("country: gb\nusers: [us]\n").value("on the way, to the farthest") == pytest.approx(
        122, abs=15
    )


def test_data_that_has_to_stay_breaks_a_plan_elsewhere_and_a_site_there_mends_it() -> None:
    away = planned("country: de\nusers: [cn, de]\n")
    assert away.breaks.startswith("residency: data of cn may not stand in de")
    assert planned("country: cn\nusers: [cn]\n").breaks == ""


def test_within_the_eea_data_moves_and_beyond_it_is_told_how() -> None:
    (table,) = planned("country: us\nusers: [de]\n").tables
    assert {row["users in"]: row["may stand"] for row in table.rows}["de"].startswith("by adequacy")
    (table,) = planned("country: fr\nusers: [de]\n").tables
    assert {row["users in"]: row["may stand"] for row in table.rows}["de"] == "yes"


def test_what_is_restricted_stays_off_apis_and_a_country_without_a_rule_says_so() -> None:
    notes = planned("country: br\nsensitivity: Restricted\n").notes
    assert any("no external API" in note for note in notes)
    assert any("br: no rule is known" in note for note in notes)


def test_the_way_to_the_user_comes_on_top_of_the_first_token() -> None:
    found = planned("country: de\nusers: [au]\n")
    assert found.value("first token there") > found.value("on the way, to the farthest") > 200


def test_of_a_country_that_nobody_knows_the_plan_says_what_it_took_instead() -> None:
    said = "zz: country.zz.kwh and country.zz.grams are no facts, a mean is taken in their place"
    assert any(note.startswith(said) for note in planned("country: zz\n").notes)
    assert not any("no facts" in note for note in planned("country: de\n").notes)
