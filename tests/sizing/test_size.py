"""What a workload takes: known sizes come out, more never needs less, and what cannot be says why."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.sizing import breakeven, money, serving, training
from freehold.sizing import facts as figures
from freehold.sizing.size import Plan, size
from freehold.sizing.workload import (
    CURVES,
    BadWorkload,
    Model,
    Serve,
    Train,
    Workload,
    known_models,
    of_model,
)

TODAY = dt.date(2026, 11, 21)
LLAMA, LARGE = known_models()["llama-3-8b"], known_models()["llama-3-70b"]
ASKED = Serve(requests_a_day=20_000, tokens_in=900, tokens_out=250, first_token_ms=1000)


def plan(work: Workload, own: str = "") -> Plan:
    return size(figures.load(own), work, TODAY)


def fact(name: str, value: float) -> str:
    return f"{name}: {{value: {value}, label: measured, as_of: 2026-11-01, source: ours}}\n"


# -- training ---------------------------------------------------------------------------------------


def test_an_adapter_fits_one_card_and_a_full_fine_tune_does_not() -> None:
    light = plan(Workload(model=LLAMA, train=Train(method="lora", tokens=1e7)))
    whole = plan(Workload(model=LLAMA, train=Train(method="full", tokens=1e7)))
    assert light.section("training").value("weights") == pytest.approx(16.14, rel=0.01)
    assert {one.device: one.devices for one in light.trained_on}["h100"] == 1
    parts = whole.section("training")
    assert sum(parts.value(n) for n in ("weights", "gradients", "optimizer")) == pytest.approx(18 * 8.03)
    assert {one.device: one.devices for one in whole.trained_on}["h100"] == 4
    assert parts.value("one checkpoint") == pytest.approx(112.4, rel=0.01)


def test_four_bits_hold_the_frozen_weights_in_a_quarter() -> None:
    facts = figures.load()
    wide, narrow = (training.memory(facts, LARGE, Train(method=m, tokens=1e7)) for m in ("lora", "qlora"))
    trained = 2 * LARGE.parameters * 0.005
    assert (narrow.weights - trained) / (wide.weights - trained) == pytest.approx(0.26)
    assert narrow.optimizer == wide.optimizer


def test_a_mixture_computes_with_what_is_active_and_keeps_all_of_it() -> None:
    model = known_models()["deepseek-v3"]
    train = Train(method="full", tokens=1e9)
    assert training.flops(model, train) == pytest.approx(6 * 37e9 * 1e9)
    assert training.memory(figures.load(), model, train).shared == pytest.approx(18 * 671e9)


def test_a_large_model_is_split_over_servers_and_says_how() -> None:
    train = Train(method="scratch", tokens=15.6e12, days=60, sequence=8192, batch=1, step_tokens=16e6)
    found = plan(Workload(model=known_models()["llama-3.1-405b"], train=train))
    on = next(one for one in found.trained_on if one.device == "h100")
    assert (on.tensor, on.pipeline) == (8, 16)
    assert on.devices % 8 == 0
    assert 40 < on.hours / 24 < 120
    assert on.every / 60 < 120


def test_a_slow_link_takes_fewer_devices_and_says_so() -> None:
    train = Train(method="full", tokens=2e9, days=0.25, step_tokens=2e5)
    work = Workload(model=LLAMA, train=train)
    facts = [figures.load(fact("network.node_gbit", gbit)) for gbit in (800, 10)]
    fast, slow = (
        next(one for one in training.on_devices(known, LLAMA, train) if one.device == "h100")
        for known in facts
    )
    assert slow.devices < fast.devices
    assert slow.hours > fast.hours
    assert "would wait" in slow.fewer
    here = plan(replace(work, device="h100"), fact("network.node_gbit", 10)).section("training")
    assert any("would wait" in note for note in here.notes)
    assert plan(work, fact("network.node_gbit", 10)).trained_on[0].devices <= 8


def test_slow_storage_changes_the_plan() -> None:
    work = Workload(model=LLAMA, train=Train(method="full", tokens=1e9, kind="volumes"))
    fast, slow = (plan(work, fact("storage.read_gb_s", speed)) for speed in (60, 0.5))
    assert fast.section("training").value("waits for data") == 0
    assert slow.section("training").value("waits for data") > 80
    assert slow.section("training").value("a run") > fast.section("training").value("a run")
    assert any("storage breaks first" in note for note in slow.section("storage").notes)


@pytest.mark.parametrize(
    "train",
    [
        Train(method="qlora", tokens=1, epochs=0.1, sequence=1, batch=1, gigabytes=1e9),
        Train(method="full", tokens=1e15, epochs=0.1, sequence=8, batch=1e6, days=1e-6, step_tokens=8),
    ],
)
def test_a_run_that_does_nothing_but_wait_has_a_length(train: Train) -> None:
    tiny = Model(parameters=1e6, layers=1000, kv_heads=8, head=8, hidden=1e6)
    for model in (tiny, known_models()["mixtral-8x7b"]):
        for one in training.on_devices(figures.load(), model, train):
            assert 0 < one.hours < float("inf")
            assert 0 <= one.waits <= 1
            assert 0 <= one.reads <= 1


def test_a_load_that_was_measured_takes_the_place_of_streams() -> None:
    work = Workload(model=LLAMA, serve=ASKED)
    assert plan(work, fact("storage.load_gb_s", 0.803)).section("storage").value(
        "a cold load"
    ) == pytest.approx(10)


def test_slow_writing_makes_checkpoints_rarer_and_loses_more() -> None:
    work = Workload(model=LLAMA, train=Train(method="scratch", tokens=1e12, days=30))
    fast, slow = (plan(work, fact("storage.write_gb_s", speed)).section("training") for speed in (20, 0.5))
    assert slow.value("a checkpoint every") > fast.value("a checkpoint every")
    assert slow.value("lost to checkpoints and failures") > fast.value("lost to checkpoints and failures")


# -- serving ----------------------------------------------------------------------------------------


def test_a_known_shape_has_its_known_cache() -> None:
    for name, cache in (("llama-3-8b", 131_072), ("llama-3-70b", 327_680), ("deepseek-v3", 70_272)):
        assert serving.shape_of(known_models()[name]).kv_bytes == cache
    halved = serving.shape_of(replace(LLAMA, cache_bytes=1))
    assert halved.kv_bytes == 65_536


def test_what_is_in_flight_agrees_with_little() -> None:
    found = plan(Workload(model=LLAMA, serve=ASKED))
    fleet = found.served_on[0].fleet
    stays = fleet.first_token + ASKED.tokens_out * fleet.token
    expected = 20_000 / 86_400 * 3 * stays
    assert found.section("serving").value("in flight at the peak") == pytest.approx(expected)
    assert fleet.first_token <= 1.0
    assert fleet.token <= 0.05


def test_fewer_bits_and_cached_prompts_never_cost_more() -> None:
    facts = figures.load()
    work = Workload(model=LARGE, serve=ASKED)
    bits = [
        serving.choices(facts, replace(work, model=replace(LARGE, bytes=size)))[0].fleet.hourly
        for size in (2, 1, 0.55)
    ]
    assert bits == sorted(bits, reverse=True)
    first = [
        serving.choices(facts, replace(work, serve=replace(ASKED, cached=share)))[0].replica.reading
        for share in (0, 0.5, 0.9)
    ]
    assert first == sorted(first, reverse=True)


def test_what_would_save_money_is_advised_with_what_it_saves_and_nothing_else_is() -> None:
    asked = replace(ASKED, requests_a_day=2e6)
    work = Workload(model=LLAMA, serve=asked)
    section = plan(work).section("serving")
    fewer, *alike = [note for note in section.notes if "freehold bench load" in note]
    assert fewer.startswith("weights in 4 bits")
    assert all("of each prompt from the cache" in note for note in alike)
    (table,) = [t for t in section.tables if t.title.startswith("weights in fewer bits")]
    hourly = {row["bits a weight"]: float(str(row["USD an hour"]).replace(",", "")) for row in table.rows}
    saved = (hourly["8"] - hourly["4"]) * 8760
    assert f"{saved:,.0f} USD a year less" in fewer
    small = replace(work, model=replace(LLAMA, bytes=0.55), serve=replace(asked, cached=0.9))
    assert not any("freehold bench load" in note for note in plan(small).section("serving").notes)


def test_what_is_advised_stands_on_a_device_that_answers_in_time() -> None:
    asked = replace(ASKED, curve=CURVES["office"])
    found = plan(Workload(model=LLAMA, serve=asked, growth=1.2))
    late = {one.fleet.device for one in found.served_on if one.late}
    assert late
    section = found.section("serving")
    rows = [row for t in section.tables if "before anybody waits" in t.title for row in t.rows]
    assert {str(row["devices"]).split(" x ")[1] for row in rows}.isdisjoint(late)
    advised = [note for note in section.notes if "freehold bench load" in note]
    assert not any(f" x {name} " in note for note in advised for name in late)


def test_a_steep_day_saves_by_scaling_and_a_flat_one_does_not() -> None:
    many = replace(ASKED, requests_a_day=5e6)
    steep, flat = (
        plan(Workload(model=LLAMA, serve=replace(many, curve=CURVES[name]))).section("serving")
        for name in ("office", "flat")
    )
    assert steep.value("saved by scaling") > 40
    assert flat.value("saved by scaling") == 0


@pytest.mark.parametrize(
    ("model", "serve", "says"),
    [
        (replace(LARGE, parameters=2e13), ASKED, "of the bytes would fit"),
        (LARGE, replace(ASKED, token_ms=1), "token_ms of"),
        (LARGE, replace(ASKED, tokens_in=1e7), "of the tokens would fit"),
        (LARGE, replace(ASKED, tokens_in=100_000, first_token_ms=50), "first_token_ms of"),
    ],
)
def test_an_impossible_plan_says_which_constraint_breaks_first_and_what_would_do(
    model: Model, serve: Serve, says: str
) -> None:
    found = plan(Workload(model=model, serve=serve))
    assert found.served_on == ()
    assert says in found.section("serving").breaks
    assert found.breaks == (found.section("serving").breaks,)


def test_what_would_satisfy_it_does() -> None:
    broken = plan(Workload(model=LARGE, serve=replace(ASKED, token_ms=1))).section("serving").breaks
    least = float(broken.split("token_ms of ")[1].split()[0])
    assert plan(Workload(model=LARGE, serve=replace(ASKED, token_ms=least * 1.05))).served_on


def test_a_plan_keeps_to_the_device_that_is_there_and_an_unknown_one_is_told() -> None:
    train = Train(method="lora", tokens=1e7)
    found = plan(Workload(model=LLAMA, serve=ASKED, train=train, device="h100"))
    assert [one.fleet.device for one in found.served_on] == ["h100"]
    assert [one.device for one in found.trained_on] == ["h100"]
    with pytest.raises(BadWorkload) as told:
        plan(Workload(model=LLAMA, serve=ASKED, device="h1000"))
    assert "did you mean `h100`?" in str(told.value.hint)


def test_a_sequence_that_nothing_holds_is_told_with_one_that_fits() -> None:
    train = Train(method="full", tokens=1e9, sequence=1e7, batch=1)
    found = plan(Workload(model=LARGE, train=train))
    assert found.trained_on == ()
    (broken,) = found.breaks
    fits = float(broken.split("; ")[1].split()[0].replace(",", ""))
    assert plan(Workload(model=LARGE, train=replace(train, sequence=fits * 0.9))).trained_on


# -- money and energy -------------------------------------------------------------------------------


def test_break_even_moves_right_when_utilisation_falls_and_when_the_api_gets_cheaper() -> None:
    facts, work = figures.load(), Workload(model=LLAMA, serve=ASKED)
    found = serving.choices(facts, work)
    for own in (False, True):
        at = [breakeven.beats_the_api(facts, work, found, own, used) for used in (0.8, 0.5, 0.3, 0.15)]
        known = [tokens for tokens in at if tokens is not None]
        assert known == sorted(known)
        assert at[: len(known)] == known
    cheaper = facts.instead("api.small.out", 1.0)
    now, then = (breakeven.beats_the_api(each, work, found) for each in (facts, cheaper))
    assert now is not None
    assert then is None or then > now


def test_break_even_moves_with_the_price_that_was_paid_where_that_is_known() -> None:
    known = figures.load(fact("api.paid", 2.0))
    work = Workload(model=LLAMA, serve=ASKED)
    rows = {row["if"]: row for row in breakeven.moves(known, work, serving.choices(known, work))}
    half, twice = (rows[f"the API costs {factor} times as much"]["rented"] for factor in ("0.5", "2"))
    assert half != twice
    api = next(f for f in plan(work, fact("api.paid", 2.0)).section("money").figures if "API" in f.name)
    assert "what was paid" in api.formula


def test_what_is_restricted_is_never_cheapest_with_somebody_else() -> None:
    work = Workload(model=LLAMA, serve=ASKED)
    free, held = (
        money.ways(known, one, serving.choices(known, one)[0])
        for known in [figures.load()]
        for one in (work, replace(work, sensitivity="Restricted"))
    )
    assert free[0].name == "API"
    assert [way.name for way in held if way.closed] == [way.name for way in held][-3:]
    assert held[0].name in ("lease", "own", "colocation")
    section = plan(replace(work, sensitivity="Restricted")).section("money")
    tokens = next(f for f in section.figures if f.name == "a million tokens")
    assert tokens.formula.startswith(held[0].name)


def test_owning_pays_later_where_rent_is_cheaper() -> None:
    work = Workload(model=LLAMA, serve=ASKED, device="l4")
    ours = plan(work, fact("device.l4.rent", 0.2)).section("money").value("owning pays above")
    assert ours > plan(work).section("money").value("owning pays above")


def test_cash_of_each_way_adds_up_and_people_are_in_it() -> None:
    facts, work = figures.load(), Workload(model=LLAMA, serve=ASKED, years=3, growth=1.5)
    ways = {way.name: way for way in money.ways(facts, work, serving.choices(facts, work)[0])}
    assert ways.keys() == {"API", "cloud", "cloud, committed", "lease", "colocation", "own"}
    for way in ways.values():
        assert way.cash()[-1] == pytest.approx(way.total)
        assert len(way.cash()) == 4
    assert ways["own"].upfront > 0
    assert ways["cloud"].upfront == ways["API"].people == 0
    grown = ways["API"].years
    assert grown[1] == pytest.approx(1.5 * grown[0])


def test_another_currency_is_a_rate_with_a_date() -> None:
    dollars, euros = (plan(Workload(model=LLAMA, serve=ASKED, currency=c)) for c in ("usd", "eur"))
    paid = [each.section("money").value("serving, cloud") for each in (dollars, euros)]
    assert paid[0] / paid[1] == pytest.approx(figures.load()("currency.eur"))
    assert any("currency.eur" in note for note in euros.section("money").notes)
    assert any(line.startswith("currency.eur is") for line in euros.warnings)
    with pytest.raises(BadWorkload):
        plan(Workload(model=LLAMA, serve=ASKED, currency="xyz"))


def test_all_money_of_a_plan_is_told_in_the_currency_that_was_asked_for() -> None:
    work = Workload(model=LLAMA, serve=ASKED, train=Train(method="lora", tokens=1e7))
    dollars, euros = (plan(replace(work, currency=c)) for c in ("usd", "eur"))
    figures_of, shown = [f for s in euros.sections for f in s.figures], set[str]()
    for section in euros.sections:
        shown |= {column for table in section.tables for column in table.columns}
        shown |= {f"{table.title} {row}" for table in section.tables for row in table.rows}
        shown |= {*section.notes, section.title, *(f"{f.unit} {f.formula}" for f in section.figures)}
    assert [word for word in shown if "USD" in word] == [
        "1 EUR is taken as 1.16 USD: a fact with a date, currency.eur"
    ]
    for figure in figures_of:
        if "EUR" in figure.unit and figure.value:
            in_dollars = next(
                f.value
                for s in dollars.sections
                for f in s.figures
                if f.name == figure.name and "USD" in f.unit
            )
            assert in_dollars / figure.value == pytest.approx(1.16)


def test_serving_overtakes_training_when_its_energy_does() -> None:
    found = plan(Workload(model=LLAMA, serve=ASKED, train=Train(method="full", tokens=1e9))).section("energy")
    days = found.value("serving overtakes training after")
    assert days * found.value("serving") / 365 == pytest.approx(found.value("training"))


def test_a_cleaner_grid_emits_less() -> None:
    dirty, clean = (
        plan(
            Workload(model=LLAMA, serve=ASKED, train=Train(method="lora", tokens=1e7), country=country)
        ).section("energy")
        for country in ("pl", "se")
    )
    assert clean.value("serving") == dirty.value("serving")
    assert clean.value("a training emits") * 1000 == pytest.approx(41 * clean.value("training"))
    assert clean.value("carbon") < dirty.value("carbon") / 10


# -- pools ------------------------------------------------------------------------------------------


def test_one_pool_trains_at_night_and_saves_devices() -> None:
    busy = replace(ASKED, requests_a_day=5e6)
    work = Workload(model=LLAMA, serve=busy, train=Train(method="lora", tokens=1e9, times_a_year=52))
    pools = plan(work).section("pools")
    assert pools.value("one pool") < pools.value("two pools")
    assert pools.value("one pool saves") > 0
    assert pools.value("harvested") == pytest.approx(0.9 * pools.value("idle"))


def test_inference_on_the_training_pool_is_a_warning_with_money() -> None:
    work = Workload(model=LLAMA, serve=ASKED, train=Train(method="scratch", tokens=1e12, days=30))
    pools = plan(work).section("pools")
    assert pools.value("inference on the training pool costs") > 0
    assert any(note.startswith("warning: serving from the training pool") for note in pools.notes)


# -- Freehold itself --------------------------------------------------------------------------------


def test_freehold_takes_more_cores_and_disk_the_more_is_answered_and_two_sites_say_what_is_lost() -> None:
    few, many = (
        plan(Workload(model=LLAMA, serve=replace(ASKED, requests_a_day=n))).section("house")
        for n in (2e4, 2e7)
    )
    assert (few.value("machines"), many.value("machines")) == (1, 3)
    assert many.value("cores") > few.value("cores")
    assert many.value("disk") == pytest.approx(1000 * few.value("disk"))
    assert few.value("RPO, Postgres copied") < 60 * few.value("RPO, by backup")
    assert few.value("RTO, by backup") < many.value("RTO, by backup")
    assert any("site B" in note for note in few.notes)


def test_more_answers_than_were_ever_tried_are_called_so_and_take_machines_that_there_are() -> None:
    few, many = (
        plan(Workload(model=LLAMA, serve=replace(ASKED, requests_a_day=n))).section("house")
        for n in (2e6, 1e9)
    )
    assert not any("never tried" in note for note in few.notes)
    assert any("never tried" in note for note in many.notes)
    assert many.value("cores") / many.value("machines") <= 64


# -- what stands behind it --------------------------------------------------------------------------


def test_every_figure_has_label_formula_and_range_and_every_fact_it_names_is_told() -> None:
    found = plan(
        Workload(
            model=LLAMA, serve=ASKED, train=Train(method="lora", tokens=1e7), country="de", users=("us",)
        )
    )
    told = {fact.name: fact for fact in found.facts}
    for section in found.sections:
        names = [figure.name for figure in section.figures]
        assert len(names) == len(set(names))
        for figure in section.figures:
            assert figure.formula
            assert figure.label in ("measured", "derived", "estimated")
            assert set(figure.facts) <= told.keys(), figure.name
            if figure.low is not None and figure.high is not None:
                assert figure.low <= figure.value <= figure.high
            if figure.label == "derived":
                assert all(told[name].label != "estimated" for name in figure.facts)


def test_what_is_measured_takes_the_place_of_an_estimate_and_narrows_the_range() -> None:
    work = Workload(model=LLAMA, train=Train(method="lora", tokens=1e7))
    said = "value: 0.35, low: 0.34, high: 0.36, label: measured, as_of: 2026-11-01, source: our run"
    ours = f"train.mfu: {{{said}}}\n"
    before, after = (
        next(f for f in plan(work, own).section("training").figures if f.name == "a run")
        for own in ("", ours)
    )
    assert None not in (before.low, before.high, after.low, after.high)
    assert after.high - after.low < before.high - before.low  # type: ignore[operator]


def test_an_end_of_a_range_at_which_the_devices_fail_is_told_and_not_left_out_in_silence() -> None:
    found = plan(Workload(model=LLAMA, serve=ASKED, device="l4"))
    (note,) = [note for note in found.section("serving").notes if "the ranges leave that out" in note]
    assert note.startswith("with serve.decode_efficiency at 0.24 to 0.52 these devices do not do it")
    quicker = plan(Workload(model=LLAMA, serve=ASKED, device="h100"))
    assert not any("leave that out" in note for note in quicker.section("serving").notes)


def test_what_is_never_reached_at_the_end_of_a_range_is_told() -> None:
    notes = plan(Workload(model=LLAMA, serve=ASKED, device="h100")).section("money").notes
    said = "owned devices beat the API above: there is none with api.small.in at 0.1 and api.small.out at 0.4"
    assert any(note.startswith(said) for note in notes)


def test_the_cheapest_and_the_dearest_model_of_a_price_list_lie_within_the_range() -> None:
    found = plan(Workload(model=LLAMA, serve=ASKED))
    api = next(f for f in found.section("money").figures if f.name == "serving, API")
    requests = 3 * 365 * ASKED.requests_a_day / 1e6
    cheapest, dearest = (requests * (900 * into + 250 * out) for into, out in ((0.1, 0.4), (0.3, 2.5)))
    assert (api.low, api.high) == (pytest.approx(cheapest), pytest.approx(dearest))


def test_a_device_that_is_late_however_many_there_are_is_passed_over_for_one_that_is_not() -> None:
    steep = replace(ASKED, first_token_ms=800, curve=CURVES["office"])
    found = plan(Workload(model=LLAMA, serve=steep))
    first = found.served_on[0]
    assert not first.late
    assert first.fleet.device != "l4"
    assert found.waits[0].held
    late = next(one for one in found.served_on if one.fleet.device == "l4")
    assert late.late
    assert late.fleet.hourly < first.fleet.hourly
    (table,) = [t for t in found.section("serving").tables if t.title == "on which device"]
    assert any("99 of 100 too late" in str(row["first token"]) for row in table.rows)
    (alone,) = plan(Workload(model=LLAMA, serve=steep, device="l4")).served_on
    assert alone.late, "where there is no other it stays, and the section says so"


def test_the_facts_that_move_the_money_are_named_strongest_first() -> None:
    moves = plan(Workload(model=LLAMA, serve=replace(ASKED, requests_a_day=5e6))).moves
    assert moves
    assert [move.width for move in moves] == sorted((move.width for move in moves), reverse=True)
    assert any(move.fact.endswith(".rent") for move in moves)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1, 1e6),
    st.floats(1, 20_000),
    st.floats(1, 4_000),
    st.floats(1.1, 20),
    st.sampled_from(["llama-3-8b", "llama-3-70b", "deepseek-v3"]),
)
def test_more_traffic_never_needs_less(
    requests: float, tokens_in: float, tokens_out: float, more: float, model: str
) -> None:
    serve = Serve(requests_a_day=requests, tokens_in=tokens_in, tokens_out=tokens_out, first_token_ms=1e6)
    facts = figures.load()
    now, then = (
        serving.choices(facts, of_model(model, replace(serve, requests_a_day=requests * factor)))
        for factor in (1, more)
    )
    assert bool(now) == bool(then)
    if now:
        assert then[0].fleet.hourly >= now[0].fleet.hourly
