"""What requests wait for, played: against what can be reckoned, and one thing held against another."""

from __future__ import annotations

import random

import pytest

from freehold.sizing import facts as figures
from freehold.sizing import queueing, serving, tails, traces
from freehold.sizing.queueing import Speed, simulate
from freehold.sizing.traces import Arrival
from freehold.sizing.workload import Serve, of_model


def speed(rows: int = 8, read: float = 0.1, step: float = 0.01) -> Speed:
    return Speed(rows=rows, read=lambda tokens: read, step=lambda rows: step)


def test_alone_a_request_waits_for_its_own_prompt_and_tokens() -> None:
    found = simulate([Arrival(5.0, 100, 50)], speed(), 1)
    assert found.first_token[0] == pytest.approx(0.1 + 0.01)
    assert found.stays == pytest.approx(0.1 + 50 * 0.01)
    assert found.busy == pytest.approx(1)


def test_who_finds_all_rows_taken_waits_until_one_is_free() -> None:
    both = simulate([Arrival(0, 1, 100), Arrival(0.001, 1, 100)], speed(rows=1), 1)
    assert both.first_token[2] == pytest.approx(1.1 + 0.1 + 0.01 - 0.001)
    apart = simulate([Arrival(0, 1, 100), Arrival(0.001, 1, 100)], speed(rows=1), 2)
    assert apart.first_token[2] == pytest.approx(0.11)


def test_a_prompt_that_is_read_holds_up_who_is_being_answered() -> None:
    found = simulate([Arrival(0, 1, 101), Arrival(0.5, 1, 101)], speed(), 1)
    assert found.token[2] == pytest.approx((1.0 + 0.1) / 100, rel=0.02)


def test_little_holds_in_what_is_played() -> None:
    arrivals = list(traces.scaled(traces.bursty(), 6.0, 500, 100))
    found = simulate(arrivals, speed(rows=16, read=0.03, step=0.02), 2)
    assert found.in_flight == pytest.approx(found.a_second * found.stays, rel=1e-6)


def test_one_server_with_random_arrivals_waits_as_the_textbook_says() -> None:
    """M/D/1 at 70 %: the mean wait is rho / (2 (1 - rho)) services."""
    rng, now, arrivals = random.Random(3), 0.0, []
    for _ in range(20_000):
        now += rng.expovariate(7.0)
        arrivals.append(Arrival(now, 1, 1))
    found = simulate(arrivals, Speed(rows=1, read=lambda t: 0.05, step=lambda r: 0.05), 1)
    assert found.stays - 0.1 == pytest.approx(0.1 * 0.7 / (2 * 0.3), rel=0.08)


def test_more_replicas_wait_less_and_bursts_wait_longer() -> None:
    steady, bursts = (list(traces.scaled(make(), 8.0, 500, 100)) for make in (traces.steady, traces.bursty))
    slow = speed(rows=8, read=0.05, step=0.02)
    waits = [simulate(steady, slow, count).first_token[2] for count in (2, 3, 5)]
    assert waits == sorted(waits, reverse=True)
    assert simulate(bursts, slow, 3).first_token[2] > waits[1]


def test_as_many_are_taken_as_it_takes_and_no_number_mends_a_long_prompt() -> None:
    asked = list(traces.scaled(traces.steady(), 8.0, 500, 100))
    slow = speed(rows=8, read=0.05, step=0.02)
    found, held = queueing.enough(asked, slow, 1, 0.5, 40)
    assert held
    assert found.first_token[2] <= 0.5
    assert simulate(asked, slow, 1).first_token[2] > 0.5
    _, held = queueing.enough(asked, slow, 1, 0.05, 8)
    assert not held


def test_a_plan_has_as_many_replicas_as_its_slowest_first_tokens_take() -> None:
    facts = figures.load()
    for first_token_ms in (400, 1000, 5000):
        serve = Serve(requests_a_day=300_000, tokens_in=900, tokens_out=250, first_token_ms=first_token_ms)
        work = of_model("llama-3-8b", serve)
        best = tails.enough_for(facts, work, serving.choices(facts, work), None)[0]
        played = tails.play(facts, work, best, traces.steady())
        assert played.tails.first_token[2] <= first_token_ms / 1000 or not played.held


def test_the_planned_utilisation_is_what_is_played() -> None:
    """The formula's share of busy time, at the busiest hour, lies below what is played: rows are not full."""
    facts = figures.load()
    serve = Serve(requests_a_day=2_000_000, tokens_in=900, tokens_out=250, first_token_ms=5000)
    work = of_model("llama-3-8b", serve)
    best = serving.choices(facts, work)[0]
    played = tails.play(facts, work, best, traces.steady()).tails
    assert facts("serve.utilisation") * 0.9 <= played.busy <= 1


def test_no_number_of_replicas_is_looked_for_where_the_longest_prompts_alone_take_too_long() -> None:
    long = Speed(rows=8, read=lambda tokens: tokens / 1000, step=lambda rows: 0.01)
    arrivals = [Arrival(0.05 * n, 3000 if n % 20 == 0 else 10, 5) for n in range(400)]
    bound = queueing.alone(arrivals, long)
    assert bound == pytest.approx(3.01)
    assert simulate(arrivals, long, 40).first_token[2] >= bound * 0.999
    found, held = queueing.enough(arrivals, long, 3, first_token=2.9, most=64)
    assert (found.replicas, held) == (3, False)
    found, held = queueing.enough(arrivals, long, 1, first_token=3.1, most=64)
    assert held
    assert found.replicas > 1
