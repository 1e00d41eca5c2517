"""What was measured of processors and accelerators, as devices that `freehold size` plans with.

The processors become the device `this-machine`, with everything a plan asks for: what cannot be measured
(rent, the network between such machines, and watts where no meter is read) is estimated, and says so. An
accelerator that the facts know keeps its peak, since the shares of the peak that trainings and prompts reach
are counted from that; its memory's speed, and the shares of the roofline that writing for one, eight and more
reaches, take the measured values. Where a step took as long as its operations are many (a small model on a
quick accelerator), that says nothing of an engine that records them once: then there is no such share.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

from freehold.sizing import facts as figures
from freehold.sizing import formulas
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
    room = found.memory.get(name, 0)
    if room:
        yield "memory_gb", (room / 1e9, room / 1e9)
    product, memory = (_best(found.speeds, name, unit) for unit in ("TFLOP", "GB"))
    for part, fast in (("tflops", product), ("bandwidth_gb_s", memory)):
        if fast:
            yield part, (fast.mean, *fast.values)
    if product and memory:
        yield from _writing([one for one in found.decoded if one.device == name], product, memory)


def _writing(
    written: Sequence[Decoded], product: Spread, memory: Spread
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """By the published peak and watts of a device that the facts know; else by what was measured."""
    known = known_as(written[0].device) if written else None
    facts = figures.load()
    peak = facts(f"device.{known}.tflops") if known else product.mean
    at_work = [one for one in written if one.by_memory]  # others say what asking takes, not the device
    yield from _efficiencies(at_work, memory, peak)
    if known and (watts := [one.watts for one in at_work if one.watts]):
        yield "draw", (min(1.0, max(watts) / facts(f"device.{known}.watts")),)


def _best(speeds: tuple[Speed, ...], name: str, unit: str) -> Spread | None:
    rates = [one.rate for one in speeds if one.device == name and one.unit == unit]
    return max(rates, key=lambda rate: rate.mean, default=None)


def _efficiencies(
    written: Sequence[Decoded], memory: Spread, tflops: float
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """For each number of rows that of the largest model: small ones are sooner done than asked for."""
    for rows in sorted({one.rows for one in written}):
        one = max((each for each in written if each.rows == rows), key=lambda each: each.size)
        rates = (memory.mean, *memory.values)
        yield f"decode_efficiency.{rows}", tuple(_efficiency(one, rate * 1e9, tflops) for rate in rates)


def _efficiency(one: Decoded, bandwidth: float, tflops: float) -> float:
    """The step by the plan's own roofline over the one that was measured; more than all of it is all."""
    roof = formulas.decode_seconds(
        batch=one.rows,
        context=1,
        kv=one.cache,
        parameters=one.parameters,
        weight_bytes=one.size,
        bandwidth=bandwidth,
        tflops=tflops,
    )
    return min(1.0, roof / one.step)


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
