"""What trainings cost: rented, leased or bought; where they stand; and which network they take."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from freehold.sizing import costs, training, training_money
from freehold.sizing import facts as figures
from freehold.sizing.page import page
from freehold.sizing.size import Plan, size
from freehold.sizing.workload import Serve, Train, Workload, known_models

LARGE = known_models()["llama-3-70b"]
WORK = Workload(model=LARGE, train=Train(method="full", tokens=5e9, days=20, times_a_year=12))


def plan(work: Workload, own: str = "") -> Plan:
    return size(figures.load(own), work, dt.date(2026, 11, 21))


def fact(name: str, value: float) -> str:
    return f"{name}: {{value: {value}, label: measured, as_of: 2026-11-01, source: ours}}\n"


def test_a_few_runs_a_year_are_rented_and_a_year_full_of_them_is_bought() -> None:
    """It turns where the plan says that owning pays, people apart."""
    few = plan(WORK).section("money")
    pays, takes = few.value("owning pays for training above"), few.value("trainings take")
    assert takes < pays
    assert few.value("training, rented") < few.value("training, colocation")
    facts = figures.load()
    found = training.on_devices(facts, LARGE, WORK.train) if WORK.train else ()
    assert WORK.train
    for factor, owned in ((0.95, False), (1.05, True)):
        times = WORK.train.times_a_year * pays / takes * factor
        pool = training.pool(replace(WORK.train, times_a_year=times), found[0])
        own = costs.own_a_year(facts, WORK, pool, pool.hours)
        rented = pool.hours * pool.devices * facts(f"device.{pool.device}.rent")
        assert (own < rented) is owned


def test_each_way_tells_what_is_paid_when_and_all_of_it_adds_up() -> None:
    facts, found = figures.load(), plan(WORK)
    ways = training_money.ways(facts, WORK, found.trained_on)
    assert {way.name for way in ways} == {"cloud", "cloud, committed", "lease", "colocation", "own"}
    assert [way.total for way in ways] == sorted(way.total for way in ways)
    for way in ways:
        assert way.cash()[-1] == pytest.approx(way.total)
        assert (way.upfront > 0) == (way.name in ("colocation", "own"))
    (table,) = [t for t in found.section("money").tables if t.title.startswith("training, cash by year")]
    assert [row["way"] for row in table.rows] == [way.name for way in ways]
    assert found.section("money").value("training, rented") == pytest.approx(
        next(way.total for way in ways if way.name == "cloud")
    )


def test_what_is_restricted_is_not_trained_at_somebody_elses() -> None:
    facts, inside = figures.load(), replace(WORK, sensitivity="Restricted")
    ways = training_money.ways(facts, inside, plan(inside).trained_on)
    assert not ways[0].closed
    assert {way.name for way in ways if way.closed} == {"cloud", "cloud, committed"}
    light = replace(inside, model=known_models()["llama-3-8b"], train=Train(method="lora", tokens=1e7))
    told = {figure.name: figure.formula for figure in plan(light).section("money").figures}
    assert told["training, rented"].startswith("not for Restricted")
    assert "training, own" in told


def test_runs_of_minutes_are_rented_and_no_table_is_made_of_them() -> None:
    light = Workload(model=known_models()["llama-3-8b"], train=Train(method="lora", tokens=1e7))
    section = plan(light).section("money")
    assert [figure.name for figure in section.figures] == ["training, rented"]
    assert not section.tables


def test_runs_that_overlap_take_more_devices() -> None:
    assert WORK.train
    one = training.on_devices(figures.load(), LARGE, WORK.train)[0]
    often = training.pool(replace(WORK.train, times_a_year=2.5 * 8760 / one.hours), one)
    assert often.devices == 3 * one.devices
    assert often.hours == pytest.approx(2.5 * 8760 / 3)


def test_where_training_stands_is_planned_whether_anything_serves_or_not() -> None:
    alone = plan(WORK)
    hall = alone.section("hall")
    on = alone.trained_on[0]
    assert hall.value("power") == pytest.approx(
        on.devices * figures.load()(f"device.{on.device}.watts") * 1.8 / 1000
    )
    assert any("cooled by" in note for note in hall.notes)
    split = plan(replace(WORK, rack_kw=hall.value("a rack") / 2)).section("hall")
    assert any("stronger racks or smaller servers" in note for note in split.notes)
    both = plan(replace(WORK, serve=Serve(requests_a_day=20_000, tokens_in=900, tokens_out=250)))
    assert both.section("hall").value("power") == hall.value("power")
    assert both.section("facility").value("power") != hall.value("power")


def test_the_page_of_a_training_draws_what_it_costs_and_what_its_racks_take() -> None:
    found = plan(WORK)
    text, on = page(figures.load(), found), found.trained_on[0]
    assert '<figure id="cost">' in text
    assert '<figure id="power">' in text
    assert f"{on.devices} x {on.device}</text>" in text


def test_with_the_network_it_takes_nobody_waits_and_with_less_somebody_does() -> None:
    work = replace(WORK, device="h100")
    takes = plan(work).section("training").value("network it takes")
    enough, less = (
        plan(work, fact("network.node_gbit", takes * times)).trained_on[0] for times in (1.001, 0.9)
    )
    assert enough.waits == 0
    assert less.waits > 0
