"""What a request through the gateway costs: processor time of all our processes, beside other ways to ask.

An installation is started as a user starts it; `echo.py` is attached twice, once with no guard and once with
all of them; `callers.py` asks. The ways take turns in one run, and processor time is what the kernel counted
for every process of a product, until none of them works any more: records that control takes in later
belong to the answers before. Every answer of ours is recorded durably before its last byte leaves.

    python benchmarks/gateway.py [--parts ways streams] [--peers PYTHON] [--node FOLDER] [--rounds 3]

| part | | minutes on two cores |
|---|---|---|
| `ways` | 64 clients, 1 kB: direct, nginx, LiteLLM, also with rules, Portkey, ours, also with guards | 4 |
| `clients` | 1, 8, 64, 256 and 1,024 clients; syncs a record, beside what the disk can do | 6 |
| `sizes` | prompts of 1, 10 and 100 kB | 4 |
| `streams` | processor time of one more piece of a stream; how much later its first words come | 8 |
| `keys` | 10, 1,000 and 100,000 keys, and what a new one costs then | 5 |
| `services` | 1, 10 and 100 services | 4 |
| `memory` | own memory of each process over 1,000,000 requests (`--requests`) | 30 |

PYTHON and FOLDER have what we stand beside, by itself (nothing of it is a dependency of Freehold):

    python3 -m venv peers && peers/bin/pip install 'litellm[proxy]'
    npm install --ignore-scripts --prefix FOLDER @portkey-ai/gateway

What is not there is left out and named. Each part takes its place in benchmarks/results/gateway.json among
those that were measured on the same machine, with when and how busy it was; `--quick` writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))
from disk_limit import limit
from gateway_peers import Way, peers, versions
from machine import described
from plot import Bar, bars
from processes import cpu, family, own_memory

HERE = Path(__file__).parent
RESULTS = HERE / "results"
GOALS = {"ours": 60, "ours, all guards": 150}
"""Microseconds of processor time a request at 64 clients; see docs/decisions/0052."""
GUARDS = ("in.pii=mask", "in.secrets=refuse", "in.injection=refuse", "out.pii=mask", "out.secrets=refuse")
CLIENTS = (1, 8, 64, 256, 1024)
SIZES = (1_000, 10_000, 100_000)
KEYS = (10, 1_000, 100_000)
SERVICES = (1, 10, 100)
SHORT, LONG = 50, 250
"""Pieces of the two streams whose costs are compared."""
FEW, APART = 10, 20
"""Pieces, and milliseconds between two of them, where it is measured how long the first words take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What callers do in one round."""

    clients: int = 64
    size: int = 1_000
    seconds: float = 6
    stream: bool = False
    orders: str = ""


def measure(way: Way, load: Load) -> dict[str, Any]:
    """One round. Processor time is in microseconds an answer."""
    before, synced = {name: cpu(pid) for name, pid in way.pids.items()}, _syncs(way)
    command = [sys.executable, str(HERE / "callers.py"), way.url, way.key, str(load.clients)]
    command += [str(load.seconds), str(load.size), *(["stream"] if load.stream else [])]
    said = subprocess.run(
        [*command, "--models", way.models, "--orders", load.orders, "--headers", json.dumps(way.headers)],
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(said.stdout)
    settle(way)
    used = {name: (cpu(pid) - before[name]) * 1e6 for name, pid in way.pids.items()}
    answers = max(1, figures["answers"])
    figures["cpu_us"] = {name: round(spent / answers, 1) for name, spent in used.items() if spent}
    figures["total_us"] = round(sum(used.values()) / answers, 1)
    figures["per_second"] = round(figures["answers"] / figures["seconds"], 1)
    figures["seconds"] = round(figures["seconds"], 2)
    if way.metrics:
        figures["syncs an answer"] = round((_syncs(way) - synced) / answers, 3)
    return figures


def settle(way: Way) -> None:
    """Until nobody of theirs works any more: what is left over from a round belongs to it."""
    last, still = sum(map(cpu, way.pids.values())), 0
    while still < 3:
        time.sleep(0.2)
        now = sum(map(cpu, way.pids.values()))
        still = still + 1 if now - last < 0.03 else 0
        last = now


def _syncs(way: Way) -> int:
    """How often the gateway's spool was synced, by its own count."""
    if not way.metrics:
        return 0
    said = httpx.get(way.metrics, trust_env=False).text
    found = re.findall(r"^freehold_gateway_spool_syncs\{.*\} (\d+)", said, re.MULTILINE)
    return sum(map(int, found))


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """The upstream: its URL and process."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "echo.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()


class House:
    """An installation in a folder of its own, started by the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "fh"
        places = {"FREEHOLD_HOME": str(self.home), "XDG_STATE_HOME": str(folder / "state")}
        self.environment = {**os.environ, **places}
        self.start()

    def start(self) -> None:
        """Up and ready, for the first time or once more after `stop`."""
        self.said = (self.folder / "said.txt").open("w")
        up = [sys.executable, "-P", "-m", "freehold", "up", "--port", "0", "--gateway-port", "0"]
        key = self.folder / "administrator.key"
        self.process = subprocess.Popen(
            [*up, *([] if key.exists() else ["--write-key", str(key)])],
            cwd=self.folder,
            env=self.environment,
            stdout=self.said,
            stderr=self.said,
        )
        self._until_up()

    def _until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.addresses = json.loads((self.home / "control" / "addresses.json").read_text())
                if httpx.get(self.addresses["gateway"] + "/v2/health/ready", trust_env=False).is_success:
                    return
            except (OSError, ValueError, httpx.TransportError):
                pass
            time.sleep(0.2)
        raise SystemExit((self.folder / "said.txt").read_text())

    def run(self, *words: str) -> str:
        """One command, as the administrator."""
        environment = {
            **self.environment,
            "FREEHOLD_URL": self.addresses["control"],
            "FREEHOLD_GATEWAY": self.addresses["gateway"],
            "FREEHOLD_KEY": (self.folder / "administrator.key").read_text().strip(),
        }
        command = [sys.executable, "-P", "-m", "freehold", *words]
        ran = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"freehold {words[0]} ended with {ran.returncode}:\n{ran.stderr[-3000:]}")
        return ran.stdout

    def pids(self) -> dict[str, int]:
        """Every process of ours but the supervisor, by name."""
        said = json.loads((self.home / "control" / "processes.json").read_text())
        return {one["name"]: one["pid"] for one in said}

    def everybody(self) -> dict[str, int]:
        """Every process of ours, and of theirs."""
        return {
            name if pid == first else f"{name} {pid}": pid
            for name, first in self.pids().items()
            for pid in family(first)
        } | {"supervisor": self.process.pid}

    def post(self, path: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """One question to control, as the administrator."""
        key = (self.folder / "administrator.key").read_text().strip()
        reply = httpx.post(
            self.addresses["control"] + path,
            json=said,
            headers={"authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=300,
        )
        if not reply.is_success:
            raise SystemExit(f"{path} answered {reply.status_code}: {reply.text[:500]}")
        answered: dict[str, Any] = reply.json()
        return answered

    def stop(self) -> None:
        """Down, in good order."""
        self.process.terminate()
        self.process.wait(60)
        self.said.close()


class Benched(House):
    """An installation with the upstream attached, and a key that may ask it."""

    def __init__(self, folder: Path, upstream: str) -> None:
        super().__init__(folder)
        self.upstream = upstream
        self.post("/api/projects", {"name": "bench"})
        self.attach("echo")
        self.attach("guarded", GUARDS)
        said = {"zone": "serving", "project": "bench", "purpose": "measuring"}
        self.key = str(self.post("/api/keys", said)["key_text"])
        self.answers()

    def attach(self, name: str, guards: Sequence[str] = ()) -> None:
        """The upstream as one more service."""
        said = {"service": name, "project": "bench", "purpose": "measuring", "model": "m"}
        self.post("/api/attached", {**said, "url": self.upstream + "/v1", "guard": list(guards)})

    def answers(self) -> None:
        """Until both services do: who has not heard of the key would be measured refusing it."""
        deadline = time.monotonic() + 60
        for name in ("echo", "guarded"):
            asked = {"model": name, "messages": [{"role": "user", "content": "good day"}]}
            while not self._asked(asked):
                if time.monotonic() > deadline:
                    raise SystemExit(f"`{name}` does not answer\n" + (self.folder / "said.txt").read_text())
                time.sleep(0.2)

    def _asked(self, said: Mapping[str, Any]) -> bool:
        url, headers = f"{self.gateway}/v1/chat/completions", {"authorization": f"Bearer {self.key}"}
        return httpx.post(url, json=said, headers=headers, trust_env=False, timeout=30).is_success

    @property
    def gateway(self) -> str:
        return str(self.addresses["gateway"])

    def way(self, *, guards: bool = False, models: str = "", key: str = "") -> Way:
        """To the upstream through us."""
        return Way(
            name="ours, all guards" if guards else "ours",
            url=f"{self.gateway}/v1/chat/completions",
            key=key or self.key,
            pids=self.everybody(),
            models=models or ("guarded" if guards else "echo"),
            metrics=f"{self.gateway}/metrics",
        )


# -- parts ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says, and where there is room."""

    folder: Path
    peers: str
    node: str
    seconds: float
    rounds: int
    requests: int
    quick: bool


@contextmanager
def started(asked: Asked, part: str) -> Iterator[tuple[Benched, str, int]]:
    """An installation for one part, with its upstream."""
    with ExitStack() as held:
        upstream, pid = held.enter_context(echo())
        folder = asked.folder / part
        folder.mkdir()
        house = Benched(folder, upstream)
        held.callback(house.stop)
        yield house, upstream, pid


def in_turns(ways: Sequence[Way], loads: Sequence[Load], rounds: int) -> list[dict[str, Any]]:
    """Every load in every way, another one first in every round."""
    for way in ways:  # whoever is first would pay for waking up
        measure(way, replace(loads[0], clients=8, seconds=1))
    found = []
    for load in loads:
        for turn in range(rounds):
            for number in range(len(ways)):
                way = ways[(turn + number) % len(ways)]
                said = {"way": way.name, "clients": load.clients, "bytes": load.size, "orders": load.orders}
                found.append(said | measure(way, load))
                tell(found[-1])
    return found


def tell(found: Mapping[str, Any]) -> None:
    """One line of what a round gave."""
    each = ", ".join(f"{name} {us:.0f}" for name, us in found["cpu_us"].items() if us >= 1)
    print(
        f"{found['way']:20} {found['clients']:4} clients {found['bytes']:6} B {found['orders']:24} "
        f"{found['total_us']:7.0f} µs ({each})  {found['per_second']:7.1f}/s  p50 {found['p50_ms']} ms  "
        f"failed {found['failed']}",
        file=sys.stderr,
        flush=True,
    )


def summed_up(rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rounds of each way and load, by their medians."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for one in rounds:
        groups.setdefault((one["way"], one["clients"], one["bytes"], one["orders"]), []).append(one)
    figures = (
        "total_us",
        "per_second",
        "p50_ms",
        "p99_ms",
        "first_p50_ms",
        "first_p99_ms",
        "syncs an answer",
    )
    return [
        {"way": way, "clients": clients, "bytes": size, "orders": orders}
        | {
            name: round(statistics.median(one[name] for one in group), 3)
            for name in figures
            if all(one.get(name) is not None for one in group)
        }
        | {"failed": sum(one["failed"] for one in group)}
        for (way, clients, size, orders), group in groups.items()
    ]


def ways(asked: Asked) -> dict[str, Any]:
    """All there are, side by side."""
    with (
        started(asked, "ways") as (house, upstream, pid),
        peers(upstream, pid, asked.peers, asked.node) as others,
    ):
        mine = [house.way(), house.way(guards=True)]
        rounds = in_turns([*others, *mine], [Load(seconds=asked.seconds)], asked.rounds)
    medians = summed_up(rounds)
    held = {one["way"]: one["total_us"] <= GOALS[one["way"]] for one in medians if one["way"] in GOALS}
    told = {"beside": versions(asked.peers, asked.node), "goals, µs": GOALS, "held": held}
    return {**told, "medians": medians, "rounds": rounds}


def clients(asked: Asked) -> dict[str, Any]:
    """More and more of them; and how many syncs the disk can do."""
    disk = limit(asked.folder, min(10, asked.seconds))
    loads = [
        Load(clients=number, seconds=asked.seconds) for number in (CLIENTS[:2] if asked.quick else CLIENTS)
    ]
    with started(asked, "clients") as (house, upstream, pid), peers(upstream, pid) as others:
        mine = [house.way(), house.way(guards=True)]
        rounds = in_turns([*others, *mine], loads, max(1, asked.rounds - 1))
    return {"disk, 4 KB and fdatasync": disk, "medians": summed_up(rounds), "rounds": rounds}


def sizes(asked: Asked) -> dict[str, Any]:
    """Longer and longer prompts."""
    loads = [Load(size=size, seconds=asked.seconds) for size in (SIZES[:2] if asked.quick else SIZES)]
    with started(asked, "sizes") as (house, upstream, pid), peers(upstream, pid) as others:
        rounds = in_turns([*others, house.way(), house.way(guards=True)], loads, max(1, asked.rounds - 1))
    return {"medians": summed_up(rounds), "rounds": rounds}


def streams(asked: Asked) -> dict[str, Any]:
    """What one more piece costs, and how much later than straight from the upstream the first words come.

    Without Portkey 1.15: on Node 20 it answers 500 to every stream (`TypeError: immutable`).
    """
    at_once = [Load(seconds=asked.seconds, stream=True, orders=f"[pieces {n}]") for n in (SHORT, LONG)]
    apart = f"[pieces {FEW}] [apart {APART}]"
    slowly = [Load(clients=n, seconds=asked.seconds, stream=True, orders=apart) for n in (1, 32)]
    with started(asked, "streams") as (house, upstream, pid), peers(upstream, pid, asked.peers) as others:
        mine = [house.way(), house.way(guards=True)]
        rounds = in_turns([*others, *mine], [*at_once, *slowly], max(1, asked.rounds - 1))
    medians = summed_up(rounds)
    return {**compared(medians), "medians": medians, "rounds": rounds}


def compared(medians: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Microseconds of one more piece, and milliseconds until the first words beyond the upstream's own."""
    cost: dict[str, dict[str, float]] = {}
    first: dict[str, dict[int, float]] = {}
    for one in medians:
        if "apart" in one["orders"]:
            first.setdefault(one["way"], {})[one["clients"]] = one["first_p50_ms"]
        else:
            cost.setdefault(one["way"], {})[one["orders"]] = one["total_us"]
    none: dict[int, float] = dict.fromkeys((1, 32), 0.0)
    direct = first.get("direct", none)
    return {
        "µs of one more piece": {
            way: round((by[f"[pieces {LONG}]"] - by[f"[pieces {SHORT}]"]) / (LONG - SHORT), 2)
            for way, by in cost.items()
        },
        "ms until the first words, beyond the upstream's": {
            way: {f"{n} clients": round(ms - direct[n], 2) for n, ms in by.items()}
            for way, by in first.items()
            if way != "direct"
        },
    }


def keys(asked: Asked) -> dict[str, Any]:
    """Asked with 64 of so many keys; and what one more key costs while callers ask."""
    found = []
    with started(asked, "keys") as (house, _upstream, _pid):
        for number in KEYS[:2] if asked.quick else KEYS:
            house.stop()
            held = filled(house.home, number)
            house.start()
            house.answers()
            file = house.folder / "some.keys"
            file.write_text("\n".join(held))
            way = house.way(key=f"@{file}")
            rounds = in_turns([way], [Load(seconds=asked.seconds)], max(1, asked.rounds - 1))
            found.append({"keys": number, **summed_up(rounds)[0], **one_more(house, way, 6 + number / 2_500)})
            found[-1]["gateway's own memory, MB"] = round(own_memory(house.pids()["gateway"]) / 1e6, 1)
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return {"by keys": found}


def filled(home: Path, number: int) -> list[str]:
    """As many serving keys as that, written while nobody else has the rows open; some of their texts."""
    import sqlalchemy as sa

    from freehold.app import open_parts
    from freehold.ledger.record import record
    from freehold.release.publish import publish
    from freehold.spec.ids import new_id
    from freehold.spec.keys import KeyText
    from freehold.spec.principal import SYSTEM
    from freehold.store.configured import config_of, read_config
    from freehold.store.home import Home
    from freehold.store.tables import keys as table

    with open_parts(Home(home), read_config(config_of(Home(home)))) as parts:
        with parts.ground.db.write() as tx:
            serving = sa.select(table).where(table.c.zone == "serving")
            like = dict(tx.execute(serving.limit(1)).mappings().one())
            there = int(tx.execute(sa.select(sa.func.count()).select_from(serving.subquery())).scalar_one())
            made = [KeyText.new("serving", new_id("key")) for _ in range(number - there)]
            rows = [like | {"id": one.id, "secret_digest": one.digest} for one in made]
            if rows:
                tx.execute(table.insert(), rows)
            for one in rows:
                said = {
                    "key": one["id"],
                    **{name: one[name] for name in ("zone", "owner", "project", "purpose")},
                }
                record(tx, "key.created", by=SYSTEM, object=one["id"], project=one["project"], detail=said)
            publish(tx, parts.ground, by=SYSTEM)
        parts.sequencer.run_once()
    return [one.text for one in made[:64]]


def one_more(house: Benched, way: Way, seconds: float) -> dict[str, Any]:
    """A key more while callers ask: how long until every gateway knew it, and what the callers felt."""
    command = [sys.executable, str(HERE / "callers.py"), way.url, way.key, "8", str(seconds), "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        time.sleep(1)
        began = time.monotonic()
        said = {"zone": "serving", "project": "bench", "purpose": "measuring"}
        made = house.post("/api/keys", said)
        answered = time.monotonic() - began
        headers, url = {"authorization": f"Bearer {made['key_text']}"}, f"{house.gateway}/v1/models"
        known = seconds_until(
            lambda: httpx.get(url, headers=headers, trust_env=False, timeout=30).is_success, began
        )
        assert asking.stdout is not None
        told = json.loads(asking.stdout.read())
    return {
        "one more: seconds until control had answered": round(answered, 2),
        "one more: seconds until the gateway knew it": known,
        "one more: ms that a caller waited at most": told["most_ms"],
        "one more: callers who failed": told["failed"],
    }


def seconds_until(known: Callable[[], bool], began: float, patience: float = 120) -> float | str:
    """Seconds from `began` until it is so; in words where nobody waited on: that is no measurement."""
    while not known():
        if time.monotonic() > began + patience:
            return f"not within {patience:g}"
        time.sleep(0.05)
    return round(time.monotonic() - began, 2)


def services(asked: Asked) -> dict[str, Any]:
    """So many services, and each of them asked."""
    found = []
    with started(asked, "services") as (house, _upstream, _pid):
        there = 0
        for number in SERVICES[:2] if asked.quick else SERVICES:
            began = time.monotonic()
            for one in range(there, number):
                house.attach(f"echo-{one}")
            took, added, there = time.monotonic() - began, number - there, number
            names = [f"echo-{one}" for one in range(number)]
            way = house.way(models=",".join(names))
            rounds = in_turns([way], [Load(seconds=asked.seconds)], max(1, asked.rounds - 1))
            found.append({"services": number, **summed_up(rounds)[0]})
            found[-1]["seconds to attach one more"] = round(took / added, 2)
    return {"by services": found}


def memory(asked: Asked) -> dict[str, Any]:
    """What every process has for itself, again and again, over very many requests."""
    seen: list[dict[str, Any]] = []
    with started(asked, "memory") as (house, _upstream, _pid):
        answers, failed, turns = 0, 0, [house.way(), house.way(guards=True)]
        measure(turns[0], Load(seconds=2))
        while answers < asked.requests:
            told = measure(turns[len(seen) % 2], Load(seconds=30 if asked.requests > 100_000 else 5))
            answers, failed = answers + told["answers"], failed + told["failed"]
            own = {name: round(own_memory(pid) / 1e6, 1) for name, pid in house.everybody().items()}
            seen.append({"answers": answers, "MB": own})
            print(json.dumps(seen[-1]), file=sys.stderr, flush=True)
        shown = told_memory(seen)
    return {"answers": answers, "failed": failed, **shown, "seen": seen}


def told_memory(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What each had after a tenth of the requests, and at most and at the end after that."""
    tenth = next(n for n, one in enumerate(seen) if one["answers"] >= seen[-1]["answers"] / 10)
    names = [name for name in seen[tenth]["MB"] if name in seen[-1]["MB"]]
    return {
        "MB": {
            name: {
                "after a tenth": seen[tenth]["MB"][name],
                "at most after that": max(one["MB"].get(name, 0) for one in seen[tenth:]),
                "at the end": seen[-1]["MB"][name],
            }
            for name in names
        }
    }


PARTS: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "ways": ways,
    "clients": clients,
    "sizes": sizes,
    "streams": streams,
    "keys": keys,
    "services": services,
    "memory": memory,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--peers", default="", help="a Python that has them")
    parser.add_argument("--node", default="", help="a folder where npm put those that need it")
    parser.add_argument("--seconds", type=float, default=6, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_000_000, help="of `memory`")
    parser.add_argument(
        "--folder", type=Path, default=None, help="on the disk to measure; emptied at the end"
    )
    parser.add_argument("--quick", action="store_true", help="little of everything; nothing is written")
    said = parser.parse_args()
    if said.quick:
        said.seconds, said.rounds, said.requests = min(2.0, said.seconds), 1, min(said.requests, 5_000)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for everything that is started
    for part in said.parts:
        with tempfile.TemporaryDirectory(prefix="gateway-", dir=said.folder) as folder:
            asked = Asked(
                folder=Path(folder),
                peers=said.peers,
                node=said.node,
                seconds=said.seconds,
                rounds=said.rounds,
                requests=said.requests,
                quick=said.quick,
            )
            machine = described()
            busy, began = machine.pop("load while measured"), time.monotonic()
            found = PARTS[part](asked)
        when = {"at": time.strftime("%Y-%m-%d"), "load at the beginning": busy}
        when |= {"seconds of a round": said.seconds}
        found = {**when, "minutes it took": round((time.monotonic() - began) / 60, 1), **found}
        print(json.dumps({part: {name: told for name, told in found.items() if name != "rounds"}}, indent=1))
        if not said.quick:
            write({part: found}, machine, RESULTS)
    return 0


def write(found: Mapping[str, Any], machine: Mapping[str, Any], folder: Path) -> None:
    """The figures and their picture, beside the other parts of this machine."""
    path = folder / "gateway.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    before = kept if kept.get("machine") == machine else {}
    told = {"machine": dict(machine)} | {
        p: found.get(p, before.get(p)) for p in PARTS if p in {*before, *found}
    }
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    if "ways" in told:
        draw(told["ways"], folder)


def draw(told: Mapping[str, Any], folder: Path) -> None:
    """Processor time by way."""
    rows = [
        Bar(
            name="upstream itself" if one["way"] == "direct" else one["way"],
            value=one["total_us"],
            said=f"{one['total_us']:,.0f} µs, {one['per_second']:,.0f}/s",
            peer=not one["way"].startswith("ours"),
        )
        for one in told["medians"]
    ]
    under = "64 clients, 1 kB, all processes; of ours every answer is recorded durably"
    bars(folder / "gateway.svg", "Processor time of a request", under, rows)


if __name__ == "__main__":
    sys.exit(main())
