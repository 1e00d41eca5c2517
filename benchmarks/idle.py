"""What an installation costs that nobody uses: processor time of its processes, and of their children.

It is started as a user starts it, left alone until the first minute's work is over (control verifies its
ledger 20 seconds after it began), and then looked at for a while:

    python benchmarks/idle.py [--seconds 120] [--write]

The verifying of a ledger that does not grow (once in ten minutes) falls into the time or not; children that
ended are shown beside. Results go to benchmarks/results/ with `--write`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from gateway import RESULTS, House
from machine import described
from processes import TICK

SETTLED = 90.0
"""Seconds from the start on after which nothing is left of it."""


def spent(pid: int) -> tuple[float, float]:
    """Seconds of processor time of a process, and of its children that ended."""
    said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / TICK, (int(said[13]) + int(said[14])) / TICK


def measured(house: House, seconds: float) -> dict[str, dict[str, float]]:
    """Percent of a core, by process."""
    pids = {"supervisor": house.process.pid, **house.pids()}
    before, began = {name: spent(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    found = {}
    for name, pid in pids.items():
        own, children = (
            100 * (now - then) / took for now, then in zip(spent(pid), before[name], strict=True)
        )
        found[name] = {"own": round(own, 3), "children": round(children, 3)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="what an installation costs that nobody uses")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        try:
            time.sleep(SETTLED)
            found = measured(house, options.seconds)
        finally:
            house.stop()
    for name, cost in found.items():
        print(f"{name:12} {cost['own']:6.2f} % of a core, children that ended {cost['children']:5.2f} %")
    total = sum(cost["own"] for cost in found.values())
    print(f"{'together':12} {total:6.2f} %")
    if options.write:
        result = {"machine": described(), "seconds": options.seconds, "percent of a core": found}
        (RESULTS / "idle.json").write_text(json.dumps(result, indent=1) + os.linesep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
