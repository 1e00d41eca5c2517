"""When requests came and how long they were: read from files in public formats, or made from a seed.

Only times and token counts are read; whatever else a file holds is never looked at.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.errors import BadInput
from freehold.spec import csv_cells as csv_cells  # sets the limit of the csv module, for all its readers

MOST = 200_000
"""Requests that are read of a file."""


class BadTrace(BadInput):
    """`{name}` cannot be read as traffic"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request."""

    at: float
    """Seconds."""
    tokens_in: float
    tokens_out: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests in the order in which they came."""

    name: str
    arrivals: tuple[Arrival, ...]
    cached: float = 0
    """Share of the prompts' tokens that had been read before; 0 where the file does not tell."""
    clock: bool = False
    """Whether `at` is a time of day (UTC), and not only seconds since the beginning."""

    @property
    def seconds(self) -> float:
        return self.arrivals[-1].at - self.arrivals[0].at

    @property
    def a_second(self) -> float:
        return (len(self.arrivals) - 1) / self.seconds


# -- made from a seed -------------------------------------------------------------------------------


def steady(seed: int = 7, count: int = 2_000) -> Trace:
    """Independent of each other: exponential gaps, lengths of mean one."""
    return _made("steady", seed, count, lambda rng, _: rng.expovariate(1))


def bursty(seed: int = 7, count: int = 2_000) -> Trace:
    """In bursts: one second in ten has six times as many requests as the others."""
    return _made("bursty", seed, count, _burst)


SHIPPED: Mapping[str, Callable[..., Trace]] = {"steady": steady, "bursty": bursty}
"""By name; lengths of mean one, to be multiplied by those of a workload."""


def _burst(rng: random.Random, now: float) -> float:
    many = int(now / 20) % 10 == 3
    return rng.expovariate(4.0 if many else 2 / 3)


def _made(name: str, seed: int, count: int, gap: Callable[[random.Random, float], float]) -> Trace:
    rng = random.Random(seed)  # noqa: S311 - drawn traffic, not a secret
    now, arrivals = 0.0, []
    for _ in range(count):
        now += gap(rng, now)
        arrivals.append(Arrival(now, _length(rng, 0.9), _length(rng, 0.8)))
    return Trace(name=name, arrivals=tuple(arrivals))


def _length(rng: random.Random, spread: float) -> float:
    """Log-normal of mean one: many short ones, a few very long."""
    return rng.lognormvariate(-spread * spread / 2, spread)


# -- read from a file -------------------------------------------------------------------------------


def read(name: str, text: str) -> Trace:
    """Whatever the file's first line says it is. Raises BadTrace."""
    if text.lstrip()[:1] == "{":
        return _mooncake(name, text)
    rows = table(text)
    columns = tuple((column or "").strip() for column in rows.fieldnames or ())
    for times, into, out in _COLUMNS:
        if {times, into, out} <= set(columns):
            clean = ({(k or "").strip(): v for k, v in row.items()} for row in rows)
            return _of_rows(name, clean, times, into, out)
    if {"num_prefill_tokens", "num_decode_tokens"} <= set(columns):
        hint = "it has lengths and no times: add a column arrived_at"
        raise BadTrace(name=name, why="it does not say when requests came", hint=hint)
    known = "; ".join(",".join(each) for each in _COLUMNS)
    raise BadTrace(name=name, why="none of the known columns are there", hint=f"known are: {known}")


def table(text: str) -> csv.DictReader[str]:
    """Rows by their columns' names. A cell has at most `csv_cells.WIDEST` characters: spend logs hold whole
    conversations, which are passed over.
    """
    return csv.DictReader(io.StringIO(text))


_COLUMNS = (
    ("at", "tokens_in", "tokens_out"),
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),  # Azure LLM inference traces
    ("Timestamp", "Request tokens", "Response tokens"),  # BurstGPT
    ("arrived_at", "num_prefill_tokens", "num_decode_tokens"),  # Vidur
    ("startTime", "prompt_tokens", "completion_tokens"),  # LiteLLM's spend logs
)


def columns() -> Sequence[Sequence[str]]:
    """Time, tokens in and tokens out of each format that is known."""
    return _COLUMNS


def _of_rows(name: str, rows: Iterable[Mapping[str, Any]], times: str, into: str, out: str) -> Trace:
    found: list[Arrival] = []
    clock = False
    for line, row in enumerate(rows, start=2):
        if len(found) >= MOST:
            break
        said = str(row[times] or "").strip()
        if not said:
            continue
        try:
            at, dated = seconds_of(said)
            arrival = Arrival(at, float(row[into] or 0), float(row[out] or 0))
        except (TypeError, ValueError) as error:
            raise BadTrace(name=name, why=f"line {line} has no time, or no number of tokens") from error
        clock = clock or dated
        found.append(arrival)
    return whole(name, found, clock=clock)


def _mooncake(name: str, text: str) -> Trace:
    """One JSON object a line; blocks of a prompt that came before stand in the cache."""
    found: list[Arrival] = []
    seen: set[Any] = set()
    hits = blocks = 0
    for line, row in enumerate(text.splitlines(), start=1):
        if len(found) >= MOST or not row.strip():
            continue
        try:
            said = json.loads(row)
            found.append(
                Arrival(
                    float(said["timestamp"]) / 1000,
                    float(said["input_length"]),
                    float(said["output_length"]),
                )
            )
            ids = said.get("hash_ids") or []
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"line {line} lacks timestamp, input_length or output_length"
            raise BadTrace(name=name, why=why) from error
        hits += _known_before(ids, seen)
        blocks += len(ids)
    return whole(name, found, cached=hits / blocks if blocks else 0)


def _known_before(ids: Sequence[Any], seen: set[Any]) -> int:
    """Blocks at the beginning that were seen: a cache of prefixes ends at the first new one."""
    hits = next((at for at, block in enumerate(ids) if block not in seen), len(ids))
    seen.update(ids)
    return hits


def whole(name: str, found: Iterable[Arrival], cached: float = 0, clock: bool = False) -> Trace:
    """In order, and enough of it. Raises BadTrace."""
    good = [a for a in found if _sound(a)]
    arrivals = tuple(sorted(good, key=lambda arrival: arrival.at))
    if len(arrivals) < 2 or arrivals[-1].at <= arrivals[0].at:
        raise BadTrace(name=name, why=f"it holds {len(arrivals)} requests; it takes two at different times")
    return Trace(name=name, arrivals=arrivals, cached=cached, clock=clock)


def _sound(arrival: Arrival) -> bool:
    finite = all(math.isfinite(n) for n in (arrival.at, arrival.tokens_in, arrival.tokens_out))
    return finite and arrival.tokens_in >= 0 and arrival.tokens_out >= 0


def seconds_of(said: str) -> tuple[float, bool]:
    """Seconds, and whether it was a time of day: a number, or a date with time. Raises ValueError."""
    try:
        number = float(said)
    except ValueError:
        head, dot, rest = said.replace("Z", "+00:00").partition(".")
        digits = "".join(c for c in rest[:7] if c.isdigit())[:6]
        zone = rest[rest.index("+") :] if "+" in rest else ""
        moment = dt.datetime.fromisoformat(f"{head}{dot}{digits}{zone}" if dot else head)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return aware.timestamp(), True
    return number, number > 1e9


def scaled(trace: Trace, a_second: float, tokens_in: float, tokens_out: float) -> Iterator[Arrival]:
    """The same pattern at another rate, with lengths of another mean; its bursts stay."""
    faster = trace.a_second / a_second
    count = len(trace.arrivals)
    into = tokens_in * count / max(1e-9, sum(a.tokens_in for a in trace.arrivals))
    out = tokens_out * count / max(1e-9, sum(a.tokens_out for a in trace.arrivals))
    begin = trace.arrivals[0].at
    for arrival in trace.arrivals:
        at = (arrival.at - begin) * faster
        yield Arrival(at, max(1.0, arrival.tokens_in * into), max(1.0, arrival.tokens_out * out))
