"""Thirty-six needs with the way that people who know would begin with, and what they would warn of."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.sizing import facts as figures
from freehold.sizing.advise import advise, rank
from freehold.sizing.approaches import WAYS
from freehold.sizing.need import CHANGES, KNOWLEDGE, QUALITY, SKILLS, TASKS, Need, from_answers
from freehold.sizing.spread import at_end, groups

TODAY = dt.date(2026, 11, 21)
SORT = {"task": "classify", "tokens_in": 300, "tokens_out": 1, "requests_a_day": 8_000}
READ = {"task": "extract", "tokens_in": 1_500, "tokens_out": 150, "requests_a_day": 4_000}
ASK = {"task": "answer", "tokens_in": 400, "tokens_out": 300, "requests_a_day": 5_000}
WRITE = {"task": "write", "tokens_in": 2_000, "tokens_out": 500, "requests_a_day": 1_000}
SCORE = {"task": "predict", "tokens_in": 60, "tokens_out": 1, "requests_a_day": 100_000}
OPEN, SHUT = {"sensitivity": "Internal"}, {"sensitivity": "Restricted"}
OURS = {"knowledge": "ours"}
TEAM = {"skills": "team", "budget": 20_000_000, "months": 24}

CASES: list[tuple[str, dict[str, Any], str | None, str]] = [
    # what, need, what comes first, what must not be open and good enough
    ("a table with labels", {**SCORE, **SHUT, "examples": 50_000}, "small", "api lora scratch"),
    ("a table with few labels", {**SCORE, **OPEN, "examples": 300}, "small", "api lora"),
    ("a table nobody labelled", {**SCORE, **OPEN}, None, "small lora scratch"),
    ("a table, the best", {**SCORE, **OPEN, "examples": 9_000, "quality": "best"}, "small", "scratch"),
    ("sorting with many examples", {**SORT, **OPEN, "examples": 12_000, "quality": "high"}, "small", "api"),
    ("sorting without examples", {**SORT, **OPEN}, "api", "small lora scratch"),
    ("sorting secrets without examples", {**SORT, **SHUT}, "prompt", "api small lora"),
    ("sorting secrets with some examples", {**SORT, **SHUT, "examples": 900}, "small", "api lora"),
    ("sorting secrets, high, few", {**SORT, **SHUT, "examples": 900, "quality": "high"}, None, "api small"),
    (
        "sorting well with some examples",
        {**SORT, **SHUT, "examples": 4_000, "quality": "high"},
        "small",
        "api",
    ),
    ("sorting best, many", {**SORT, **SHUT, "examples": 40_000, "quality": "best"}, "small", "api distill"),
    ("sorting, nobody trains", {**SORT, **OPEN, "examples": 100, "skills": "none"}, "api", "lora full"),
    ("sorting, hardly any money", {**SORT, **OPEN, "budget": 30_000}, "api", "prompt lora"),
    ("sorting, no money at all", {**SORT, **OPEN, "budget": 1_000}, None, "api small"),
    ("sorting next week", {**SORT, **OPEN, "months": 0.5, "examples": 5_000}, "api", "small lora"),
    ("finding facts in letters", {**READ, **OPEN}, "api", "small scratch"),
    (
        "finding facts in very many patients' letters",
        {**READ, **SHUT, "examples": 5_000, "quality": "high", "requests_a_day": 40_000},
        "distill",
        "api",
    ),
    (
        "the same, few of them a day",
        {**READ, **SHUT, "examples": 5_000, "quality": "high", "requests_a_day": 500},
        "lora",
        "api small distill",
    ),
    ("the same without examples", {**READ, **SHUT, "quality": "high"}, None, "api prompt lora"),
    ("chatting about anything", {**ASK, **OPEN}, "api", "rag small"),
    ("chatting inside", {**ASK, **SHUT}, "prompt", "api rag"),
    (
        "rules that change weekly",
        {**ASK, **OPEN, **OURS, "pages": 40_000, "changes": "weekly", "quality": "high"},
        "rag",
        "api prompt lora cag",
    ),
    (
        "rules that change, secret",
        {**ASK, **SHUT, **OURS, "pages": 40_000, "changes": "daily", "quality": "high"},
        "rag",
        "api lora cag",
    ),
    (
        "a handbook of eighty pages",
        {**ASK, **OPEN, **OURS, "pages": 80, "changes": "yearly"},
        "cag",
        "api lora",
    ),
    ("a handbook, secret", {**ASK, **SHUT, **OURS, "pages": 80, "changes": "yearly"}, "cag", "api"),
    (
        "a small price list that changes daily",
        {**ASK, **OPEN, **OURS, "pages": 20, "changes": "daily"},
        "rag",
        "cag lora",
    ),
    (
        "examples but the facts move",
        {**ASK, **OPEN, **OURS, "pages": 900, "examples": 30_000, "changes": "weekly"},
        "rag",
        "lora full",
    ),
    ("summaries of what is public", {**WRITE, "sensitivity": "Public", "skills": "none"}, "api", "lora rag"),
    (
        "discharge letters in house style",
        {**WRITE, **SHUT, "examples": 6_000, "quality": "high"},
        "lora",
        "api rag",
    ),
    (
        "letters, many examples and a team",
        {**WRITE, **SHUT, **TEAM, "examples": 90_000, "quality": "high"},
        "lora",
        "api scratch",
    ),
    (
        "letters, but nobody trains",
        {**WRITE, **SHUT, "examples": 6_000, "quality": "high", "skills": "none"},
        None,
        "lora full api",
    ),
    (
        "the best text there is, inside",
        {**WRITE, **SHUT, "quality": "best", "budget": 5_000_000},
        "prompt",
        "api",
    ),
    (
        "a language no model knows",
        {**WRITE, **SHUT, **TEAM, "pretrained": "no", "pages": 30_000_000},
        "scratch",
        "api prompt lora full",
    ),
    (
        "the same without the money",
        {**WRITE, **SHUT, **TEAM, "pretrained": "no", "pages": 30_000_000, "budget": 500_000},
        None,
        "scratch",
    ),
    (
        "the same without the text",
        {**WRITE, **SHUT, **TEAM, "pretrained": "no", "pages": 1_000},
        None,
        "scratch",
    ),
    ("a team that would love to", {**WRITE, **SHUT, **TEAM, "examples": 6_000}, "prompt", "scratch"),
]


def need_of(said: dict[str, Any]) -> Need:
    return from_answers(said)


@pytest.mark.parametrize(("what", "said", "first", "never"), CASES, ids=[case[0] for case in CASES])
def test_what_comes_first_and_what_never_does(
    what: str, said: dict[str, Any], first: str | None, never: str
) -> None:
    told = advise(figures.load(), need_of(said), TODAY)
    assert told.first == first, [(r.option.way.name, r.because) for r in told.ways]
    good = {r.option.way.name for r in told.ways if not r.option.closed and not r.option.short}
    assert not good & set(never.split())


def test_all_nine_are_told_each_with_its_reason_cost_and_law() -> None:
    told = advise(figures.load(), need_of({**SORT, **OPEN, "examples": 12_000}), TODAY)
    assert {ranked.option.way.name for ranked in told.ways} == WAYS.keys()
    for ranked in told.ways:
        assert ranked.because
        assert ranked.option.cost > 0
        assert ranked.option.energy > 0
        assert ranked.option.way.laws
        assert ranked.option.how


def test_what_would_flip_the_answer_does_flip_it() -> None:
    need = need_of({**SORT, **OPEN, "examples": 100})
    told = advise(figures.load(), need, TODAY)
    assert told.first == "api"
    assert any(line.startswith("if what is asked were Restricted: prompt") for line in told.flips)
    assert advise(figures.load(), replace(need, sensitivity="Restricted"), TODAY).first == "prompt"


def test_the_volume_at_which_it_flips_is_the_one_that_flips_it() -> None:
    need = need_of({**ASK, **OPEN, "budget": 50_000_000})
    told = advise(figures.load(), need, TODAY)
    line = next(line for line in told.flips if line.startswith("above "))
    word, unit = line.split()[1:3]
    at = float(word) * {"k": 1e3, "M": 1e6, "G": 1e9}[unit] / (need.tokens_in + need.tokens_out)
    after = line.split(": ")[1].split(",")[0]
    assert rank(figures.load(), replace(need, requests_a_day=at * 0.9))[0].way.name == told.first
    assert rank(figures.load(), replace(need, requests_a_day=at * 1.1))[0].way.name == after


def test_from_where_on_machines_of_your_own_cost_less_is_told_where_the_way_stays_the_same() -> None:
    need = need_of({**ASK, **OPEN, **OURS, "pages": 40_000, "changes": "weekly", "budget": 50_000_000})
    told = advise(figures.load(), need, TODAY)
    (line,) = [line for line in told.flips if "on your machines" in line]
    assert line.startswith("above ")
    assert f"still {told.first}" in line
    word, unit = line.split()[1:3]
    at = float(word) * {"k": 1e3, "M": 1e6, "G": 1e9}[unit] / (need.tokens_in + need.tokens_out)
    below, above = (rank(figures.load(), replace(need, requests_a_day=at * n))[0] for n in (0.9, 1.1))
    assert below.outside
    assert {"GDPR", "DORA"} <= {law.split()[0] for law in below.way.laws}
    assert "what is asked leaves the house" in below.way.risk
    assert not any(law.startswith("DORA") for law in above.way.laws)
    assert below.fleet is None
    assert not above.outside
    assert above.fleet is not None


def test_every_way_is_told_with_ranges_that_hold_it_and_every_figure_that_was_used() -> None:
    facts, need = figures.load(), need_of({**ASK, **OPEN, **OURS, "pages": 80})
    told = advise(facts, need, TODAY)
    for ranked in told.ways:
        option = ranked.option
        assert ranked.cost.low < option.cost < ranked.cost.high
        assert ranked.energy.low <= option.energy <= ranked.energy.high
        assert ranked.months.low < option.way.months < ranked.months.high
    api = next(one for one in told.ways if one.option.way.name == "api")
    listed = facts.used["api.small.out"]
    for end, bound in ((listed.low, api.cost.low), (listed.high, api.cost.high)):
        moved = rank(facts.instead("api.small.out", end), need)
        (cost,) = (o.cost for o in moved if o.way.name == "api")
        assert api.cost.low <= cost <= api.cost.high, bound


@pytest.mark.parametrize("end", ["low", "high"])
def test_at_no_end_of_a_figure_is_anybody_paid_less_than_nothing(end: str) -> None:
    facts, need = figures.load(), need_of({**ASK, **OPEN, **OURS, "pages": 900})
    rank(facts, need)
    for names in list(groups(facts)):
        for option in rank(at_end(facts, names, end), need):
            assert option.labour >= 0, (names, option.way.name)
            assert option.compute >= 0


def test_what_is_known_better_lies_in_a_narrower_range() -> None:
    need = need_of({**SORT, **SHUT, "examples": 900})
    said = "{value: 0.40, low: 0.39, high: 0.41, label: measured, as_of: 2026-11-01, source: our contract}"
    wide, narrow = (advise(figures.load(own), need, TODAY).ways[0] for own in ("", f"cpu.rent: {said}\n"))
    assert wide.option.way.name == narrow.option.way.name == "small"
    assert narrow.cost.high - narrow.cost.low < wide.cost.high - wide.cost.low


def test_a_figure_that_at_its_end_puts_another_way_first_is_told_and_does() -> None:
    facts = figures.load()
    near = advise(facts, need_of({**ASK, **OPEN}), TODAY)
    cost = {ranked.option.way.name: ranked.option.cost for ranked in near.ways}
    need = need_of({**ASK, **OPEN, "budget": 1.01 * cost[str(near.first)]})
    told = advise(facts, need, TODAY)
    lines = [line for line in told.flips if line.startswith("with ") and " at " in line.split(":")[0]]
    assert lines
    said, first = lines[0].removeprefix("with ").split(": ", 1)
    moved = facts
    for part in said.split(" and "):
        name, value = part.split(" at ")
        moved = moved.instead(name, float(value))
    assert advise(moved, need, TODAY).first == (None if first.startswith("nothing") else first.split(",")[0])


def test_a_way_that_no_device_serves_at_the_end_of_a_figure_says_so() -> None:
    about = "label: measured, as_of: 2026-11-01, source: ours}"
    small = f"{{value: 1, low: 1, high: 1, {about}"
    own = "".join(f"device.{name}.memory_gb: {small}\n" for name in figures.load().devices())
    own += f"device.h200.memory_gb: {{value: 30, low: 4, high: 40, {about}\n"
    own = own.replace(f"device.h200.memory_gb: {small}\n", "")
    told = advise(figures.load(own), need_of({**ASK, **SHUT, "quality": "best"}), TODAY)
    assert any("no known device does it" in line for line in told.warnings)


def test_old_prices_are_said_to_be_old() -> None:
    need = need_of({**ASK, **OPEN})
    assert any("api.small.in is" in line for line in advise(figures.load(), need, TODAY).warnings)
    early = advise(figures.load(), need, dt.date(2026, 8, 6)).warnings
    assert early
    assert not any("api.small" in line for line in early)


NEEDS = st.builds(
    Need,
    task=st.sampled_from(TASKS),
    sensitivity=st.sampled_from(("Public", "Internal", "Confidential", "Restricted")),
    requests_a_day=st.floats(1, 1e6),
    tokens_in=st.floats(1, 20_000),
    tokens_out=st.floats(1, 4_000),
    examples=st.floats(0, 1e6),
    knowledge=st.sampled_from(KNOWLEDGE),
    pages=st.floats(0, 1e5),
    changes=st.sampled_from(CHANGES),
    latency_ms=st.floats(50, 10_000),
    quality=st.sampled_from(QUALITY),
    skills=st.sampled_from(SKILLS),
    pretrained=st.booleans(),
    budget=st.floats(1_000, 1e8),
    months=st.floats(0.25, 48),
)


@settings(max_examples=60, deadline=None)
@given(NEEDS)
def test_more_traffic_never_costs_less_and_from_scratch_never_comes_first_without_cause(need: Need) -> None:
    now = {option.way.name: option for option in rank(figures.load(), need)}
    more = rank(figures.load(), replace(need, requests_a_day=need.requests_a_day * 3))
    for option in more:
        assert option.cost >= now[option.way.name].cost * 0.999
    first = rank(figures.load(), need)[0]
    if first.way.name == "scratch" and not first.closed and not first.short:
        assert not need.pretrained
        assert need.skills == "team"
        assert first.cost <= need.budget
    if need.sensitivity == "Restricted":
        assert now["api"].closed
        assert "external" not in now["rag"].how + now["cag"].how


def test_a_price_of_rented_machines_says_that_restricted_does_not_stand_on_them() -> None:
    for sensitivity, said in (("Restricted", True), ("Internal", False)):
        need = from_answers({**SORT, "sensitivity": sensitivity, "examples": 900})
        hows = {option.way.name: option.how for option in rank(figures.load(), need)}
        assert all(("stays on your ground" in hows[name]) is said for name in ("prompt", "small", "lora"))
