"""A long day in minutes: load, one fault after the other, and afterwards the books have to be right.

An installation with two gateways is started as a user starts it, a fake provider is attached with a limit
of money and with guards, and callers ask at 70 % of the rate that was measured first. Every tenth of them
hangs up, in the middle of an answer or of a stream. Meanwhile the provider dies and returns, control
stands still, is killed and is told to leave, the disk refuses gateways and control, gateways are killed,
stand still and are renewed. Then:

- every answer that a caller had whole has one record, `answered`; every record has an end; what is
  recorded as answered beyond that is no more than the connections that broke;
- what is settled against the limit of money is what the records say was used, and what was held by
  requests whose gateway was killed;
- control has everything out of the spools, the ledger verifies, what rows say of answers is what their
  entries say, there is no alarm;
- no word of a question or an answer stands in any file: no log, database, spool, count or error;
- no process was ever beyond `MEMORY` of what it was after the measuring (it is looked before each fault and
  at the end, for whoever is killed or renewed begins anew), nor has more than `FILES` more files open then.

    python benchmarks/soak.py [--minutes 20] [--clients 16] [--share 0.7] [--quick]

Says what it found as JSON, and ends with 1 when something of this does not hold. Without `--quick` the
figures go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))
from gateway import House
from machine import described
from processes import own_memory
from soak_callers import MARKER, MOST_TOKENS, SIZE, Callers

from freehold.gateway.counts import Counts
from freehold.store.frames import scan
from freehold.store.home import Home
from freehold.store.place import rows_of

RESULTS = Path(__file__).parent / "results"
MEMORY = 64 << 20
"""Bytes of its own memory by which a process may have grown."""
FILES = 16
"""Open files by which a process may have grown."""
SPEND = "1000000 EUR/day"
PRICE = Decimal(1)
"""Per 1,000 tokens, in and out."""
HELD = int((SIZE + MOST_TOKENS) * PRICE / 1000 * 10**9)
"""Billionths that every request holds while it runs: all have the same size."""


# -- what is under load ---------------------------------------------------------------------------------


class Provider:
    """The fake provider on a port of its own, which can die and return."""

    def __init__(self) -> None:
        self._kept = socket.socket()  # its port stays its own while it is dead: bound, and nobody listens
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._kept.getsockname()[1]}"
        self.back()

    def _started(self, listen: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "freehold.engines.upstream_fake", "--listen", listen]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def die(self) -> None:
        """At once, with everything under way."""
        self._process.kill()
        self._process.communicate()

    def back(self) -> None:
        """On the same port."""
        self._process = self._started(self.url.removeprefix("http://"))
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == self.url


class Soaked(House):
    """The installation, its parts as the kernel sees them, and its rows."""

    def __init__(self, folder: Path) -> None:
        home = folder / "fh"
        home.mkdir(mode=0o700)
        (home / "freehold.yaml").write_text("gateways: 2\nworkers: 0\n")
        super().__init__(folder)
        self.store = Home(home)

    def ready(self, provider: str) -> str:
        """The service `echo`, with everything that is looked at on every request; a key for it."""
        self.run("project", "add", "soak", "--timezone", far_from_midnight())
        project = ("--project", "soak", "--purpose", "soaking")
        price = ("--price-in", str(PRICE), "--price-out", str(PRICE))
        guards = [word for name in ("in.pii=mask", "out.pii=mask") for word in ("--guard", name)]
        limits = ("--spend", SPEND, "--at-once", "5000")
        self.run("attach", provider, "--as", "echo", *project, *price, *guards, *limits)
        self.run("keys", "create", *project, "--write-key", str(self.folder / "desk.key"))
        return (self.folder / "desk.key").read_text().strip()

    def of(self, part: str) -> dict[str, int]:
        """The processes of a part that run, by name."""
        said = json.loads((self.home / "control" / "processes.json").read_text())
        return {
            one["name"]: one["pid"]
            for one in said
            if one["name"].split("-")[0] == part and one["pid"] and one["state"] == "running"
        }

    def is_whole(self) -> bool:
        """Whether every part runs, both gateways among them."""
        return len(self.of("gateway")) == 2 and len(self.of("control")) == 1

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        database = rows_of(self.store, read_only=True)
        try:
            with database.read() as conn:
                return [tuple(row) for row in conn.execute(sa.text(query))]
        finally:
            database.close()

    def waiting(self) -> int:
        """Records on disk that control has not taken in."""
        reached = dict(self.rows("SELECT id, sequence FROM spools"))
        waits = 0
        for spool in self.store.spool.glob("spl_*"):
            segments = sorted(spool.glob("*.frames"))
            if segments:
                found = scan(segments[-1].read_bytes(), sequence=int(segments[-1].stem), head=None)
                last = found.frames[-1].sequence if found.frames else int(segments[-1].stem) - 1
                waits += max(0, last - reached.get(spool.name, 0))
        return waits

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Of every part its own memory in bytes and its open files."""
        pids = {"supervisor": self.process.pid, **self.of("control"), **self.of("gateway")}
        return {name: (own_memory(pid), len(os.listdir(f"/proc/{pid}/fd"))) for name, pid in pids.items()}


@cache
def far_from_midnight() -> str:
    """A time zone in which the day does not end while we look: money is counted by the day."""
    return f"Etc/GMT{min(12, dt.datetime.now(dt.UTC).hour - 10):+d}"


def holds(path: Path, words: bytes) -> bool:
    """Whether they stand in a file as they are; one that has gone meanwhile holds nothing."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(words) >= 0
    except (FileNotFoundError, ValueError):  # the second: it is empty
        return False


# -- faults ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Faults:
    """Each one a thing that happens and is over when it returns."""

    house: Soaked
    provider: Provider

    def every(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Names and what to do, in an order that mixes the parts."""
        yield "the provider dies and returns", self.provider_dies
        yield "a gateway is killed", lambda: self.killed("gateway", 0)
        yield "control stands still", lambda: self.stands("control", 3)
        yield "the disk refuses the gateways", lambda: self.disk_refuses("gateway")
        yield "control is told to leave", self.control_leaves
        yield "a gateway stands still", lambda: self.stands("gateway", 2)
        yield "the disk refuses control", lambda: self.disk_refuses("control")
        yield "the other gateway is killed", lambda: self.killed("gateway", -1)
        yield "control is killed", lambda: self.killed("control", 0)
        yield "the gateways are renewed", self.renewed

    def provider_dies(self) -> None:
        self.provider.die()
        time.sleep(2)
        self.provider.back()

    def killed(self, part: str, which: int) -> None:
        os.kill(sorted(self.house.of(part).items())[which][1], signal.SIGKILL)

    def control_leaves(self) -> None:
        os.kill(self.house.of("control")["control"], signal.SIGTERM)

    def stands(self, part: str, seconds: float) -> None:
        pid = next(iter(self.house.of(part).values()))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    def disk_refuses(self, part: str) -> None:
        """The kernel takes no more bytes of these processes for any file, as when the disk is full."""
        pids = list(self.house.of(part).values())
        before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
        for pid, (_, hard) in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        time.sleep(2)
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    def renewed(self) -> None:
        """Both gateways, one after the other."""
        before = set(self.house.of("gateway").values())
        os.kill(self.house.process.pid, signal.SIGHUP)
        until(
            lambda: not before & set(self.house.of("gateway").values()), 90, "the gateways were not renewed"
        )


def until(true: Callable[[], Any], seconds: float, what: str) -> None:
    """Look until it is true; across processes nothing tells."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.1)


# -- the day --------------------------------------------------------------------------------------------


@dataclass
class Day:
    """One run, and what came of it."""

    house: Soaked
    provider: Provider
    key: str
    clients: int
    share: float
    found: dict[str, Any] = field(default_factory=dict)
    most: Counter[str] = field(default_factory=Counter)
    """The most memory that every part was seen to have, under load too."""
    problems: list[str] = field(default_factory=list)

    def go(self, seconds: float, measured: float) -> None:
        url = self.house.addresses["gateway"]
        with callers(Callers(url, self.key, self.clients)) as load:
            self.found["answers a second, measured"] = rate = self.measure(load, measured)
            self.calm(load)
            before = self.house.sizes()
            self.found["asked a second"] = load.pace = round(rate * self.share, 1)
            self.faults(load, seconds)
            until(self.house.is_whole, 60, "a part did not come back")
            began = time.monotonic()
            self.calm(load)
        self.found["seconds until all of it was taken in"] = round(time.monotonic() - began, 1)
        self.look()
        self.check_records(load)
        self.check_money(load)
        self.check_ledger()
        self.check_words()
        self.check_growth(before)

    def measure(self, load: Callers, seconds: float) -> float:
        """How many answers a second there are when every caller asks again at once."""
        load.pace = None
        time.sleep(1)  # connections, first imports
        given, began = len(load.whole), time.monotonic()
        time.sleep(seconds)
        return round((len(load.whole) - given) / (time.monotonic() - began), 1)

    def calm(self, load: Callers) -> None:
        """Nobody asks, everything is recorded and taken in."""
        load.pace = 0.0
        until(lambda: not load.under_way, 60, "requests are still under way")
        open_ones = "SELECT count(*) FROM answers WHERE ending IS NULL"
        until(lambda: not self.house.waiting() and self.house.rows(open_ones) == [(0,)], 300, "records wait")
        time.sleep(1)

    def faults(self, load: Callers, seconds: float) -> None:
        """One after the other, as often as the time allows; after each there are answers again."""
        faults = list(Faults(self.house, self.provider).every())
        each = max(seconds / len(faults), 60.0) if seconds > 600 else seconds / len(faults)
        over, happened = time.monotonic() + seconds, Counter[str]()
        pauses: dict[str, float] = {}
        while time.monotonic() < over:
            for name, do in faults[: max(1, round((over - time.monotonic()) / each))]:
                next_one = time.monotonic() + each
                self.look()
                print(f"{time.strftime('%H:%M:%S')}  {name}", file=sys.stderr, flush=True)
                do()
                happened[name] += 1
                given, over_at = len(load.whole), time.monotonic()
                until(lambda g=given: len(load.whole) > g, 90, f"after {name} nobody was answered")  # type: ignore[misc]
                pauses[name] = max(pauses.get(name, 0.0), round(time.monotonic() - over_at, 1))
                until(self.house.is_whole, 60, f"after {name} a part did not come back")
                time.sleep(max(0.0, next_one - time.monotonic()))
        self.found["faults"] = dict(happened)
        self.found["seconds from a fault's end to the next answer, at most"] = pauses

    def look(self) -> None:
        """Keep the most memory that every part was seen to have."""
        self.most |= Counter({name: memory for name, (memory, _) in self.house.sizes().items()})

    # -- the books ------------------------------------------------------------------------------------------

    def check_records(self, load: Callers) -> None:
        """Answers given are records, and the other way round."""
        rows = self.house.rows("SELECT id, ending FROM answers")
        endings = dict(rows)
        answered = {id for id, ending in rows if ending == "answered"}
        self.found |= {
            "answers given whole": len(load.whole),
            "records": dict(Counter(str(ending) for _, ending in rows)),
            "hung up by the callers": load.hung_up,
            "connections that broke": load.broken,
            "refused": dict(load.refused),
        }
        self.hold(len(load.whole) == len(set(load.whole)), "an answer was given twice")
        lost = set(load.whole) - answered
        self.hold(not lost, f"{len(lost)} answers were given and are not recorded as answered")
        self.hold(None not in endings.values(), "a record has no end")
        unknown = load.named - endings.keys()
        self.hold(not unknown, f"{len(unknown)} replies named a record that is not there")
        surplus = len(answered - set(load.whole))
        self.found["recorded as answered, not had whole"] = surplus
        self.hold(
            surplus <= load.broken + load.hung_up, f"{surplus} answers nobody had are recorded as given"
        )

    def check_money(self, load: Callers) -> None:
        """Settled is used; what a killed gateway's requests held stays held."""
        costs = [Decimal(cost) for (cost,) in self.house.rows("SELECT cost FROM answers")]
        used, dearest = int(sum(costs) * 10**9), int(max(costs) * 10**9)
        died = self.house.rows("SELECT count(*) FROM answers WHERE reason = 'gateway-died'")[0][0]
        settled, running = self.settled()
        kept = round((settled - used) / HELD)
        self.found |= {"used": used / 1e9, "settled": settled / 1e9, "held by the dead": kept}
        # who died between a record and its settling, or the other way round, differs by what it cost
        apart = abs(settled - used - kept * HELD)
        self.hold(apart <= (kept + died) * dearest, f"settled is {settled}, used {used}: {apart} too many")
        self.hold(
            died <= kept <= load.broken, f"{kept} requests stayed held, {died} died, {load.broken} broke"
        )
        self.hold(running == 0, f"{running} places are taken, and nobody asks")

    def settled(self) -> tuple[int, int]:
        """Billionths spent today, and places taken, as the gateways count them."""
        counts = Counts(self.house.store.spend)
        try:
            with counts.rows(("service/echo",)) as (row,):
                row.leave(counts.sits)
                today = dt.datetime.now(ZoneInfo(far_from_midnight())).toordinal()
                return row.spent(today), row.running()
        finally:
            counts.close()

    def check_ledger(self) -> None:
        """The ledger verifies, each answer has its two entries, and nothing was alarming."""
        verified = self.house.run("verify", "--deep")
        self.hold("verified" in verified, f"the ledger does not verify: {verified}")
        count = "SELECT count(DISTINCT object) FROM entries WHERE kind = '{}'"
        answers = self.house.rows("SELECT count(*) FROM answers")[0][0]
        for kind in ("answer.intent", "answer.close"):
            entries = self.house.rows(count.format(kind))[0][0]
            self.hold(entries == answers, f"{answers} answers have {entries} entries of kind {kind}")
        alarms = self.house.rows("SELECT kind, count(*) FROM entries WHERE kind LIKE 'spool.%' GROUP BY kind")
        self.hold(not alarms, f"alarms: {alarms}")
        self.found["entries"] = self.house.rows("SELECT count(*) FROM entries")[0][0]

    def check_words(self) -> None:
        """The words lie sealed, and nowhere else."""
        files = [path for path in self.house.folder.rglob("*") if path.is_file()]
        clear = [path.name for path in files if holds(path, MARKER.encode())]
        self.found["files without a word of anybody"] = len(files) - len(clear)
        self.hold(not clear, f"words stand in {', '.join(sorted(set(clear)))}")

    def check_growth(self, before: dict[str, tuple[int, int]]) -> None:
        """Nobody has grown beyond the bounds."""
        after = self.house.sizes()
        self.found["memory and files"] = {
            name: {"MB before": round(before[name][0] / 1e6, 1), "MB after": round(memory / 1e6, 1),
                   "MB at most": round(self.most[name] / 1e6, 1),
                   "files before": before[name][1], "files after": files}
            for name, (memory, files) in after.items()
        }  # fmt: skip
        for name, (_, files) in after.items():
            grown, opened = self.most[name] - before[name][0], files - before[name][1]
            self.hold(grown <= MEMORY, f"{name} has grown by {grown / 1e6:.0f} MB")
            self.hold(opened <= FILES, f"{name} has {opened} more files open")

    def hold(self, true: bool, problem: str) -> None:
        if not true:
            self.problems.append(problem)


@contextmanager
def callers(load: Callers) -> Iterator[Callers]:
    """The callers in a thread of their own, until the block ends and what they asked is over."""
    thread = threading.Thread(target=lambda: asyncio.run(load.run()))
    thread.start()
    try:
        yield load
    finally:
        load.over = True
        thread.join(120)


def main() -> int:
    parser = argparse.ArgumentParser(description="load, faults, and whether the books are right afterwards")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--share", type=float, default=0.7, help="of the rate that is measured first")
    parser.add_argument("--measured", type=float, default=20, help="seconds of measuring")
    parser.add_argument("--quick", action="store_true", help="nothing is written to results")
    options = parser.parse_args()
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        provider = Provider()
        held.callback(provider.die)
        house = Soaked(folder)
        held.callback(house.stop)
        until(house.is_whole, 60, "the second gateway did not come up")
        key = house.ready(provider.url)
        until(lambda: serves(house, key), 30, "the service is not there")
        day = Day(house, provider, key, options.clients, options.share)
        day.go(options.minutes * 60, options.measured)
    told = {"minutes": options.minutes, "clients": options.clients, "share": options.share, **described()}
    told |= {"at": time.strftime("%Y-%m-%d"), **day.found, "problems": day.problems}
    print(json.dumps(told, indent=1))
    if not options.quick:
        (RESULTS / "soak.json").write_text(json.dumps(told, indent=1) + "\n")
    return 1 if day.problems else 0


def serves(house: Soaked, key: str) -> bool:
    """Whether the service is there to be asked."""
    url, headers = house.addresses["gateway"] + "/v2/models/echo/ready", {"authorization": f"Bearer {key}"}
    return httpx.get(url, headers=headers, trust_env=False).is_success


if __name__ == "__main__":
    sys.exit(main())
