"""What a measurement took from the wall: read from a meter, or reckoned from processor time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WATTS_A_CORE = 7.5
"""Of a busy server core: 60 W for eight, cpu.watts of facts.yaml; nobody confirmed it."""
METERS = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Joules, and how they are known."""

    joules: float
    label: str
    """measured | estimated"""
    scope: str


class Meter:
    """Reads the processors' own counters (RAPL) twice; without them, estimates."""

    def __init__(self) -> None:
        self._begun = _counters()

    def used(self, cpu_seconds: float) -> Energy:
        """Since it was made; `cpu_seconds` of our processes stand in where no counter can be read."""
        ended = _counters()
        if ended and ended.keys() == self._begun.keys():
            micro = sum(_since(self._begun[name], ended[name], name) for name in ended)
            return Energy(joules=micro / 1e6, label="measured", scope="processor packages, all that ran")
        return Energy(
            joules=cpu_seconds * WATTS_A_CORE,
            label="estimated",
            scope=f"{WATTS_A_CORE:g} W a busy core, our own processes alone",
        )


def _counters() -> dict[str, int]:
    """Microjoules of each package by name; empty where they are not there, or not for us."""
    found = {}
    for zone in sorted(METERS.glob("intel-rapl:[0-9]*")):
        if zone.name.count(":") != 1:
            continue  # a part of a package, counted with it
        try:
            found[str(zone)] = int((zone / "energy_uj").read_text())
        except (OSError, ValueError):
            return {}
    return found


def _since(before: int, after: int, zone: str) -> int:
    """The counters begin anew at a number that stands beside them."""
    if after >= before:
        return after - before
    return after + int((Path(zone) / "max_energy_range_uj").read_text()) - before
