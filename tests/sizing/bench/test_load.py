"""Load: arrivals as they are said to be, times as a caller sees them, a gate that holds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from fake_upstream import listening

from freehold.sizing import facts as figures
from freehold.sizing.bench import arrivals, load, load_told
from freehold.sizing.bench.arrivals import BadTrace, Due
from freehold.sizing.bench.asking import Answered, Question, body
from freehold.sizing.bench.load import Asked, NothingAnswered, Stage, Target
from freehold.sizing.bench.load_told import Objective
from freehold.sizing.bench.progress import Progress
from freehold.sizing.bench.provenance import provenance
from freehold.sizing.bench.shown import text

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
MOONCAKE = (
    '{"timestamp": 500, "input_length": 12, "output_length": 3}\n'
    '{"timestamp": 0, "input_length": 9, "output_length": 2}\n'
)
QUESTION = Question(service="chat", texts=("one two three",), subject="", purpose="", tokens=0)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with listening() as url:
        yield Target(url=url, key="sk")


def test_requests_at_random_come_at_their_rate_and_independently() -> None:
    dues = arrivals.poisson(rate=50, seconds=200, seed=3)
    gaps = [late.at - early.at for early, late in pairwise(dues)]
    assert len(dues) == pytest.approx(10_000, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(statistics.fmean(gaps), rel=0.05)
    assert dues == arrivals.poisson(rate=50, seconds=200, seed=3)


def test_traces_of_two_kinds_are_read_and_begin_at_nought() -> None:
    first, second = arrivals.trace("azure.csv", AZURE)
    assert first == Due(at=0, tokens_in=374, tokens_out=44)
    assert second.at == pytest.approx(4.314579)
    assert [due.tokens_in for due in arrivals.trace("m.jsonl", MOONCAKE)] == [9, 12]
    assert arrivals.cut((first, second), seconds=3, speed=2)[-1].at == pytest.approx(2.157, abs=0.001)


@pytest.mark.parametrize("said", ["", "a,b\n1,2\n", "{}\n", '{"timestamp": "soon"}'])
def test_what_is_no_trace_is_told(said: str) -> None:
    with pytest.raises(BadTrace, match="is no trace"):
        arrivals.trace("file", said)


def test_a_request_of_a_trace_is_as_long_as_it_was() -> None:
    said = body(QUESTION, 0, Due(at=0, tokens_in=30, tokens_out=7))
    assert len(said["messages"][0]["content"].split()) == 30
    assert said["max_tokens"] == 7
    assert "max_tokens" not in body(QUESTION, 0, Due(at=0))


def test_where_facts_are_wanted_no_question_begins_as_another_did() -> None:
    fresh = replace(QUESTION, fresh=True)
    said = {body(fresh, number, Due(at=0))["messages"][0]["content"] for number in range(5)}
    assert {text.split(": ", 1)[1] for text in said} == {"one two three"}
    assert len(said) == 5


def test_a_gateway_behind_a_path_is_asked_there(target: Target) -> None:
    below = Target(url=f"{target.url}/somewhere", key=target.key)  # the fake does not mind
    assert load.run(below, QUESTION, Asked(seconds=0.2, callers=(1,)), Progress())[0].answered > 0


def test_callers_and_requests_at_random_are_answered_and_timed(target: Target) -> None:
    asked = Asked(seconds=0.3, callers=(1, 4))
    stages = load.run(target, QUESTION, asked, Progress())
    assert [stage.how for stage in stages] == ["closed", "closed", "open", "open"]
    for stage in stages:
        assert stage.failures == 0
        assert 0 < stage.first_token[0] <= stage.waited[0]
        assert stage.token is not None
        assert stage.tokens == pytest.approx(5 * stage.answered, rel=0.01)


def test_a_wait_is_counted_from_when_the_request_was_due() -> None:
    late = Answered(due=1.0, first=3.0, ended=5.0, tokens=3, failed="")
    assert (late.first_token, late.waited, late.token) == (2.0, 4.0, 1.0)


def test_a_slow_service_does_not_keep_up_and_the_gate_says_so(target: Target) -> None:
    slow = replace(QUESTION, texts=("word [delay 0.4]",))
    asked = Asked(seconds=0.5, rates=(20.0,), callers=())
    (stage,) = load.run(target, slow, asked, Progress())
    assert stage.waited[0] >= 0.4
    held = load_told.missed((stage,), Objective(waited=0.1, failures=0.0))
    assert len(held) == 1
    assert "p99 of the last word" in held[0]
    assert load_told.missed((stage,), Objective(waited=60, failures=0.0)) == ()


def test_failures_are_counted_by_why_and_never_timed(target: Target) -> None:
    mixed = replace(QUESTION, texts=("fine", "word [status 429]", "one two three [hang-up]"))
    dues = tuple(Due(at=0.02 * n) for n in range(9))
    (stage,) = load.run(target, mixed, Asked(trace=dues), Progress())
    assert stage.failed["429"] == 3
    assert stage.failures == pytest.approx(6 / 9)
    assert stage.how == "trace"


def test_one_that_answers_nothing_is_told_with_its_reasons(target: Target) -> None:
    wrong = replace(target, key="another")
    with pytest.raises(NothingAnswered) as told:
        load.run(wrong, QUESTION, Asked(seconds=0.2, callers=(1,)), Progress())
    assert "401" in told.value.why


def stage(callers: int, answered: float) -> Stage:
    three = (0.1, 0.2, 0.3)
    return Stage(
        how="closed",
        callers=callers,
        offered=answered,
        answered=answered,
        asked=10,
        failed={},
        waited=three,
        first_token=three,
        token=None,
        tokens=answered,
    )


def test_what_was_measured_becomes_facts_and_what_could_not_be_is_told(target: Target) -> None:
    papers = provenance({}, {})
    asked = Asked(seconds=0.3, callers=(1, 4))
    brief = load.run(target, QUESTION, asked, Progress())
    assert brief[0].asked_tokens == 3
    assert brief[0].said_tokens == 5
    told = load_told.facts("chat", brief, papers)
    assert "# the first token is left out: prompts of 3 tokens are read too quickly" in told
    long = load.run(target, replace(QUESTION, texts=("word " * 300,)), asked, Progress())
    known = figures.load(load_told.facts("chat", long, papers))
    assert known("engine.tokens_in") == 300
    assert known("engine.tokens_out") == pytest.approx(302)
    assert known.at_numbers("engine.token_ms")
    first = known("engine.first_token_ms")
    assert first == pytest.approx(1000 * long[0].firsts[0], rel=1e-3)
    assert known.used["engine.first_token_ms"].low <= 1000 * min(long[0].firsts) * 1.001
    assert "freehold bench load chat" in known.used["engine.first_token_ms"].source


def test_it_is_saturated_from_where_more_callers_get_no_more() -> None:
    found = load.saturation([stage(1, 10), stage(2, 19), stage(4, 30), stage(8, 30.5), stage(16, 29)])
    assert found is not None
    assert found.callers == 4
    assert load.saturation([stage(1, 10), stage(2, 20)]) is None
    assert load.saturation([stage(1, 10)]) is None


def test_the_report_shows_both_loads_and_no_text_that_was_asked(target: Target) -> None:
    told: list[str] = []
    progress = Progress(lambda now: told.append(now.stage))
    stages = load.run(target, QUESTION, Asked(seconds=0.2, callers=(1, 2)), progress)
    assert {"1 caller", "2 callers"} <= set(told)
    said = text(load_told.page("chat", stages, Objective(waited=60), provenance({}, {})))
    assert "callers that wait for their answer" in said
    assert "enough: everything asked for was held" in said
    assert "one two three" not in said


def test_a_service_that_refuses_most_holds_no_time_however_quick_the_others_are() -> None:
    shedding = replace(stage(4, 10), failed={"429": 2})
    (said,) = load_told.missed([shedding], Objective(waited=1.0))
    assert "20 % failed, at most 1" in said
    assert load_told.missed([shedding], Objective(waited=1.0, failures=0.5)) == ()
    assert load_told.missed([shedding], Objective(answered=5.0)) == ()
