"""The arithmetic, one formula a function; units in the names and docstrings.

N parameters, bytes and seconds throughout. What a formula leaves out stands in its docstring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

HOURS_A_YEAR = 8_760


def training_flops(parameters: float, tokens: float) -> float:
    """6·N·D floating-point operations of one clean pass; attention is left out."""
    return 6 * parameters * tokens


def lora_flops(parameters: float, tokens: float) -> float:
    """4·N·D: no gradients for the frozen weights."""
    return 4 * parameters * tokens


def device_hours(flops: float, tflops: float, mfu: float) -> float:
    """Hours of one device with that dense peak, at that share of it."""
    return flops / (tflops * 1e12 * mfu * 3600)


def full_memory(parameters: float) -> float:
    """Bytes of weights, gradients and Adam in mixed precision: 18 a parameter; activations come on top."""
    return 18 * parameters


def lora_memory(parameters: float, adapter: float) -> float:
    """Bytes: frozen weights in 16 bit, and 18 a parameter of the adapter."""
    return 2 * parameters + 18 * adapter


def kv_bytes(layers: int, heads: int, width: int, size: int = 2) -> int:
    """Bytes of attention cache a token: keys and values of each layer; `heads` are those of the cache."""
    return 2 * layers * heads * width * size


def prefill_seconds(parameters: float, tokens: float, tflops: float, efficiency: float) -> float:
    """To read a prompt: 2·N·s operations at a share of the peak; queueing comes on top."""
    return 2 * parameters * tokens / (tflops * 1e12 * efficiency)


def decode_seconds(
    *,
    batch: float,
    context: float,
    kv: float,
    parameters: float,
    weight_bytes: float,
    bandwidth: float,
    tflops: float,
    efficiency: float = 1.0,
) -> float:
    """One step of a batch: the cache is read, then the slower of arithmetic and reading the weights.

    `context` tokens a row, `kv` bytes a token, `bandwidth` bytes a second, all devices together.
    """
    reading = batch * context * kv / bandwidth
    stepping = max(2 * batch * parameters / (tflops * 1e12), weight_bytes / bandwidth)
    return (reading + stepping) / efficiency


def concurrent(memory: float, weight_bytes: float, context: float, kv: float, reserve: float = 4e9) -> int:
    """Requests whose cache fits beside the weights in 90 % of the memory less a reserve; 0: none."""
    return max(0, math.floor((0.9 * memory - weight_bytes - reserve) / (context * kv)))


def in_flight(arrivals: float, seconds: float) -> float:
    """Little: requests in the system = arrivals a second x seconds each stays."""
    return arrivals * seconds


def dollars_a_million(hourly: float, tokens_a_second: float, utilisation: float) -> float:
    """What a million tokens cost on hardware of that hourly cost."""
    return hourly / (tokens_a_second * 3600 * utilisation) * 1e6


def kilowatt_hours(watts: float, hours: float, pue: float) -> float:
    """At the meter of the site."""
    return watts / 1000 * hours * pue


def attention_flops(layers: float, hidden: float, tokens: float, cached: float = 0) -> float:
    """2·L·h·s² of causal attention over a prompt; the first `cached` tokens were read before."""
    return 2 * layers * hidden * (tokens**2 - cached**2)


def latent_bytes(layers: float, latent: float, rope: float, size: float = 2) -> float:
    """Bytes of attention cache a token under multi-head latent attention: L·(latent + rope)·bytes."""
    return layers * (latent + rope) * size


def expert_share(parameters: float, active: float, chosen: float) -> float:
    """Share of a mixture's parameters that are experts, from N = S + X and A = S + X·k/E; `chosen` is k/E."""
    return min(1.0, (parameters - active) / (1 - chosen) / parameters)


def weights_read(weight_bytes: float, experts: float, chosen: float, batch: float) -> float:
    """Bytes a step reads: what all share, and the experts that a batch calls for: 1 - (1 - k/E)^b of them."""
    return weight_bytes * (1 - experts * math.pow(1 - chosen, batch))


def critical_batch(tflops: float, bandwidth: float, size: float) -> float:
    """Rows from which on a step is bound by arithmetic: P / BW x bytes of a weight / 2."""
    return tflops * 1e12 / bandwidth * size / 2


def all_reduce_seconds(size: float, ways: float, bandwidth: float, latency: float = 0.0) -> float:
    """Ring: 2·(n-1)/n·S/B and 2·(n-1) hops; `size` bytes, `bandwidth` bytes a second one way."""
    if ways <= 1:
        return 0.0
    return 2 * (ways - 1) / ways * size / bandwidth + 2 * (ways - 1) * latency


def tensor_parallel_seconds(
    layers: float, size: float, ways: float, bandwidth: float, latency: float
) -> float:
    """What splitting each layer costs a step: two all-reduces a layer, in a tree (one switch) of two hops."""
    if ways <= 1:
        return 0.0
    return 2 * layers * (2 * (ways - 1) / ways * size / bandwidth + latency)


def bubble(stages: float, parts: float) -> float:
    """Share of the time that a pipeline of so many stages idles: (p-1)/(m+p-1), `parts` a step."""
    return (stages - 1) / (parts + stages - 1)


def checkpoint_waste(write: float, every: float, failures: float, restart: float) -> float:
    """Share of the time lost: writing C/T, doing again T/2M, starting again R/M; seconds."""
    return write / every + every / (2 * failures) + restart / failures


def load_seconds(size: float, storage: float, streams: float, stream: float) -> float:
    """Bytes into a device: as fast as the store, or as its streams together."""
    return size / min(storage, streams * stream)


def present_value(flows: Sequence[float], rate: float) -> float:
    """Of payments at the beginning, and then at the end of each year."""
    return sum(flow / (1 + rate) ** year for year, flow in enumerate(flows))


def circuit_kilowatts(volts: float, amperes: float) -> float:
    """Three phases, at 80 % all the time: sqrt(3)·V·A·0.8."""
    return math.sqrt(3) * volts * amperes * 0.8 / 1000


def airflow(watts: float, warmer: float) -> float:
    """Cubic feet a minute that carry so many watts away, `warmer` degrees Fahrenheit: W·3.412/(1.08·dT)."""
    return watts * 3.412 / (1.08 * warmer)


def round_trip_ms(kilometres: float, ms_km: float) -> float:
    """There and back over the real internet."""
    return kilometres * ms_km


def break_even(replica: float, needed: float, request: float, fixed: float = 0.0) -> float | None:
    """Requests a day above which replicas always cost less than paying for each request; none: never.

    `replica` USD a day, `needed` replicas for one request a day, `request` USD, `fixed` USD a day. With one
    to spare, k + 1 of them carry up to k / needed requests a day: the last k that loses is looked for.
    """
    slope = needed * replica / request
    if slope > 1 - 1e-6:  # then nobody ever asks that much
        return None
    bound = (1 + slope + needed * fixed / request) / (1 - slope)
    last = max(1, math.ceil(bound) - 1)
    return min(last / needed, (replica * (last + 1) + fixed) / request)
