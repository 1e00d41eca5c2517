"""What storage.py promises beside DLIO and fio, and whether it was held.

Ours and a peer's are taken in the same round, a minute apart at most; what they are apart there is one value.
Its median over the rounds decides, and beside it stand the ends between which it would lie in 95 of 100 such
measurements. So a disk that doubles its speed from one round to the next moves both of a pair.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from plot import Bar, bars

RESULTS = Path(__file__).parent / "results"
HOW = ("cold", "memory")
STEPS = "DLIO, its steps"
"""What it wrote down of each step; what it says in the end counts the lines written between them, too."""
MEASURED = ("utilization", "bandwidth", "cold load")
POINTS = 2.0
"""How far utilization may be from DLIO's."""
NEAR = 0.10
"""How far bandwidth may be from fio's, as a share."""
LEAST = 0.9
"""Of fio's direct reads, for a cold load of weights: of the quicker ones in each round."""


def compared(results: dict[str, Any]) -> dict[str, Any]:
    """What we promise where a peer was there, each with its ends and whether it was held."""
    return {name: _judged(values, low, high) for name, values, low, high in _pairs(results)}


def _pairs(results: dict[str, Any]) -> Iterator[tuple[str, list[float], float, float]]:
    """Name, what we are apart in each round, and between what that must be."""
    for name, found in results.get("utilization", {}).items():
        for how in HOW:
            for theirs in ("DLIO", STEPS):
                if f"{theirs} {how}" in found:
                    pairs = zip(found[f"ours {how}"], found[f"{theirs} {how}"], strict=True)
                    apart = [one - other for one, other in pairs]
                    yield f"{name}, {how}: points from {theirs}", apart, -POINTS, POINTS
    for name, found in results.get("bandwidth", {}).items():
        if "fio" in found:
            yield f"{name}: share of fio", _shares(found["ours"], found["fio"]), 1 - NEAR, 1 + NEAR
    load = results.get("cold load", {})
    disk = [rates for name, rates in load.items() if name.startswith("fio, direct")]
    if disk:
        quicker = [max(rates) for rates in zip(*disk, strict=True)]
        yield "cold load: share of fio direct", _shares(load["ours, direct"], quicker), LEAST, math.inf


def _shares(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def _judged(values: Sequence[float], low: float, high: float) -> dict[str, Any]:
    """The median decides; where its ends are not both within, another measurement may decide otherwise."""
    found, (least, most) = median(values), ends(values)
    return {
        "median": round(found, 3),
        "in 95 of 100 between": [round(least, 3), round(most, 3)],
        "rounds": len(values),
        "held": low <= found <= high,
        "sure": (low <= least and most <= high) or most < low or high < least,
    }


def ends(values: Sequence[float], sure: float = 0.95) -> tuple[float, float]:
    """Between which the median lies, by order alone (binomial); least and most where values are few."""
    ordered, count = sorted(values), len(values)
    off = 0
    while off + 1 < (count + 1) // 2 and 1 - 2 * _below(off + 1, count) >= sure:
        off += 1
    return ordered[off], ordered[-1 - off]


def _below(least: int, count: int) -> float:
    """The chance that at most so many of `count` lie below their median."""
    return float(sum(math.comb(count, n) for n in range(least + 1)) / 2**count)


def beside_others(results: dict[str, Any]) -> dict[str, Any]:
    """With the parts that were measured on this machine before."""
    path = RESULTS / "storage.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    if before.get("machine") != results["machine"]:
        return results
    asked = {**before["asked"], **results["asked"]}
    return {**{part: before[part] for part in MEASURED if part in before}, **results, "asked": asked}


def write(results: dict[str, Any]) -> None:
    """As JSON and as pictures."""
    results["compared"] = compared(results)
    (RESULTS / "storage.json").write_text(json.dumps(results, indent=2) + "\n")
    if "utilization" in results:
        _draw_utilization(results["utilization"])
    if "cold load" in results:
        _draw_cold_load(results["cold load"])


def _draw_utilization(results: dict[str, Any]) -> None:
    rows = []
    for name, found in results.items():
        for who, values in found.items():
            rows.append(
                Bar(
                    name=f"{name}: {who}",
                    value=median(values),
                    said=f"{median(values):.1f} %",
                    peer="DLIO" in who,
                )
            )
    bars(
        RESULTS / "storage_utilization.svg",
        "Accelerator utilization, ours and DLIO's",
        "MLPerf-style, not an MLPerf result; the same files, in turns",
        rows,
    )


def _draw_cold_load(results: dict[str, Any]) -> None:
    rows = [
        Bar(
            name=name,
            value=median(values),
            said=f"{median(values):.2f} GB/s",
            peer=not name.startswith("ours"),
        )
        for name, values in sorted(results.items(), key=lambda one: -median(one[1]))
    ]
    bars(
        RESULTS / "storage_cold_load.svg",
        "Weights from cold into memory",
        "caches dropped before each load, in turns; our memory is there before the clock runs, theirs is not",
        rows,
    )
