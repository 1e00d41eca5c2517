"""Prometheus's text, read as strictly as its own format says (exposition formats, text, version 0.0.4)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL}(?:,(?!\}}))?)*)\}})? (\S+)")
_HEAD = re.compile(rf"# (HELP|TYPE) ({_NAME}) (.+)")
_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


class NotPrometheus(Exception):
    """This is not Prometheus's text."""


@dataclass(slots=True)
class Counted:
    """One histogram, of one set of labels."""

    upto: dict[float, float] = field(default_factory=dict)
    """Bound -> how many are within it."""
    sum: float | None = None
    count: float | None = None


@dataclass(slots=True)
class Told:
    """What stands in it."""

    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)
    histograms: dict[tuple[str, Labels], Counted] = field(default_factory=dict)
    """By name and labels, `le` left out."""


def read(text: str) -> Told:
    """All of it. Raises NotPrometheus, with the line."""
    told, types, over, running = Told(), dict[str, str](), set[str](), ""
    if not text.endswith("\n"):
        raise NotPrometheus("the last line has no end")
    for line in text.splitlines():
        head, sample = _HEAD.fullmatch(line), _SAMPLE.fullmatch(line)
        if head is None and sample is None:
            raise NotPrometheus(line)
        name = head[2] if head else _family(sample[1] if sample else "", types)
        if name != running:
            if name in over:
                raise NotPrometheus(f"{line}: the lines of one metric stand together")
            over.add(running)
            running = name
        if head:
            if any(_family(known, {name: head[3]}) == name for known, _ in told.samples):
                raise NotPrometheus(f"{line}: it comes after its samples")
            if head[1] == "TYPE" and types.setdefault(name, head[3]) != head[3]:
                raise NotPrometheus(f"{line}: it is said twice")
        elif sample:
            _take(told, types, line, sample[1], sample[2] or "", float(sample[5]))
    for (name, _), one in told.histograms.items():
        _whole(name, one)
    return told


def _family(name: str, types: dict[str, str]) -> str:
    short = _OF_HISTOGRAM.sub("", name)
    return short if types.get(short) == "histogram" else name


def _take(told: Told, types: dict[str, str], line: str, name: str, labels: str, value: float) -> None:
    pairs = tuple(sorted(re.findall(_LABEL, labels)))
    if len(dict(pairs)) < len(pairs) or (name, pairs) in told.samples:
        raise NotPrometheus(f"{line}: it is said twice")
    told.samples[name, pairs] = value
    family = _family(name, types)
    if types.get(family) != "histogram":
        return
    one = told.histograms.setdefault((family, tuple(p for p in pairs if p[0] != "le")), Counted())
    match name.removeprefix(family):
        case "_bucket":
            one.upto[float(dict(pairs)["le"])] = value
        case "_sum":
            one.sum = value
        case "_count":
            one.count = value
        case _:
            raise NotPrometheus(f"{line}: a histogram has no such line")


def _whole(name: str, one: Counted) -> None:
    bounds, counts = list(one.upto), list(one.upto.values())
    if bounds != sorted(bounds) or counts != sorted(counts):
        raise NotPrometheus(f"{name}: its bounds and what is within them rise")
    if one.sum is None or one.count is None or one.upto.get(math.inf) != one.count:
        raise NotPrometheus(f"{name}: it has a sum, and a count that is all within `+Inf`")
