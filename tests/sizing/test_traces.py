"""Traffic from files: public formats, spend logs and usage exports; only times, counts, tokens and money."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from freehold.sizing import traces, usage
from freehold.sizing.traces import BadTrace
from freehold.spec import csv_cells

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:56.68,396,109\n"
)
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,100,10\n2.5,300,30\n"
BURST = (
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,GPT-4,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,Conversation log\n"
)
OURS = "at,tokens_in,tokens_out\n2026-11-01T00:00:00Z,10,1\n2026-11-01T00:01:00+00:00,30,3\n"
MOONCAKE = (
    '{"timestamp": 0, "input_length": 1024, "output_length": 52, "hash_ids": [1, 2]}\n'
    '{"timestamp": 3000, "input_length": 1536, "output_length": 26, "hash_ids": [1, 2, 3]}\n'
)
LITELLM = (
    "request_id,api_key,spend,prompt_tokens,completion_tokens,startTime,user\n"
    "r1,sk-secret,0.01,100,10,2026-11-01 08:00:00.000,ann@example.org\n"
    "r2,sk-secret,0.03,300,30,2026-11-01 20:00:00.000,bob@example.org\n"
)
OPENAI = (
    "start_time,end_time,start_time_iso,num_model_requests,input_tokens,output_tokens,input_cached_tokens,model\n"
    "1730419200,1730505600,2024-11-01T00:00:00+00:00,5,1000,500,800,gpt-4o-mini\n"
    "1730505600,1730592000,2024-11-02T00:00:00+00:00,15,3000,1500,800,gpt-4o-mini\n"
)


@pytest.mark.parametrize(
    ("text", "seconds", "into"),
    [(AZURE, 10, 770), (VIDUR, 2, 400), (BURST, 40, 1559), (OURS, 60, 40), (MOONCAKE, 3, 2560)],
    ids=["azure", "vidur", "burstgpt", "ours", "mooncake"],
)
def test_a_public_format_is_known_by_its_first_line(text: str, seconds: float, into: float) -> None:
    trace = traces.read("trace", text)
    assert trace.seconds == pytest.approx(seconds, abs=0.001)
    assert sum(arrival.tokens_in for arrival in trace.arrivals) == into


def test_blocks_that_came_before_stand_in_the_cache() -> None:
    assert traces.read("trace", MOONCAKE).cached == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "none of the known columns"),
        ("a,b\n1,2\n", "at,tokens_in,tokens_out"),
        ("at,tokens_in,tokens_out\n", "0 requests"),
        ("at,tokens_in,tokens_out\n5,1,1\n5,1,1\n", "different times"),
        ("at,tokens_in,tokens_out\nsoon,1,1\n", "line 2"),
        ("at,tokens_in,tokens_out\n1,x,1\n", "line 2"),
        ('{"timestamp": 1}\n', "lacks timestamp, input_length"),
        ("index,num_prefill_tokens,num_decode_tokens\n0,1,1\n", "does not say when"),
    ],
)
def test_what_is_no_trace_is_told(text: str, says: str) -> None:
    with pytest.raises(BadTrace) as told:
        usage.from_text("file.csv", text)
    assert says in f"{told.value.why} {told.value.hint}"


def test_a_spend_log_tells_what_was_paid_and_nothing_of_whom() -> None:
    found = usage.from_text("spend.csv", LITELLM)
    assert found.dollars == pytest.approx(0.04)
    assert (found.tokens_in, found.tokens_out) == (200, 20)
    assert found.trace is not None
    (paid,) = found.facts(dt.date(2026, 11, 21))
    assert paid.label == "measured"
    assert paid.value == pytest.approx(0.04 / 440 * 1e6)
    assert "secret" not in repr(found)
    assert "ann@" not in repr(found)


def test_a_usage_export_is_counted_by_days() -> None:
    found = usage.from_text("usage.csv", OPENAI)
    assert found.requests == 20
    assert found.days == 2
    assert found.cached == pytest.approx(0.4)
    serve = found.serve()
    assert (serve.requests_a_day, serve.tokens_in, serve.tokens_out) == (10, 200, 100)
    assert serve.curve == ()


def test_what_the_usage_api_answers_is_read_too() -> None:
    result = {"num_model_requests": 5, "input_tokens": 1000, "output_tokens": 500, "input_cached_tokens": 0}
    bucket = {"start_time": 1730419200, "end_time": 1730505600, "results": [result]}
    found = usage.from_text("usage.json", json.dumps({"object": "page", "data": [bucket]}))
    assert (found.requests, found.days, found.tokens_in) == (5, 1, 200)
    with pytest.raises(BadTrace):
        usage.from_text("usage.json", '{"data": [{"results": [{}]}]}')


def test_what_was_counted_is_told_as_measured_and_the_paid_price_is_used() -> None:
    from freehold.sizing import facts as figures
    from freehold.sizing.size import size
    from freehold.sizing.workload import of_model

    found, today = usage.from_text("spend.csv", LITELLM), dt.date(2026, 11, 21)
    facts = figures.load().with_(found.facts(today))
    plan = size(facts, of_model("llama-3-8b", found.serve()), today, found)
    told = plan.section("asked")
    requests, into, *_ = told.figures
    assert requests.low is not None
    assert requests.high is not None
    assert into.high == pytest.approx(200 + 1.96 * 2**0.5 * 100 / 2**0.5)
    assert {figure.label for figure in told.figures} == {"measured"}
    assert told.value("paid") == pytest.approx(0.04 / found.days)
    api = plan.section("money").value("serving, API")
    assert api == pytest.approx(0.04 / found.days * 365 * 3)


def test_daily_rows_of_litellm_are_counted() -> None:
    head = "date,api_key,model,prompt_tokens,completion_tokens,spend,api_requests"
    rows = f"{head}\n2026-11-01,k,m,1000,100,0.5,10\n"
    found = usage.from_text("daily.csv", rows)
    assert (found.requests, found.days, found.tokens_in, found.dollars) == (10, 1, 100, 0.5)


def test_prometheus_is_asked_by_the_hour_and_makes_a_day() -> None:
    def said(value: float) -> dict[str, object]:
        values = [[1_730_419_200 + 3600 * hour, str(value * (1 + hour % 24))] for hour in range(1, 49)]
        return {"status": "success", "data": {"resultType": "matrix", "result": [{"values": values}]}}

    told = {"requests": said(10), "tokens_in": said(1000), "tokens_out": said(500), "cached": said(100)}
    found = usage.of_prometheus("prometheus", told)
    assert (found.tokens_in, found.tokens_out) == (100, 50)
    assert found.cached == pytest.approx(0.1)
    assert found.days == 2
    assert len(found.curve) == 24
    assert max(found.curve) > 1.5
    assert found.pace is None
    seen = told | {"token_seconds": said(2), "gaps": said(100), "rows": said(4)}
    paced = usage.of_prometheus("prometheus", seen).pace
    assert paced is not None
    assert paced.token == pytest.approx(0.02)
    assert 4 * 12.5 < paced.rows < 4 * 24
    empty = {word: {"data": {"result": []}} for word in told}
    with pytest.raises(BadTrace):
        usage.of_prometheus("prometheus", empty)
    with pytest.raises(BadTrace):
        usage.of_prometheus("prometheus", {"requests": "what?"})


def test_own_records_make_a_day_of_answers_that_were_given() -> None:
    rows = [
        {
            "at": 1_730_419_200_000_000 + (24 * day + hour) * 3_600_000_000,
            "ending": ending,
            "tokens_in": 40,
            "tokens_out": 2,
        }
        for day in (0, 1)
        for hour in range(24)
        for ending in ("answered", "denied")
    ]
    found = usage.of_answers("records", rows)
    assert found.requests == 48
    assert found.days == pytest.approx(2, rel=0.01)
    assert max(found.curve) == pytest.approx(1)


def test_traces_that_we_ship_are_made_from_a_seed_and_scaled_to_any_rate() -> None:
    for make in traces.SHIPPED.values():
        assert make() == make()
        scaled = list(traces.scaled(make(), 5.0, 900, 250))
        assert len(scaled) / (scaled[-1].at - scaled[0].at) == pytest.approx(5, rel=0.01)
        assert sum(a.tokens_in for a in scaled) / len(scaled) == pytest.approx(900, rel=0.02)
    gaps = {}
    for name, make in traces.SHIPPED.items():
        at = [a.at for a in make().arrivals]
        between = [b - a for a, b in pairwise(at)]
        mean = sum(between) / len(between)
        gaps[name] = (sum((g - mean) ** 2 for g in between) / len(between)) ** 0.5 / mean
    assert gaps["steady"] == pytest.approx(1, abs=0.1)
    assert gaps["bursty"] > 1.3


DATA = Path(os.environ.get("FREEHOLD_TEST_DATA", "")) / "7_traces"


@pytest.mark.skipif(
    "FREEHOLD_TEST_DATA" not in os.environ, reason="FREEHOLD_TEST_DATA names no folder with traces"
)
def test_public_traces_are_read_whole() -> None:
    conversation = usage.from_text("azure", (DATA / "azure_llm_2023_conv.dev.csv").read_text())
    assert conversation.requests == 9683
    assert 500 < conversation.tokens_in < 2000
    mooncake = usage.from_text("mooncake", (DATA / "mooncake_conversation.dev.jsonl").read_text())
    assert mooncake.requests == 6015
    assert 0.2 < mooncake.cached < 0.8


def test_a_day_of_which_seconds_were_seen_is_an_estimate() -> None:
    found = usage.from_text("azure.csv", AZURE).section()
    labels = {figure.name: figure.label for figure in found.figures}
    assert labels["requests"] == "estimated"
    assert labels["tokens of a request"] == "measured"
    assert any("taken for a day" in note for note in found.notes)


def test_a_spend_log_with_whole_conversations_in_it_is_read() -> None:
    head, first, second = LITELLM.splitlines()
    long = "x" * 300_000
    text = f"{head},messages\n{first},{long}\n{second},{long}\n"
    assert usage.from_text("spend.csv", text).dollars == pytest.approx(0.04)


def test_what_was_paid_is_divided_by_the_tokens_it_was_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (traces, usage):
        monkeypatch.setattr(module, "MOST", 2)
    more = LITELLM + "".join(f"r{n},k,5.0,9,9,2026-11-02 08:00:00.000,x\n" for n in range(9))
    found = usage.from_text("spend.csv", more)
    assert found.requests == 2
    assert found.dollars == pytest.approx(0.04)


def test_a_cell_that_is_wider_than_any_reader_takes_is_told() -> None:
    with pytest.raises(BadTrace, match="cannot be read"):
        usage.from_text("spend.csv", LITELLM.replace("r1", "r" * (csv_cells.WIDEST + 1)))
    assert csv.field_size_limit() == csv_cells.WIDEST
