"""What a workload takes: known sizes come out, more never needs less, and what cannot be says why."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.sizing import facts as figures
from freehold.sizing import formulas, money
from freehold.sizing.size import Plan, size
from freehold.sizing.workload import BadWorkload, Model, Serve, Train, Workload, from_text

TODAY = dt.date(2026, 11, 21)
LLAMA = Model(parameters=8.03e9, layers=32, kv_heads=8, head=128, hidden=4096)
LARGE = Model(parameters=70.55e9, layers=80, kv_heads=8, head=128, hidden=8192)
ASKED = Serve(requests_a_day=20_000, tokens_in=900, tokens_out=250, first_token_ms=1000)
TEXT = "model: {parameters: 8.03e9, layers: 32, kv_heads: 8, head: 128, hidden: 4096}\n"


def plan(work: Workload) -> Plan:
    return size(figures.load(), work, TODAY)


def figure(found: Plan, part: str, name: str) -> float:
    return next(each.value for each in getattr(found, part) if each.name == name)


def test_an_adapter_fits_one_card_and_a_full_fine_tune_does_not() -> None:
    light = plan(Workload(model=LLAMA, train=Train(method="lora", tokens=1e7)))
    whole = plan(Workload(model=LLAMA, train=Train(method="full", tokens=1e7)))
    assert figure(light, "training", "weights") == pytest.approx(16.06)
    assert {one.device: one.devices for one in light.trained_on}["h100"] == 1
    assert sum(figure(whole, "training", n) for n in ("weights", "gradients", "optimizer")) == pytest.approx(
        18 * 8.03
    )
    assert {one.device: one.devices for one in whole.trained_on}["h100"] == 3
    assert figure(whole, "training", "one checkpoint") == pytest.approx(112.4, rel=0.01)


def test_a_known_shape_has_its_known_cache() -> None:
    assert figure(plan(Workload(model=LLAMA, serve=ASKED)), "serving", "cache") == 131_072
    assert figure(plan(Workload(model=LARGE, serve=ASKED)), "serving", "cache") == 327_680


def test_what_is_in_flight_agrees_with_little() -> None:
    found = plan(Workload(model=LLAMA, serve=ASKED))
    best = found.served_on[0]
    stays = best.first_token + ASKED.tokens_out * best.token
    assert figure(found, "serving", "in flight at the peak") == pytest.approx(20_000 / 86_400 * 3 * stays)
    assert best.first_token <= 1.0
    assert best.token <= 0.05


@pytest.mark.parametrize(
    ("model", "serve", "says"),
    [
        (replace(LARGE, parameters=2e12), ASKED, "the largest server that is known has 640"),
        (LARGE, replace(ASKED, token_ms=1), "a token takes"),
        (LARGE, replace(ASKED, tokens_in=100_000, first_token_ms=50), "the first token takes"),
    ],
)
def test_an_impossible_plan_says_which_constraint_breaks_first(model: Model, serve: Serve, says: str) -> None:
    found = plan(Workload(model=model, serve=serve))
    assert found.served_on == ()
    assert says in found.impossible


def test_from_where_on_devices_beat_the_api_they_do_and_before_they_do_not() -> None:
    work = Workload(model=LLAMA, serve=ASKED, years=1)
    at = figure(plan(work), "paid", "rented devices beat the API above") * 1e6 / 1_150
    for factor, pays in ((0.9, False), (1.2, True)):
        moved = plan(replace(work, serve=replace(ASKED, requests_a_day=at * factor)))
        rented, api = (figure(moved, "paid", f"serving, {how}") for how in ("rented", "by an API"))
        assert (rented < api) is pays


def test_owning_pays_later_where_rent_is_cheaper() -> None:
    cheap = "device.l4.rent: {value: 0.2, label: measured, as_of: 2026-11-01, source: our contract}"
    work = Workload(model=LLAMA, serve=ASKED)
    ours = figure(size(figures.load(cheap), work, TODAY), "paid", "owning pays above")
    assert ours > figure(plan(work), "paid", "owning pays above")


def test_serving_overtakes_training_when_its_energy_does() -> None:
    found = plan(Workload(model=LLAMA, serve=ASKED, train=Train(method="full", tokens=1e9)))
    days = figure(found, "energy", "serving overtakes training after")
    a_year = figure(found, "energy", "serving")
    assert days * a_year / 365 == pytest.approx(figure(found, "energy", "training"))


def test_every_figure_has_its_formula_and_every_fact_it_names_is_told() -> None:
    found = plan(Workload(model=LLAMA, serve=ASKED, train=Train(method="lora", tokens=1e7)))
    told = {fact.name for fact in found.facts}
    for each in (*found.training, *found.serving, *found.paid, *found.energy):
        assert each.formula
        assert each.text()
        assert set(each.facts) <= told


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1, 1e6),
    st.floats(1, 20_000),
    st.floats(1, 4_000),
    st.floats(1.1, 20),
    st.sampled_from([LLAMA, LARGE]),
)
def test_more_traffic_never_needs_less(
    requests: float, tokens_in: float, tokens_out: float, more: float, model: Model
) -> None:
    serve = Serve(requests_a_day=requests, tokens_in=tokens_in, tokens_out=tokens_out, first_token_ms=1e6)
    now, then = (
        plan(Workload(model=model, serve=replace(serve, requests_a_day=requests * factor)))
        for factor in (1, more)
    )
    assert bool(now.served_on) == bool(then.served_on)
    if now.served_on:
        assert then.served_on[0].hourly >= now.served_on[0].hourly
        facts = figures.load()
        assert money.own_a_year(facts, then.served_on[0]) > 0


@given(st.floats(0.1, 100), st.floats(1, 1e5), st.floats(0.01, 0.5))
def test_doubling_what_is_used_never_costs_more(hourly: float, tokens: float, used: float) -> None:
    once, twice = (formulas.dollars_a_million(hourly, tokens, share) for share in (used, 2 * used))
    assert twice <= once


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a list", "no list of"),
        ("serve: {}", "model"),
        (TEXT, "nothing is to be trained or served"),
        (TEXT + "serve: 5", "no list of"),
        (TEXT + "serve: {requests_a_day: 5}", "tokens_in"),
        (TEXT + "serve: {requests_a_day: -5, tokens_in: 1, tokens_out: 1}", "-5 is not between"),
        (TEXT + "serve: {request_a_day: 5}", "did you mean `serve.requests_a_day`?"),
        (TEXT + "train: {method: magic, tokens: 5}", "one of: lora, qlora, full, scratch"),
        (TEXT + "train: {method: lora, tokens: 10 GB}", "is no number"),
    ],
)
def test_a_wrong_workload_is_told(text: str, says: str) -> None:
    with pytest.raises(BadWorkload) as told:
        from_text(text)
    assert says in f"{told.value.what} {told.value.why} {told.value.hint}"
