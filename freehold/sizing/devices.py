"""The accelerators that are known, as records."""

from __future__ import annotations

from dataclasses import dataclass

from freehold.sizing.facts import Facts

TOGETHER = (1, 2, 4, 8)
"""Devices that hold one model: up to one server."""
SERVER = 8
"""Devices of a full server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One kind of accelerator; bytes, seconds, watts, USD."""

    name: str
    memory: float
    bandwidth: float
    tflops: float
    watts: float
    link: float
    """Bytes a second that it sends to its neighbours in the same server."""
    rent: float
    """An hour."""


def device(facts: Facts, name: str) -> Device:
    """By name. Raises BadFact."""
    known = f"device.{name}."
    return Device(
        name=name,
        memory=facts(known + "memory_gb") * 1e9,
        bandwidth=facts(known + "bandwidth_gb_s") * 1e9,
        tflops=facts(known + "tflops"),
        watts=facts(known + "watts"),
        link=facts(known + "link_gb_s") * 1e9,
        rent=facts(known + "rent"),
    )


def every(facts: Facts, only: str = "") -> list[Device]:
    """All that are known, or one of them."""
    return [device(facts, name) for name in ([only] if only else facts.devices())]


def draw(facts: Facts, name: str) -> float:
    """Mean watts over the most: of the device where its own meter was read, else as usual."""
    own = facts.get(f"device.{name}.draw")
    return own if own is not None else facts("energy.draw")
