"""How many of which device answer a traffic with a model of that size, and what an hour of them costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from freehold.sizing import efficiency, formulas
from freehold.sizing.devices import TOGETHER, Device, every
from freehold.sizing.facts import Facts

SECONDS_A_DAY = 86_400
FP8 = 1.0
"""Bytes a weight: what open models are served in."""
LARGEST = 256
"""Rows of a batch, as engines set it."""
NUMBER = 2
"""Bytes of a number that devices send each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a model decides how fast it answers."""

    parameters: float
    """That one token passes."""
    weight_bytes: float
    """Of all of them."""
    kv_bytes: float
    """Of attention cache, a token."""
    layers: float = 0
    hidden: float = 0
    experts: float = 0
    """Share of the weights that are experts."""
    chosen: float = 1
    """Share of the experts that one token takes."""


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
    cached: float = 0
    """Share of a prompt that need not be read again."""
    peak: float = 0
    """Of the busiest hour over a mean one; 0: as the facts say."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One model on one or a few devices: how fast it is, whatever is asked of it in all."""

    device: Device
    each: int
    rows: int
    reading: float
    """Seconds to read one prompt."""
    token: float
    """Seconds of a step with all rows taken."""
    work: float
    """Seconds of a replica that one request takes."""
    more: int = 0
    """Replicas that waiting takes beside those that the work takes."""

    def needed(self, a_second: float, utilisation: float) -> int:
        """Replicas for so many requests a second, without a spare."""
        return max(1, math.ceil(a_second * self.work / utilisation))

    def fleet(self, facts: Facts, traffic: Traffic, replicas: int = 0) -> Fleet:
        """As many as the traffic's peak and its waiting need, and one to spare; or as many as are said."""
        a_second = traffic.requests_a_day / SECONDS_A_DAY
        needed = self.needed(a_second * peak(facts, traffic), facts("serve.utilisation")) + 1
        count = replicas or max(2, needed) + self.more
        return Fleet(
            device=self.device.name,
            each=self.each,
            replicas=count,
            rows=self.rows,
            hourly=self.each * count * self.device.rent,
            watts=self.each * count * self.device.watts,
            first_token=self.reading + self.token,
            token=self.token,
            busy=a_second * self.work / count,
        )


def peak(facts: Facts, traffic: Traffic) -> float:
    """Of the busiest hour over a mean one."""
    return traffic.peak or facts("serve.peak")


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
    """For each device the replicas that carry the traffic for the least money."""
    for device in every(facts):
        found = [one.fleet(facts, traffic) for one in replicas(facts, device, shape, traffic, wanted)]
        if found:
            yield min(found, key=lambda fleet: (fleet.hourly, fleet.each))


def replicas(
    facts: Facts, device: Device, shape: Shape, traffic: Traffic, wanted: Wanted
) -> Iterator[Replica]:
    """On one, two, four or eight of a device: those that hold the model and are fast enough."""
    for each in TOGETHER:
        fits = formulas.concurrent(each * device.memory, shape.weight_bytes, traffic.context, shape.kv_bytes)
        most = _most_rows(facts, device, shape, traffic, wanted, each, min(fits, LARGEST))
        if not most:
            continue
        reading = reading_seconds(facts, device, shape, traffic, each)
        rows, token = _quickest(facts, device, shape, traffic, each, most)
        if reading + token <= wanted.first_token:
            work = reading + traffic.tokens_out * token / rows
            yield Replica(device=device, each=each, rows=rows, reading=reading, token=token, work=work)


def _quickest(
    facts: Facts, device: Device, shape: Shape, traffic: Traffic, each: int, most: int
) -> tuple[int, float]:
    """Of the most rows and each half of it the batch that writes the most, and the seconds of its step.

    The more rows, the farther from the roofline: where the cache is what is read, more may write less.
    """
    halves = [most >> n for n in range(most.bit_length())]
    steps = [(rows, step_seconds(facts, device, shape, traffic, each, rows)) for rows in halves]
    return max(steps, key=lambda one: one[0] / one[1])


def _most_rows(
    facts: Facts, device: Device, shape: Shape, traffic: Traffic, wanted: Wanted, each: int, most: int
) -> int:
    """The largest batch whose step is fast enough; 0: none is. No larger one takes less time than it."""

    def fast(rows: int) -> bool:
        return step_seconds(facts, device, shape, traffic, each, rows) <= wanted.token

    if most < 1 or not fast(1):
        return 0
    if fast(most):
        return most
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fast(middle) else (low, middle)
    return low


def why_none(facts: Facts, known: Sequence[Device], shape: Shape, traffic: Traffic, wanted: Wanted) -> str:
    """Which constraint breaks first where none of these devices can, and what would do."""
    largest = max(known, key=lambda device: device.memory)
    most = largest.memory * max(TOGETHER) / 1e9
    needed = (shape.weight_bytes + traffic.context * shape.kv_bytes + 4e9) / 0.9 / 1e9
    if needed > most:
        cache = traffic.context * shape.kv_bytes / 1e9
        of_weights = (0.9 * most - 4 - cache) / (shape.weight_bytes / 1e9)
        shorter = (0.9 * most - 4 - shape.weight_bytes / 1e9) / cache
        would = (
            f"weights in {of_weights:.0%} of the bytes would fit"
            if of_weights > 0
            else f"requests of {max(0.0, shorter):.0%} of the tokens would fit"
        )
        return (
            f"memory: one replica needs {needed:,.0f} GB, the largest known server ({max(TOGETHER)} x "
            f"{largest.name}) has {most:,.0f}; {would}"
        )
    speed = {d.name: speeds(facts, d, shape, traffic, max(TOGETHER), 1) for d in known}
    first = min(reading + step for reading, step in speed.values())
    token = min(step for _, step in speed.values())
    if token > wanted.token:
        return (
            f"time a token: {token * 1000:.1f} ms at least, {wanted.token * 1000:.1f} are asked for; "
            f"token_ms of {token * 1000:.1f} or fewer bytes a weight would do"
        )
    return (
        f"time to the first token: {first * 1000:.0f} ms at least, {wanted.first_token * 1000:.0f} are "
        f"asked for; first_token_ms of {first * 1000:.0f} or a prompt of {wanted.first_token / first:.0%}"
    )


def speeds(
    facts: Facts, device: Device, shape: Shape, traffic: Traffic, each: int, rows: int
) -> tuple[float, float]:
    """Seconds to read one prompt, and of one step of a batch of `rows`."""
    reading = reading_seconds(facts, device, shape, traffic, each)
    return reading, step_seconds(facts, device, shape, traffic, each, rows)


def reading_seconds(facts: Facts, device: Device, shape: Shape, traffic: Traffic, each: int) -> float:
    """To read what of a prompt was not read before."""
    known = traffic.tokens_in * traffic.cached
    fresh = traffic.tokens_in - known
    flops = 2 * shape.parameters * fresh
    flops += formulas.attention_flops(shape.layers, shape.hidden, traffic.tokens_in, known)
    seconds = flops / (each * device.tflops * 1e12 * prefill_efficiency(facts, device.name))
    return seconds + _between(facts, device, shape, each, fresh)


def prefill_efficiency(facts: Facts, device: str) -> float:
    """Share of the peak that reading a prompt reaches: of the device itself where that is known."""
    own = facts.get(f"device.{device}.prefill_efficiency")
    return own if own is not None else facts("serve.prefill_efficiency")


def step_seconds(
    facts: Facts, device: Device, shape: Shape, traffic: Traffic, each: int, rows: float
) -> float:
    """Of one token for each of `rows`; never less than for fewer."""
    seconds = efficiency.step_seconds(facts, device.name, rows, roofline(device, shape, traffic, each))
    return seconds + _between(facts, device, shape, each, rows)


def roofline(device: Device, shape: Shape, traffic: Traffic, each: int) -> efficiency.Roof:
    """Seconds of a step, by its rows, as if all of bandwidth and arithmetic were reached."""

    def seconds(rows: float) -> float:
        return formulas.decode_seconds(
            batch=rows,
            context=traffic.context,
            kv=shape.kv_bytes,
            parameters=shape.parameters,
            weight_bytes=formulas.weights_read(shape.weight_bytes, shape.experts, shape.chosen, rows),
            bandwidth=each * device.bandwidth,
            tflops=each * device.tflops,
        )

    return seconds


def _between(facts: Facts, device: Device, shape: Shape, each: int, tokens: float) -> float:
    """What a split over several devices costs: each layer's sums go over the link twice."""
    if each == 1 or not shape.layers:
        return 0.0
    return formulas.tensor_parallel_seconds(
        shape.layers,
        tokens * shape.hidden * NUMBER,
        each,
        device.link * facts("network.efficiency"),
        facts("network.latency_us") / 1e6,
    )


def cold_load(facts: Facts, size: float) -> float:
    """Seconds until so many bytes of weights are in a device: as measured, else by store or streams."""
    measured = facts.get("storage.load_gb_s")
    if measured is not None:
        return size / (measured * 1e9)
    store, stream = facts("storage.read_gb_s") * 1e9, facts("storage.stream_gb_s") * 1e9
    return formulas.load_seconds(size, store, facts("storage.streams"), stream)


def of_year(traffic: Traffic, growth: float, year: float) -> Traffic:
    """The same traffic so many years later."""
    return replace(traffic, requests_a_day=traffic.requests_a_day * growth**year)
