"""What was measured of processors and accelerators, as devices that `freehold size` plans with.

The processors become the device `this-machine`, with everything a plan asks for: what cannot be measured
(rent, the network between such machines, and watts where no meter is read) is estimated, and says so. An
accelerator that the facts know keeps its peak, since the shares of the peak that trainings and prompts reach
are counted from that; its memory's speed, and the share of it that writing reaches, take the measured values.
Where a token took as long as its operations are many (a small model on a quick accelerator), that says
nothing of an engine that records them once: then the share stays the published one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from freehold.sizing import facts as figures
from freehold.sizing.bench.compute import Computed, Speed
from freehold.sizing.bench.decode import Decoded
from freehold.sizing.bench.energy import WATTS_A_CORE
from freehold.sizing.bench.told import as_yaml
from freehold.sizing.bench.utilization import Spread

HERE = "this-machine"
NETWORK = (1.25, 0.125, 12.5)
"""GB/s between such machines, and from where to where: ten gigabits a second, one to a hundred."""
CORES = 8
"""Of the rented machine whose price the facts know."""


def facts(found: Computed) -> str:
    """YAML for `freehold size --facts`."""
    return "".join(_device(found, name) for name in dict.fromkeys(one.device for one in found.speeds))


def _device(found: Computed, name: str) -> str:
    own = HERE if name == "cpu" else known_as(name) or name
    values = {f"device.{own}.{part}": told for part, told in _measured(found, name)}
    if name != "cpu" and own != name:
        values.pop(f"device.{own}.tflops", None)
    day = found.provenance.at[:10]
    said = as_yaml(values, day, f"freehold bench compute, {os.uname().machine}")
    return said + ("".join(_estimated(found, day)) if own == HERE else "")


def known_as(name: str) -> str | None:
    """`h100` of `nvidia-h100-80gb-hbm3`: the device of the facts that calls itself so; None: none does."""
    parts = name.split("-")
    close = [known for known in figures.load().devices() if known in parts or known == "".join(parts[1:4])]
    return close[0] if close else None


def _measured(found: Computed, name: str) -> Iterator[tuple[str, tuple[float, ...]]]:
    memory = found.memory.get(name, 0)
    if memory:
        yield "memory_gb", (memory / 1e9, memory / 1e9)
    for part, unit in (("tflops", "TFLOP"), ("bandwidth_gb_s", "GB")):
        if fast := _best(found.speeds, name, unit):
            yield part, (fast.mean, *fast.values)
    written = [one for one in found.decoded if one.device == name and one.by_memory]
    fast = _best(found.speeds, name, "GB")
    if written and fast:
        yield "decode_efficiency", _efficiency(max(written, key=lambda one: one.size), fast)


def _best(speeds: tuple[Speed, ...], name: str, unit: str) -> Spread | None:
    rates = [one.rate for one in speeds if one.device == name and one.unit == unit]
    return max(rates, key=lambda rate: rate.mean, default=None)


def _efficiency(one: Decoded, memory: Spread) -> tuple[float, ...]:
    """The time its weights take at the memory's speed over that of a step; more than all of it is all."""
    return tuple(min(1.0, one.size / (rate * 1e9) / one.step) for rate in (memory.mean, *memory.values))


def _estimated(found: Computed, day: str) -> Iterator[str]:
    known, cores = figures.load(), found.provenance.machine.cores
    rent = known("cpu.rent") * cores / CORES
    listed = known.used["cpu.rent"]
    scaled = (rent, listed.low * cores / CORES, listed.high * cores / CORES)
    yield _fact("rent", *scaled, day, f"cpu.rent of {CORES} cores, for {cores}")
    yield _fact("link_gb_s", *NETWORK, day, "network between such machines; put yours")
    watts = found.energy.joules / found.seconds if found.energy.label == "measured" else 0.0
    if watts:
        said = f"freehold bench compute: {found.energy.scope}"
        yield as_yaml({f"device.{HERE}.watts": (watts,)}, day, said)
    else:
        most = cores * WATTS_A_CORE
        yield _fact("watts", most, 0.7 * most, 1.3 * most, day, f"{WATTS_A_CORE:g} W a busy core")


def _fact(part: str, value: float, low: float, high: float, day: str, source: str) -> str:
    ends = f"value: {value:.4g}, low: {low:.4g}, high: {high:.4g}"
    said = f"label: estimated, as_of: {day}, source: {json.dumps(source)}, unsourced: true"
    return f"device.{HERE}.{part}: {{{ends}, {said}}}\n"
