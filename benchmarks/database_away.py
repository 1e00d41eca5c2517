"""The database is away for ten minutes while answers are asked for: none refused, none lost, memory flat.

An installation as a user starts it, a provider that answers at once, callers who go on asking. After half a
minute another connection locks the whole database, as maintenance might, and lets go after ten minutes.
Meanwhile every answer is recorded in the gateway's spool, which lies on the disk and is bounded. Then:

- no caller was told anything but an answer;
- control has a row of every answer that was given, and the ledger verifies;
- the gateway's own memory never grew by more than `MEMORY`.

    python benchmarks/database_away.py [--minutes 10] [--callers 2] [--folder F] [--quick]

Says what it found as JSON, and ends with 1 when something of this does not hold. Without `--quick` the
figures go to benchmarks/results/. Nothing of it is timed against a goal, so it may run on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import ledger_callers as callers
from gateway import House
from machine import described
from processes import own_memory

HERE = Path(__file__).parent
RESULT = HERE / "results" / "database_away.json"
MEMORY = 32 << 20
"""Bytes by which the gateway may grow."""
WARM = 30.0
"""Seconds of asking before, and after, the database is away."""
PATIENCE = 600.0
"""Seconds until control has taken in all that waited."""


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    reader.add_argument("--minutes", type=float, default=10)
    reader.add_argument("--callers", type=int, default=2)
    reader.add_argument("--folder", type=Path, default=None)
    reader.add_argument("--quick", action="store_true", help="nothing is written")
    asked = reader.parse_args()
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="away-", dir=asked.folder)))
        provider = held.enter_context(_provider())
        house = House(folder)
        held.callback(house.stop)
        told = _measured(house, _key(house, provider), asked.minutes * 60, asked.callers)
    result = {"what": "the database is away", "at": time.strftime("%Y-%m-%d"), "machine": described(), **told}
    if not asked.quick:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0 if _holds(told) else 1


def _holds(told: dict[str, Any]) -> bool:
    grown = told["gateway's own memory, MB"]
    flat = grown["most meanwhile"] - grown["before"] <= MEMORY >> 20
    return flat and told["answered"] == told["recorded"] > 0 and not told["told anything else"]


@contextmanager
def _provider() -> Iterator[str]:
    command = [sys.executable, str(HERE / "ledger_callers.py"), "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def _key(house: House, provider: str) -> str:
    """A key for the provider, attached as a service."""
    about = ("--project", "claims", "--purpose", callers.PURPOSE)
    house.run("project", "add", "claims")
    house.run("attach", provider, "--as", callers.SERVICE, *about, "--model", "fake-1")
    house.run("keys", "create", *about, "--write-key", str(house.folder / "desk.key"))
    return (house.folder / "desk.key").read_text().strip()


def _measured(house: House, key: str, seconds: float, number: int) -> dict[str, Any]:
    with _asking(house, key, number, seconds + 2 * WARM) as asking:
        time.sleep(WARM)
        before, most = own_memory(house.pids()["gateway"]), 0
        with _locked(house):
            over = time.monotonic() + seconds
            while time.monotonic() < over:
                time.sleep(1)
                most = max(most, own_memory(house.pids()["gateway"]))
            waiting, rows = _spooled(house), _rows(house)
        began = time.monotonic()
        said = json.loads(asking.communicate()[0])
    caught_up = _caught_up(house, said["answered"], began)
    house.run("verify")
    return {
        "seconds away": seconds,
        "callers": number,
        "answered": said["answered"],
        "told anything else": said["other"],
        "p99 ms": said["p99 ms"],
        "rows when it came back": rows,
        "recorded": _rows(house),
        "spooled by then, MB": round(waiting / 2**20, 1),
        "all taken in after s": round(caught_up, 1),
        "gateway's own memory, MB": {
            "before": round(before / 2**20, 1),
            "most meanwhile": round(most / 2**20, 1),
        },
    }


@contextmanager
def _asking(house: House, key: str, number: int, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HERE / "ledger_callers.py"), "ask", house.addresses["gateway"]]
    with subprocess.Popen(
        [*command, str(number), str(seconds)],
        env={**os.environ, "FREEHOLD_SERVING_KEY": key},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _locked(house: House) -> Iterator[None]:
    """Nobody else writes into the database."""
    database = house.home / "control" / "freehold.db"
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def _rows(house: House) -> int:
    with closing(sqlite3.connect(house.home / "control" / "freehold.db")) as reader:
        query = "SELECT count(*) FROM answers WHERE ending = 'answered'"
        return int(reader.execute(query).fetchone()[0])


def _spooled(house: House) -> int:
    """Bytes that wait on the disk."""
    files = (house.home / "serving" / "spool").rglob("*.frames")
    return sum(path.stat().st_size for path in files)


def _caught_up(house: House, answered: int, began: float) -> float:
    """Seconds from `began` until control has a row of every answer, or until patience ends."""
    while _rows(house) < answered and time.monotonic() < began + PATIENCE:
        time.sleep(0.5)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
