"""How many of which device answer a traffic with a model of that size, and what an hour of them costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from freehold.sizing import formulas
from freehold.sizing.facts import Facts

SECONDS_A_DAY = 86_400
FP8 = 1.0
"""Bytes a weight: what open models are served in."""
LARGEST = 256
"""Rows of a batch, as engines set it."""
TOGETHER = (1, 2, 4, 8)
"""Devices that hold one model: up to one server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a model decides how fast it answers."""

    parameters: float
    """That one token passes."""
    weight_bytes: float
    """Of all of them."""
    kv_bytes: float
    """Of attention cache, a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How fast it has to be, in seconds."""

    first_token: float = math.inf
    token: float = 0.05
    """20 tokens a second still read fluently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is asked."""

    requests_a_day: float
    tokens_in: float
    tokens_out: float

    @property
    def tokens_a_day(self) -> float:
        return self.requests_a_day * (self.tokens_in + self.tokens_out)

    @property
    def context(self) -> float:
        """Tokens a request holds in the cache, on average over its time."""
        return self.tokens_in + self.tokens_out / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Devices that carry a traffic."""

    device: str
    each: int
    """Devices of one replica."""
    replicas: int
    """One of them is spare."""
    rows: int
    """Requests that one replica answers at a time."""
    hourly: float
    """USD."""
    watts: float
    first_token: float
    """Seconds until the first token of a request that does not wait."""
    token: float
    """Seconds a token."""
    busy: float
    """Share of their time that all of them work, over a mean day."""

    @property
    def devices(self) -> int:
        return self.each * self.replicas


def known_shape(facts: Facts, name: str) -> Shape:
    """One of the shapes that stand for open models."""
    parameters = facts(f"shape.{name}.parameters")
    return Shape(
        parameters=parameters, weight_bytes=parameters * FP8, kv_bytes=facts(f"shape.{name}.kv_bytes")
    )


def cheapest(facts: Facts, shape: Shape, traffic: Traffic, wanted: Wanted) -> Fleet | None:
    """The fleet of the lowest hourly cost; None when no known device can."""
    return min(fleets(facts, shape, traffic, wanted), key=lambda f: (f.hourly, f.device), default=None)


def fleets(facts: Facts, shape: Shape, traffic: Traffic, wanted: Wanted) -> Iterator[Fleet]:
    """For each device the smallest replica that holds the model and is fast enough, as often as needed."""
    for device in facts.devices():
        memory = facts(f"device.{device}.memory_gb") * 1e9
        for each in TOGETHER:
            rows = formulas.concurrent(each * memory, shape.weight_bytes, traffic.context, shape.kv_bytes)
            fleet = _of(facts, device, shape, traffic, wanted, each, min(rows, LARGEST)) if rows else None
            if fleet is not None:
                yield fleet
                break


def why_none(facts: Facts, shape: Shape, traffic: Traffic, wanted: Wanted) -> str:
    """Which constraint breaks first where no known device can, and what would do."""
    most = max(facts(f"device.{device}.memory_gb") for device in facts.devices()) * max(TOGETHER)
    needed = (shape.weight_bytes + traffic.context * shape.kv_bytes + 4e9) / 0.9 / 1e9
    if needed > most:
        return f"one replica needs {needed:,.0f} GB, the largest server that is known has {most:,.0f}"
    readings = {d: _speeds(facts, d, shape, traffic, max(TOGETHER), 1) for d in facts.devices()}
    first = min(reading + step for reading, step in readings.values())
    token = min(step for _, step in readings.values())
    if token > wanted.token:
        return f"a token takes {token * 1000:.1f} ms at least, {wanted.token * 1000:.1f} are asked for"
    return (
        f"the first token takes {first * 1000:.0f} ms at least, {wanted.first_token * 1000:.0f} are asked for"
    )


def _of(
    facts: Facts, device: str, shape: Shape, traffic: Traffic, wanted: Wanted, each: int, rows: int
) -> Fleet | None:
    reading, step = _speeds(facts, device, shape, traffic, each, rows)
    while rows > 1 and step > wanted.token:
        rows //= 2
        reading, step = _speeds(facts, device, shape, traffic, each, rows)
    if step > wanted.token or reading + step > wanted.first_token:
        return None
    mean = traffic.requests_a_day / SECONDS_A_DAY * (reading + traffic.tokens_out * step / rows)
    needed = mean * facts("serve.peak") / facts("serve.utilisation")  # a replica reads or writes
    replicas = max(2, math.ceil(needed) + 1)
    return Fleet(
        device=device,
        each=each,
        replicas=replicas,
        rows=rows,
        hourly=replicas * each * facts(f"device.{device}.rent"),
        watts=replicas * each * facts(f"device.{device}.watts"),
        first_token=reading + step,
        token=step,
        busy=mean / replicas,
    )


def _speeds(
    facts: Facts, device: str, shape: Shape, traffic: Traffic, each: int, rows: int
) -> tuple[float, float]:
    """Seconds to read one prompt, and of one step of a batch of `rows`."""
    tflops = each * facts(f"device.{device}.tflops")
    reading = formulas.prefill_seconds(
        shape.parameters, traffic.tokens_in, tflops, facts("serve.prefill_efficiency")
    )
    step = formulas.decode_seconds(
        batch=rows,
        context=traffic.context,
        kv=shape.kv_bytes,
        parameters=shape.parameters,
        weight_bytes=shape.weight_bytes,
        bandwidth=each * facts(f"device.{device}.bandwidth_gb_s") * 1e9,
        tflops=tflops,
        efficiency=facts("serve.decode_efficiency"),
    )
    return reading, step
