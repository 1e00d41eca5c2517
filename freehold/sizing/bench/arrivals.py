"""When requests arrive: at random at a mean rate, or as a trace recorded them. Pure."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from freehold.errors import BadInput

MOST = 1_000_000
"""Requests of a trace that are looked at."""


class BadTrace(BadInput):
    """`{name}` is no trace of requests"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A request, and when it comes."""

    at: float
    """Seconds from the beginning."""
    tokens_in: int = 0
    """0: whatever the text has."""
    tokens_out: int = 0
    """0: as many as the service gives."""


def poisson(rate: float, seconds: float, seed: int) -> tuple[Due, ...]:
    """Independent of each other, `rate` a second on average."""
    random = np.random.Generator(np.random.SFC64(seed))
    found, at = [], float(random.exponential(1 / rate))
    while at < seconds:
        found.append(Due(at=at))
        at += float(random.exponential(1 / rate))
    return tuple(found)


def trace(name: str, text: str) -> tuple[Due, ...]:
    """Of a CSV as Azure publishes them, or of JSON lines as Mooncake does; the first request comes at 0.

    Columns: TIMESTAMP, ContextTokens, GeneratedTokens; timestamp (milliseconds), input_length, output_length.
    Raises BadTrace.
    """
    try:
        read = _json_lines if text.lstrip().startswith("{") else _table
        found = [due for due, _ in zip(read(text), range(MOST), strict=False)]
    except (ValueError, KeyError, TypeError) as error:
        raise BadTrace(
            name=name,
            why=f"{type(error).__name__} at one of its lines",
            hint="a CSV with TIMESTAMP, ContextTokens, GeneratedTokens; or JSON lines with timestamp, "
            "input_length, output_length",
        ) from error
    if not found:
        raise BadTrace(name=name, why="there is no request in it", hint="one line for each request")
    first = min(due.at for due in found)
    return tuple(sorted((replace(due, at=due.at - first) for due in found), key=lambda due: due.at))


def _table(text: str) -> Iterator[Due]:
    for row in csv.DictReader(io.StringIO(text)):
        stamp = dt.datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=dt.UTC)
        yield _due(stamp.timestamp(), row["ContextTokens"], row["GeneratedTokens"])


def _json_lines(text: str) -> Iterator[Due]:
    for line in text.splitlines():
        if line.strip():
            said = json.loads(line)
            yield _due(float(said["timestamp"]) / 1000, said["input_length"], said["output_length"])


def _due(at: float, tokens_in: Any, tokens_out: Any) -> Due:
    return Due(at=at, tokens_in=int(tokens_in), tokens_out=int(tokens_out))


def cut(dues: tuple[Due, ...], seconds: float, speed: float) -> tuple[Due, ...]:
    """`speed` times as fast as it was recorded, the first `seconds` of that."""
    return tuple(replace(due, at=due.at / speed) for due in dues if due.at / speed < seconds)
