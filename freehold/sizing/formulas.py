"""The arithmetic, one formula a function; units in the names and docstrings.

N parameters, bytes and seconds throughout. What a formula leaves out stands in its docstring.
"""

from __future__ import annotations

import math

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


def checkpoint_every(write_seconds: float, mean_seconds_between_failures: float) -> float:
    """Young and Daly: seconds between two checkpoints; holds where writing is short beside failures."""
    return math.sqrt(2 * write_seconds * mean_seconds_between_failures)
