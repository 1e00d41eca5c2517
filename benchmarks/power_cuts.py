"""Power cuts by the hundred: how many of the records that were acknowledged are lost.

    python benchmarks/power_cuts.py [--cuts 250] [--records 1000000] [--runs 50]

The work is that of an installation (tests/durability/work.py); what a cut leaves is worked out from the
record of every write and sync, as tests/durability/disk.py says: no disk is trusted. Beside it stand the two
that must lose: a spool that does not sync, and SQLite with synchronous=NORMAL.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from plot import Bar, bars

from tests.durability.cuts import Asked, Cut, Record, build, cut_off, installation, recorded
from tests.durability.disk import Outcome

RESULTS = Path(__file__).parent / "results"
CONTROLS = {"a spool that does not sync": "without-sync", "SQLite with synchronous=NORMAL": "normal"}


def main() -> int:
    reader = argparse.ArgumentParser()
    reader.add_argument("--cuts", type=int, default=250)
    reader.add_argument("--records", type=int, default=1_000_000)
    reader.add_argument("--runs", type=int, default=50)
    reader.add_argument("--folder", type=Path, default=None)
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory(prefix="cuts-", dir=asked.folder) as scratch:
        folder = Path(scratch)
        bench = Bench(folder)
        ours = bench.series(asked.runs, asked.records, asked.cuts)
        small = max(2, asked.runs // 5)
        controls = {
            name: bench.series(small, asked.records // 20, max(10, asked.cuts // 5), wrong)
            for name, wrong in CONTROLS.items()
        }
    result = {
        "what": "power cuts: acknowledged records that were lost",
        "at": time.strftime("%Y-%m-%d"),
        "as it is": ours,
        **controls,
    }
    write(result)
    print(json.dumps(result, indent=2))
    fails = all(one["cuts that lost or broke something"] for one in controls.values())
    return 0 if fails and not ours["cuts that lost or broke something"] else 1


class Bench:
    """Records work and cuts it off."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recorder = build(folder)
        self._template = installation(folder / "template")
        self._number = 0

    def series(self, runs: int, records: int, cuts: int, *wrong: str) -> dict[str, Any]:
        """That many runs together make that many acknowledged records; the cuts fall evenly on the runs."""
        seen = lost = bad = done = 0
        unlike, whole = list[str](), 0
        for run in range(runs):
            record = self._record(run, records // runs, wrong)
            share = cuts * (run + 1) // runs - cuts * run // runs
            newest = 0
            for left in cut_off(record, _cuts(record, share, run), self._folder / "left"):
                done += 1
                seen += left.records
                newest = max(newest, left.records)
                lost += left.found.lost
                bad += not left.found.well
                unlike += [str(left)] if not left.found.well else []
            whole += newest
            record.path.unlink()
            print(
                f"{wrong or 'as it is'}: run {run + 1}, {done} cuts, {lost} lost, {bad} bad", file=sys.stderr
            )
        return {
            "cuts": done,
            "records acknowledged before a cut": whole,
            "records looked for, over all cuts": seen,
            "lost": lost,
            "share lost": round(lost / seen, 4),
            "cuts that lost or broke something": bad,
            "such as": unlike[:3],
        }

    def _record(self, run: int, records: int, wrong: tuple[str, ...]) -> Record:
        self._number += 1
        folder = self._folder / f"run-{self._number}"
        # an answer is two records: that it began, and how it ended
        asked = Asked(answers=max(20, records // 2), batch=200, seed=run, wrong=wrong)
        return recorded(self._recorder, self._template, folder, asked)


def _cuts(record: Record, count: int, seed: int) -> list[Cut]:
    """Anywhere in the record, and one near its end; one in four keeps nothing that was not synced."""
    chance = random.Random(seed)
    points = [*chance.sample(record.points, count - 1), record.points[-1]]
    kinds: tuple[Outcome, ...] = ("lost", "mixed", "mixed", "mixed")
    return [Cut(at=at, outcome=kinds[n % 4], seed=n) for n, at in enumerate(points)]


def write(result: dict[str, Any]) -> None:
    """The figures and their picture."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "power_cuts.json").write_text(json.dumps(result, indent=2) + "\n")
    named = {name: told for name, told in result.items() if isinstance(told, dict)}
    rows = [
        Bar(
            name=name,
            value=told["share lost"] * 100,
            said=f"{told['lost']:,} lost · {told['share lost']:.2%}",
            peer=name != "as it is",
        )
        for name, told in named.items()
    ]
    ours = result["as it is"]
    bars(
        RESULTS / "power_cuts.svg",
        "What a power cut takes of what was acknowledged",
        f"{ours['cuts']} cuts, {ours['records acknowledged before a cut']:,} records",
        rows,
    )


if __name__ == "__main__":
    sys.exit(main())
