"""What is asked today, taken from what is there: spend logs, usage exports, Prometheus, traces, own records.

From a file only times, counts, tokens and money are read. What comes of it is measured: it says so; of a day
of which only a part was seen, it says that.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from freehold.sizing.facts import Fact
from freehold.sizing.figure import Figure, Section
from freehold.sizing.taken import Taken
from freehold.sizing.traces import MOST, Arrival, BadTrace, Trace, read, seconds_of, table, whole
from freehold.sizing.workload import Serve

DAY = 86_400.0
HOUR = 3_600.0
ENOUGH_HOURS = 20
"""Hours that a day has to have been seen for, before its curve is believed."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Requests of a span of time, counted together."""

    begin: float
    """Seconds since 1970."""
    end: float
    requests: float
    tokens_in: float
    tokens_out: float
    cached: float = 0
    """Tokens of the prompts that had been read before."""
    dollars: float = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast engines that run were seen to write."""

    token: float
    """Seconds from one token of an answer to the next, mean."""
    rows: float
    """Requests that one engine answered at a time, mean over the hours, by their tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A device that is there, and how busy it was seen."""

    name: str
    kind: str
    """As it calls itself."""
    team: str
    """The namespace it works for; empty where it is not told."""
    phase: str
    """training | inference; empty where it is not told."""
    hours: Mapping[float, float]
    """Share of each hour in which something ran on it; seconds since 1970."""

    @property
    def mean(self) -> float:
        return math.fsum(self.hours.values()) / len(self.hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was asked, in a mean day."""

    name: str
    requests: float
    """In all."""
    days: float
    """That were looked at."""
    tokens_in: float
    """Of a mean request."""
    tokens_out: float
    cached: float
    curve: tuple[float, ...]
    """Hours of a day (UTC) over a mean one; empty where less than a day was seen."""
    dollars: float
    """That were paid; 0 where it is not told."""
    trace: Trace | None
    """Request by request, where it is told."""
    pace: Pace | None = None
    """Of the engines, where it is told."""
    used: tuple[Used, ...] = ()
    """Devices that are there already, where it is told."""
    taken: Taken | None = None
    """Energy of models that are there already, where it is told."""

    def serve(self, first_token_ms: float = 2000, token_ms: float = 50) -> Serve:
        """As a workload says it."""
        return Serve(
            requests_a_day=max(1.0, self.requests / self.days),
            tokens_in=max(1.0, self.tokens_in),
            tokens_out=max(1.0, self.tokens_out),
            first_token_ms=first_token_ms,
            token_ms=token_ms,
            cached=min(0.99, self.cached),
            curve=self.curve,
        )

    def section(self) -> Section:
        """What was counted, as figures that were measured."""
        over, short = f"counted in {self.name} over {self.days:.3g} days", self.days < 1
        told = [
            ("requests", self.requests / self.days, "a day", None if short else self._sure(1.0)),
            ("tokens of a request", self.tokens_in, "", self._spread(lambda one: one.tokens_in)),
            ("tokens of an answer", self.tokens_out, "", self._spread(lambda one: one.tokens_out)),
            ("read before", 100 * self.cached, "% of the prompts", None),
            ("paid", self.dollars / self.days, "USD a day", None),
        ]
        if self.curve:
            told.append(("busiest hour", max(self.curve), "times a mean one", None))
        return Section(
            name="asked",
            title="what is asked today",
            figures=tuple(
                Figure(
                    name=name,
                    value=value,
                    unit=unit,
                    formula=over + ", as if all days were so" * (short and "a day" in unit),
                    label="estimated" if short and "a day" in unit else "measured",
                    low=None if sure is None else value * (1 - sure),
                    high=None if sure is None else value * (1 + sure),
                )
                for name, value, unit, sure in told
                if value
            ),
            notes=tuple(self._notes()),
        )

    def _sure(self, deviation: float) -> float:
        """Half of the interval (95 %) of a mean over the requests, as a share; of a count it is 1."""
        return min(1.0, 1.96 * deviation / math.sqrt(self.requests))

    def _spread(self, of: Callable[[Arrival], float]) -> float | None:
        """The same of the tokens, where they are told one by one."""
        if self.trace is None or len(self.trace.arrivals) < 2:
            return None
        values = [of(one) for one in self.trace.arrivals]
        return self._sure(statistics.stdev(values) / max(1e-9, statistics.fmean(values)))

    def _notes(self) -> Iterator[str]:
        if self.pace:
            pace = f"{1000 * self.pace.token:.3g} ms a token, {self.pace.rows:.3g} rows at a time"
            yield f"its engines take {pace}"
        if self.days < 1:
            yield f"{self.days * DAY / HOUR:,.3g} hours were seen, and taken for a day: look at more of it"
        if not self.curve:
            yield "less than a day was seen: the peak is a fact"

    def facts(self, today: dt.date) -> tuple[Fact, ...]:
        """What was measured by it, in place of list prices."""
        tokens = self.requests * (self.tokens_in + self.tokens_out)
        if not self.dollars or not tokens:
            return ()
        paid = self.dollars / tokens * 1e6
        return (
            Fact(
                name="api.paid",
                value=paid,
                low=paid,
                high=paid,
                label="measured",
                as_of=today,
                source=f"{self.name}: {self.dollars:,.2f} USD for {tokens / 1e6:,.2f} M tokens",
            ),
        )


def from_text(name: str, text: str) -> Usage:
    """A spend log, a usage export (CSV or JSON) or a trace: its first line says which. Raises BadTrace."""
    try:
        return _from_text(name, text)
    except csv.Error as error:
        raise BadTrace(name=name, why=f"it is no CSV: {error}") from error


def _from_text(name: str, text: str) -> Usage:
    if text.lstrip()[:1] in "[{" and '"results"' in text[:2000]:
        return of_buckets(name, _openai_pages(name, text))
    rows = table(text)
    columns = {(column or "").strip() for column in rows.fieldnames or ()}
    if {"num_model_requests", "input_tokens", "output_tokens"} <= columns:
        return of_buckets(name, list(_openai_rows(name, rows)))
    if {"api_requests", "prompt_tokens", "date"} <= columns:
        return of_buckets(name, list(_litellm_days(name, rows)))
    return of_trace(read(name, text), _spent(text) if "spend" in columns else 0.0)


def _spent(text: str) -> float:
    """Of the requests that are read, and of no others: it is divided by their tokens."""
    timed = (row for row in table(text) if str(row.get("startTime") or "").strip())
    return sum(_number(row.get("spend")) for row in islice(timed, MOST))


def of_trace(trace: Trace, dollars: float = 0) -> Usage:
    """What comes request by request; less than an hour stands for a mean one."""
    count = len(trace.arrivals)
    days = trace.seconds / DAY * count / (count - 1)
    return Usage(
        name=trace.name,
        requests=count,
        days=days,
        tokens_in=sum(a.tokens_in for a in trace.arrivals) / count,
        tokens_out=sum(a.tokens_out for a in trace.arrivals) / count,
        cached=trace.cached,
        curve=_curve(((a.at, 1.0) for a in trace.arrivals), trace.seconds) if trace.clock else (),
        dollars=dollars,
        trace=trace,
    )


def of_buckets(name: str, buckets: Sequence[Bucket]) -> Usage:
    """What comes counted by spans of time. Raises BadTrace."""
    requests = sum(bucket.requests for bucket in buckets)
    if not buckets or requests <= 0:
        raise BadTrace(name=name, why="no requests are counted in it")
    begin, end = min(b.begin for b in buckets), max(b.end for b in buckets)
    into = sum(bucket.tokens_in for bucket in buckets)
    hourly = all(bucket.end - bucket.begin <= HOUR for bucket in buckets)
    times = ((bucket.begin, bucket.requests) for bucket in buckets)
    return Usage(
        name=name,
        requests=requests,
        days=max(HOUR, end - begin) / DAY,
        tokens_in=into / requests,
        tokens_out=sum(bucket.tokens_out for bucket in buckets) / requests,
        cached=sum(bucket.cached for bucket in buckets) / into if into else 0,
        curve=_curve(times, end - begin) if hourly else (),
        dollars=sum(bucket.dollars for bucket in buckets),
        trace=None,
    )


def of_answers(name: str, rows: Iterable[Mapping[str, Any]]) -> Usage:
    """Records of this installation, as `/api/answers` gives them: times in microseconds. Raises BadTrace."""
    given = (row for row in rows if row.get("ending") == "answered")
    found = (
        Arrival(int(row["at"]) / 1e6, float(row["tokens_in"]), float(row["tokens_out"])) for row in given
    )
    return of_trace(whole(name, found, clock=True))


def _curve(times: Iterable[tuple[float, float]], seconds: float) -> tuple[float, ...]:
    """Of the hours of a day; empty where a day was not seen."""
    if seconds < ENOUGH_HOURS * HOUR:
        return ()
    hours = [0.0] * 24
    for at, requests in times:
        hours[int(at // HOUR) % 24] += requests
    mean = sum(hours) / 24
    return tuple(hour / mean for hour in hours) if mean else ()


# -- formats that are counted by spans of time ---------------------------------------------------------


def _openai_rows(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Bucket]:
    """The export of OpenAI's usage page: one row for each span of time and model."""
    for line, row in enumerate(rows, start=2):
        said = row.get("start_time") or row.get("start_time_iso")
        until = row.get("end_time") or row.get("end_time_iso")
        yield _bucket(name, f"line {line}", said, until, row)


def _openai_pages(name: str, text: str) -> Sequence[Bucket]:
    """What OpenAI's usage API answers: buckets of results; one page, or a list of pages."""
    try:
        said = json.loads(text)
        pages = said if isinstance(said, list) else [said]
        return [
            _bucket(name, "a bucket", bucket["start_time"], bucket["end_time"], result)
            for page in pages
            for bucket in page["data"]
            for result in bucket["results"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadTrace(name=name, why="it is not what OpenAI's usage API answers") from error


def _bucket(name: str, where: str, begin: Any, end: Any, row: Mapping[str, Any]) -> Bucket:
    try:
        first, _ = seconds_of(str(begin))
        last = seconds_of(str(end))[0] if end else first + DAY
    except ValueError as error:
        raise BadTrace(name=name, why=f"{where} has no time from and to") from error
    return Bucket(
        first,
        last,
        _number(row.get("num_model_requests")),
        _number(row.get("input_tokens")),
        _number(row.get("output_tokens")),
        _number(row.get("input_cached_tokens")),
    )


def _litellm_days(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Bucket]:
    """LiteLLM's daily tables: one row for each day, key and model."""
    for line, row in enumerate(rows, start=2):
        try:
            begin, _ = seconds_of(str(row["date"]))
        except ValueError as error:
            raise BadTrace(name=name, why=f"line {line} has no date") from error
        yield Bucket(
            begin,
            begin + DAY,
            _number(row["api_requests"]),
            _number(row["prompt_tokens"]),
            _number(row.get("completion_tokens")),
            _number(row.get("cache_read_input_tokens")),
            _number(row.get("spend")),
        )


def _number(said: Any) -> float:
    try:
        return max(0.0, float(said or 0))
    except (TypeError, ValueError):
        return 0.0


# -- Prometheus ---------------------------------------------------------------------------------------

QUERIES = {
    "requests": "sum(increase(vllm:request_success_total[1h]))",
    "tokens_in": "sum(increase(vllm:prompt_tokens_total[1h]))",
    "tokens_out": "sum(increase(vllm:generation_tokens_total[1h]))",
    "cached": "sum(increase(vllm:prefix_cache_hits_total[1h]))",
}
"""By the hour, over all engines; the last one may be missing."""
_GAP = "inter_token_latency_seconds", "time_per_output_token_seconds"
"""As vLLM calls it, and as it did before."""
PACE = {
    "token_seconds": " or ".join(f"sum(increase(vllm:{name}_sum[1h]))" for name in _GAP),
    "gaps": " or ".join(f"sum(increase(vllm:{name}_count[1h]))" for name in _GAP),
    "rows": "avg(avg_over_time(vllm:num_requests_running[1h]))",
}
"""How fast engines write; all of them may be missing."""


DEVICES = {"devices": "avg_over_time(DCGM_FI_DEV_GPU_UTIL[1h])"}
"""How busy each device is, as NVIDIA's exporter (DCGM) tells it in per cent; may be missing."""
PHASES = "exported_phase", "phase", "exported_workload_type", "workload_type"
"""Labels that may say what a device works for, the first of them that says it."""
TRAINING = ("training", "train", "finetuning", "finetune", "pretraining", "pretrain")
INFERENCE = ("inference", "infer", "serving", "serve", "prediction", "predict")
"""The words in which they say it, in any case, with hyphens or without."""


def of_prometheus(name: str, answers: Mapping[str, Any], phase: str = "") -> Usage:
    """What `/api/v1/query_range` answered to QUERIES, PACE and DEVICES, an hour apart. Raises BadTrace.

    `phase` is the label of a device that says what it works for, in place of PHASES.
    """
    series = {word: _series(name, answer) for word, answer in answers.items() if word not in DEVICES}
    used = _used(name, answers["devices"], phase) if "devices" in answers else ()
    times = sorted(series["requests"])
    buckets = [
        Bucket(at - HOUR, at, *(series.get(word, {}).get(at, 0.0) for word in QUERIES)) for at in times
    ]
    if not buckets:
        why = "it holds no vllm:request_success_total"
        raise BadTrace(name=name, why=why, hint="is this the Prometheus that scrapes your engines?")
    return replace(of_buckets(name, buckets), pace=_pace(series), used=used)


def _used(name: str, answer: Any, phase: str) -> tuple[Used, ...]:
    """One for each device, those without a measured hour left out."""
    found, labels = [], set[str]()
    try:
        for one in answer["data"]["result"]:
            told = {key: str(value)[:60] for key, value in one["metric"].items()}
            labels |= told.keys()
            shares = {float(at): min(1.0, max(0.0, float(v) / 100)) for at, v in one["values"] if v != "NaN"}
            where = "/".join(filter(None, (told.get("Hostname") or told.get("instance"), told.get("gpu"))))
            team = told.get("exported_namespace") or told.get("namespace", "")
            if shares:
                found.append(
                    Used(
                        name=where or told.get("UUID", "?"),
                        kind=told.get("modelName", ""),
                        team=team,
                        phase=_phase(told, (phase,) if phase else PHASES),
                        hours=shares,
                    )
                )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadTrace(name=name, why="it does not answer as Prometheus does") from error
    if phase and phase not in labels:
        hint = f"they carry: {', '.join(sorted(labels)[:20])}" if labels else "does it scrape NVIDIA's DCGM?"
        raise BadTrace(name=name, why=f"no device carries the label `{phase[:60]}`", hint=hint)
    return tuple(found)


def _phase(told: Mapping[str, str], labels: Sequence[str]) -> str:
    """Other words are no phase: a pod's `phase` is `Running`."""
    said = (told.get(label, "").casefold().replace("-", "").replace("_", "") for label in labels)
    known = {**dict.fromkeys(TRAINING, "training"), **dict.fromkeys(INFERENCE, "inference")}
    return next((known[word] for word in said if word in known), "")


def _pace(series: Mapping[str, Mapping[float, float]]) -> Pace | None:
    gaps = series.get("gaps", {})
    count, seconds = sum(gaps.values()), sum(series.get("token_seconds", {}).values())
    rows = sum(gaps.get(at, 0.0) * rows for at, rows in series.get("rows", {}).items())
    return Pace(seconds / count, rows / count) if count and seconds and rows else None


def _series(name: str, answer: Any) -> dict[float, float]:
    try:
        return {
            float(at): max(0.0, float(value))
            for one in answer["data"]["result"]
            for at, value in one["values"]
            if value != "NaN"
        }
    except (KeyError, TypeError, ValueError) as error:
        raise BadTrace(name=name, why="it does not answer as Prometheus does") from error
