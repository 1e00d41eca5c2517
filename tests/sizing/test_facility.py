"""Racks are split where they take less, cooling and site follow from kW a rack, feeds are two."""

from __future__ import annotations

import pytest

from freehold.sizing import facts as figures
from freehold.sizing.facility import Facility, facility, kinds_of_site, method


def around(kilowatts: float, most: float | None = None, server: float = 1.0) -> Facility:
    beside = 1.8  # what stands beside the devices, as the facts have it
    return facility(figures.load(), kilowatts * 1000 / beside, server * 1000 / beside, most)


def value(found: Facility, name: str) -> float:
    return next(figure.value for figure in found.figures if figure.name == name)


@pytest.mark.parametrize(
    ("kilowatts", "cooled"),
    [
        (4, "room air"),
        (10, "room air"),
        (10.1, "air in contained aisles"),
        (25, "air in contained aisles"),
        (40.8, "rear-door heat exchangers"),
        (132, "liquid to the chip"),
        (200, "immersion"),
    ],
)
def test_cooling_follows_from_kilowatts_a_rack(kilowatts: float, cooled: str) -> None:
    assert method(figures.load(), kilowatts) == cooled


def test_a_threshold_of_yours_counts() -> None:
    own = "cooling.air: {value: 20, label: measured, as_of: 2026-11-01, source: our room}"
    assert method(figures.load(own), 18) == "room air"


def test_what_a_rack_may_not_take_goes_into_more_racks() -> None:
    wide, narrow = around(40.8, most=50), around(40.8, most=12)
    assert (wide.racks, narrow.racks) == (1, 4)
    assert wide.cooling == "rear-door heat exchangers"
    assert narrow.cooling == "air in contained aisles"
    assert narrow.rack_kilowatts == pytest.approx(10.2)
    assert (wide.site, narrow.site) == ("hybrid cooled colocation", "traditional colocation")


def test_a_server_is_not_divided_and_that_is_said() -> None:
    found = around(30, most=8, server=10.2)
    assert found.rack_kilowatts >= 10.2
    assert "one server takes 10.2 kW, your racks 8" in found.checklist[0]


def test_each_kind_of_site_says_whether_it_fits() -> None:
    fits = {row["kind"]: row["fits"] for row in kinds_of_site(20, "Restricted")}
    assert fits["traditional colocation"] == "no: a rack takes 20.0 kW"
    assert fits["hybrid cooled colocation"] == "yes"
    assert str(fits["cloud"]).startswith("no: Restricted")


@pytest.mark.parametrize(("feeds", "circuits", "units"), [("n", 3, 1), ("n+1", 4, 2), ("2n", 6, 2)])
def test_feeds_are_as_many_as_redundancy_asks_for(feeds: str, circuits: int, units: int) -> None:
    found = facility(figures.load(), 40_000 / 1.8, 1000, 40, feeds)
    assert value(found, "circuits a rack") == circuits
    assert value(found, "units of backed-up power") == units


def test_feeds_are_two_and_air_is_moved() -> None:
    found = around(40, most=40)
    assert value(found, "circuits a rack") == 2 * 3
    assert value(around(8, most=10), "air a rack") == pytest.approx(1011, rel=0.01)
    assert "air a rack" not in {figure.name for figure in around(132, most=140).figures}


@pytest.mark.parametrize(
    ("what", "watts", "published", "low", "high"),
    [
        ("eight racks of NVL72", 576 * 1200, 1200, 0.9, 1.1),
        ("32 DGX B200", 32 * 8 * 1000, 458, 0.9, 1.1),
        ("a DGX H100", 8 * 700, 10.2, 0.9, 1.1),
    ],
)
def test_power_of_published_systems(
    what: str, watts: float, published: float, low: float, high: float
) -> None:
    found = facility(figures.load(), watts, watts, None)
    assert low <= found.kilowatts / published <= high, what
