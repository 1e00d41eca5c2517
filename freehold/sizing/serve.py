"""How many of which device answer a traffic with a model of that size, and what an hour of them costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from freehold.sizing import formulas
from freehold.sizing.facts import Facts

SECONDS_A_DAY = 86_400
FP8 = 1.0
"""Bytes a weight: what open models are served in."""
TOKEN_SECONDS = 0.05
"""The slowest step that still reads fluently: 20 tokens a second."""
LARGEST = 256
"""Rows of a batch, as engines set it."""
TOGETHER = 8
"""Devices that hold one model at most: one server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is asked."""

    requests_a_day: float
    tokens_in: float
    tokens_out: float

    @property
    def tokens_a_day(self) -> float:
        return self.requests_a_day * (self.tokens_in + self.tokens_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Devices that carry a traffic."""

    device: str
    each: int
    """Devices of one replica."""
    replicas: int
    """One of them is spare."""
    hourly: float
    """USD."""
    watts: float
    first_token: float
    """Seconds until the first token of a request that does not wait."""
    whole: float
    """Seconds until its last one."""

    @property
    def devices(self) -> int:
        return self.each * self.replicas


def cheapest(facts: Facts, shape: str, traffic: Traffic) -> Fleet | None:
    """The fleet of the lowest hourly cost; None when no known device holds the model."""
    fleets = [fleet for device in facts.devices() if (fleet := _fleet(facts, device, shape, traffic))]
    return min(fleets, key=lambda fleet: (fleet.hourly, fleet.device), default=None)


def _fleet(facts: Facts, device: str, shape: str, traffic: Traffic) -> Fleet | None:
    weights = facts(f"shape.{shape}.parameters") * FP8
    memory = facts(f"device.{device}.memory_gb") * 1e9
    context = traffic.tokens_in + traffic.tokens_out / 2
    for each in (1, 2, 4, TOGETHER):
        rows = formulas.concurrent(each * memory, weights, context, facts(f"shape.{shape}.kv_bytes"))
        if rows:
            return _of(facts, device, shape, traffic, each, min(rows, LARGEST))
    return None


def _of(facts: Facts, device: str, shape: str, traffic: Traffic, each: int, rows: int) -> Fleet:
    reading, step = _speeds(facts, device, shape, traffic, each, rows)
    while rows > 1 and step > TOKEN_SECONDS:
        rows //= 2
        reading, step = _speeds(facts, device, shape, traffic, each, rows)
    a_second = traffic.requests_a_day / SECONDS_A_DAY * facts("serve.peak")
    busy = a_second * (reading + traffic.tokens_out * step / rows)  # one replica does one or the other
    replicas = math.ceil(busy / facts("serve.utilisation")) + 1
    return Fleet(
        device=device,
        each=each,
        replicas=max(2, replicas),
        hourly=max(2, replicas) * each * facts(f"device.{device}.rent"),
        watts=max(2, replicas) * each * facts(f"device.{device}.watts"),
        first_token=reading + step,
        whole=reading + traffic.tokens_out * step,
    )


def _speeds(
    facts: Facts, device: str, shape: str, traffic: Traffic, each: int, rows: int
) -> tuple[float, float]:
    """Seconds to read one prompt, and of one step of a batch of `rows`."""
    parameters = facts(f"shape.{shape}.parameters")
    tflops = each * facts(f"device.{device}.tflops")
    reading = formulas.prefill_seconds(
        parameters, traffic.tokens_in, tflops, facts("serve.prefill_efficiency")
    )
    step = formulas.decode_seconds(
        batch=rows,
        context=traffic.tokens_in + traffic.tokens_out / 2,
        kv=facts(f"shape.{shape}.kv_bytes"),
        parameters=parameters,
        weight_bytes=parameters * FP8,
        bandwidth=each * facts(f"device.{device}.bandwidth_gb_s") * 1e9,
        tflops=tflops,
        efficiency=facts("serve.decode_efficiency"),
    )
    return reading, step
