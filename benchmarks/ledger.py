"""The ledger: how fast it is durable, how fast it is verified, what it finds, what it costs as it grows.

    python benchmarks/ledger.py [--folder F] [--parts speed tampering size] [--seconds 20]
                                [--tamperings 10000] [--sizes 10000 1000000]

`--folder` is on the disk that is measured. Three parts, each of which can be run alone and takes its place
among the figures of the others:

- `speed` (4 minutes): durable entries, and requests of a whole installation, beside what the same disk does
  with 4 KB and fdatasync. It wants the machine to itself.
- `tampering` (5 minutes on two cores): 10,000 changes behind the ledger's back, and Go's packages beside us.
  Nothing of it is timed.
- `size` (2 minutes): what the next entries and a look at all of them cost at each size. With
  `--sizes 10000 1000000 10000000` it takes a quarter of an hour and 16 GB.

Figures, with when and how busy the machine was, go to benchmarks/results/ after each part.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import ledger_callers as callers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from disk_limit import limit, per_second
from machine import described
from plot import Bar, bars

from freehold.demo.house import clean
from freehold.demo.stage import Stage
from freehold.demo.tell import Teller
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.verify import Verdict, verify
from freehold.spec.notes import VerifierKey
from freehold.spec.principal import SYSTEM
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.rows import Database
from tests.ledger.tampering import FILES, KINDS, ORIGIN, Bench, built

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BATCHES = (1, 16, 256, 2048)
CALLERS = (1, 16, 64, 256)
GO_PATH = Path("/usr/share/gocode")
LAST = 5120
GO_TRIES = 1_000
GO_MOST = 100_000
"""Entries up to which Go reads a grown log, too: it proves each of them by itself, from the files."""


def main() -> int:
    asked = _asked()
    machine = described()
    machine.pop("load while measured")
    result = {"what": "the ledger", "machine": machine} | _others(asked.results, machine)
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=asked.folder) as scratch:
        for part in asked.parts:
            busy = round(os.getloadavg()[0], 1)
            result[part] = PARTS[part](Path(scratch), asked)
            result[part] |= {"at": time.strftime("%Y-%m-%d"), "load at the beginning": busy}
            write(result, asked.results)
    print(json.dumps(result, indent=2))
    return int(_missed(result.get("tampering", {})))


def _missed(told: dict[str, Any]) -> bool:
    return bool(told) and (told["found"] < told["tried"] or told["go"].get("missed", 0) > 0)


def _others(folder: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """Parts that were measured on this machine before."""
    path = folder / "ledger.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    return {part: kept[part] for part in PARTS if part in kept and kept["machine"] == machine}


def _asked() -> argparse.Namespace:
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    reader.add_argument("--folder", type=Path, default=None)
    reader.add_argument("--results", type=Path, default=RESULTS)
    reader.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    reader.add_argument("--seconds", type=float, default=20)
    reader.add_argument("--tamperings", type=int, default=10_000)
    reader.add_argument("--sizes", nargs="+", type=int, default=[10_000, 1_000_000])
    return reader.parse_args()


# -- speed -------------------------------------------------------------------------------------------


def speed(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Entries and requests, beside the limit of the disk."""
    return {
        "disk, 4 KB and fdatasync": limit(folder, min(10, asked.seconds)),
        "durable entries": [durable(folder, batch, asked.seconds / 2) for batch in BATCHES],
        "fail-closed requests": requests(folder, asked.seconds),
    }


class Ledger:
    """A ledger of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.create()
        self.database: Database = open_database(self.home)
        self.size = 0
        self.sequencer = Sequencer(self.database, self.home.ledger, Ed25519PrivateKey.generate(), ORIGIN)

    def add(self, count: int) -> None:
        """One transaction of that many entries, of a kind of which there are many."""
        with self.database.write() as tx:
            for number in range(self.size, self.size + count):
                answer = f"ans_{number:026}"
                record(
                    tx, "answer.read", by=SYSTEM, project="claims", object=answer, detail={"answer": answer}
                )
        self.size += count

    def grow(self, size: int, at_once: int = 2048) -> None:
        """Until it has that many entries, in their places and signed."""
        while self.size < size:
            self.add(min(at_once, size - self.size))
            self.sequencer.run_once()

    def close(self) -> None:
        self.database.close()
        shutil.rmtree(self.home.root)


def durable(folder: Path, batch: int, seconds: float) -> dict[str, Any]:
    """Entries that are committed, placed, in tiles and under a signed checkpoint."""
    one, count, placed = Ledger(folder / "entries"), 0, 0.0
    began, busy = time.perf_counter(), time.process_time()
    while time.perf_counter() < began + seconds:
        one.add(batch)
        count += batch
        if time.perf_counter() > placed + 0.2:  # as often as the sequencer looks by itself
            one.sequencer.run_once()
            placed = time.perf_counter()
    one.sequencer.run_once()
    took, spent = time.perf_counter() - began, time.process_time() - busy
    one.close()
    return {
        "entries a transaction": batch,
        "per second": round(count / took, 1),
        "per second of a core": round(count / spent, 1),
    }


# -- requests ----------------------------------------------------------------------------------------


def requests(folder: Path, seconds: float) -> dict[str, Any]:
    """A whole installation: callers, gateway, provider, control taking in, all on this machine."""
    stage = Stage(folder / "house", Teller(sys.stderr))
    stage.build()
    provider = subprocess.Popen(
        [sys.executable, HERE / "ledger_callers.py", "serve"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert provider.stdout
        port = int(provider.stdout.readline())
        stage.begin()
        stage.freehold("admin", "project", "add", "claims")
        stage.freehold(
            *("admin", "attach", f"http://127.0.0.1:{port}", "--as", callers.SERVICE, "--project", "claims"),
            *("--purpose", callers.PURPOSE, "--region", "eu", "--model", "fake-1"),
        )
        made = stage.freehold("admin", "keys", "create", "--project", "claims", "--json", quiet=True).json
        first, *rounds = (
            _round(stage, made["key_text"], number, seconds if warm else min(2, seconds))
            for warm, number in enumerate((1, *CALLERS))  # the first one warms it up
        )
        return {"rounds": rounds, "recorded": _recorded(stage, [first, *rounds])}
    finally:
        provider.kill()
        provider.wait()
        clean(stage.folder)


def _round(stage: Stage, key: str, number: int, seconds: float) -> dict[str, Any]:
    gateway = stage.env["FREEHOLD_GATEWAY"]
    command = [sys.executable, str(HERE / "ledger_callers.py"), "ask", gateway, str(number)]
    before = _syncs(stage)
    done = subprocess.run(
        [*command, str(seconds)],
        env={**os.environ, "FREEHOLD_SERVING_KEY": key},
        check=True,
        capture_output=True,
        text=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    synced = _syncs(stage) - before
    told["syncs a request"] = round(synced / max(1, told["answered"]), 3)
    return told


def _syncs(stage: Stage) -> int:
    """How often the gateway's spool was synced, by its own count."""
    import httpx

    said = httpx.get(f"{stage.env['FREEHOLD_GATEWAY']}/metrics", trust_env=False).text
    found = re.search(r"^freehold_gateway_spool_syncs\{.*\} (\d+)", said, re.MULTILINE)
    return int(found[1]) if found else 0


def _recorded(stage: Stage, rounds: list[dict[str, Any]]) -> dict[str, int]:
    """Answers that were given, and rows of them in control once it has caught up."""
    given = sum(one["answered"] for one in rounds)
    over = time.monotonic() + 300
    while time.monotonic() < over:
        database = Database.at(Home(stage.folder / "freehold.d").database, read_only=True)
        with database.read() as conn:
            query = "SELECT count(*) FROM answers WHERE ending = 'answered'"
            rows = int(conn.exec_driver_sql(query).scalar_one())
        database.close()
        if rows >= given:
            break
        time.sleep(1)
    return {"given": given, "recorded": rows}


# -- tampering ---------------------------------------------------------------------------------------


def tampering(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Random changes of every kind, each looked for in the whole log; and what Go's packages say."""
    shards, tried, missed = os.cpu_count() or 1, Counter[str](), list[str]()
    shares = [asked.tamperings * (n + 1) // shards - asked.tamperings * n // shards for n in range(shards)]
    folders = [folder / f"tampered-{n}" for n in range(shards)]
    with ProcessPoolExecutor(shards) as pool:
        for some, unseen in pool.map(_tampered, folders, range(shards), shares):
            tried.update(some)
            missed += unseen
    return {
        "tried": tried.total(),
        "found": tried.total() - len(missed),
        "by kind": dict(tried),
        "missed": missed[:20],
        "go": _go(folder, min(asked.tamperings, GO_TRIES)),
    }


def _tampered(folder: Path, seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """So many changes to a log of its own: how many of each kind, and what was not found."""
    bench, tried, missed = _untouched(folder, seed), Counter[str](), list[str]()
    kinds = list(KINDS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        did = bench.tamper(kind)
        tried[kind] += 1
        if not bench.is_found():
            missed.append(did)
        bench.mend()
    return tried, missed


def _untouched(folder: Path, seed: int) -> Bench:
    bench = Bench(built(folder / "log"), folder / "bench", seed)
    if bench.is_found():
        raise SystemExit("an untouched log does not verify: nothing can be said")
    return bench


def _go(folder: Path, count: int) -> dict[str, Any]:
    """A log read by Go's sumdb packages, untouched and with its files tampered with."""
    program = _verifier(folder)
    if program is None:
        return {"read by": NOBODY}
    bench = _untouched(folder / "go", seed=len(KINDS))
    if not _agrees(program, bench.home, bench.log.key):
        raise SystemExit("Go's packages do not agree with an untouched log")
    missed = []
    for _ in range(count):
        did = bench.chance.choice(FILES)(bench)
        if _agrees(program, bench.home, bench.log.key):
            missed.append(did)
        bench.mend()
    return {"read by": "golang.org/x/mod/sumdb", "tried": count, "missed": len(missed), "which": missed[:20]}


NOBODY = "nobody: this machine has no go with golang-golang-x-mod-dev"


def _verifier(folder: Path) -> Path | None:
    """The foreign verifier, built; none where Go is not there."""
    if shutil.which("go") is None or not (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        return None
    program = folder / "verifier"
    source = HERE.parent / "tests" / "ledger" / "foreign" / "main.go"
    surroundings = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "cache")}
    build = ["go", "build", "-o", str(program), str(source)]
    subprocess.run(build, check=True, env={**os.environ, **surroundings})
    return program


def _agrees(program: Path, home: Home, key: VerifierKey) -> bool:
    command = [str(program), str(home.ledger), str(key)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


# -- size --------------------------------------------------------------------------------------------


def size(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """One ledger that grows: what the next entries and a look at everything cost at each size."""
    program, one, told = _verifier(folder), Ledger(folder / "grown"), list[dict[str, Any]]()
    for least in sorted(asked.sizes):
        told.append(_at(one, least, program if least <= GO_MOST else None))
        print(json.dumps(told[-1]), file=sys.stderr)
    one.close()
    return {"sizes": told}


def _at(one: Ledger, least: int, program: Path | None) -> dict[str, Any]:
    one.grow(least - LAST)
    one.database.settle()
    before, began = one.size, time.perf_counter()
    one.grow(least, at_once=256)
    more = (one.size - before) / (time.perf_counter() - began)
    one.sequencer = Sequencer(one.database, one.home.ledger, one.sequencer.key, ORIGIN)
    began = time.perf_counter()
    one.sequencer.run_once()
    opened = time.perf_counter() - began
    verdict, looked = _looked(one)
    if program and not _agrees(program, one.home, one.sequencer.public):
        raise SystemExit("Go's packages do not agree with the grown log")
    return {
        "entries": verdict.entries,
        f"last {LAST:,}, per second": round(more, 1),
        "opened in s": round(opened, 3),
        "leaves hashed a second": round(verdict.entries / verdict.seconds, 1),
        "all of it verified in s": round(looked, 2),
        "bytes an entry, rows": round(one.home.database.stat().st_size / verdict.entries, 1),
        "bytes an entry, tiles": round(_bytes(one.home.ledger) / verdict.entries, 1),
        "Go agrees": bool(program) or "not asked",
    }


def _looked(one: Ledger) -> tuple[Verdict, float]:
    began = time.perf_counter()
    verdict = verify(one.home, key=one.sequencer.public)
    if verdict.broken:
        raise SystemExit(f"the grown log does not verify: {verdict.broken[0]}")
    return verdict, time.perf_counter() - began


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


PARTS = {"speed": speed, "tampering": tampering, "size": size}


# -- figures and pictures ----------------------------------------------------------------------------


def write(result: dict[str, Any], folder: Path) -> None:
    """The figures and their pictures, of as many parts as there are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ledger.json").write_text(json.dumps(result, indent=2) + "\n")
    if "speed" in result:
        told = result.get("tampering")
        found = f"{told['found']:,} of {told['tried']:,} tamperings found" if told else "one machine"
        bars(folder / "ledger.svg", "Nothing unrecorded", found, list(_speeds(result["speed"])))
    if "size" in result:
        title, under = "A ledger that grows", "more entries, and all of them hashed again, at each size"
        bars(folder / "ledger_size.svg", title, under, list(_sizes(result["size"]["sizes"])))


def _speeds(told: dict[str, Any]) -> Iterator[Bar]:
    disk = per_second(told["disk, 4 KB and fdatasync"])
    yield Bar(name="the disk: 4 KB and fdatasync", value=disk, said=f"{disk:,.0f} syncs/s", peer=True)
    for one in told["fail-closed requests"]["rounds"]:
        said = f"{one['per second']:,.0f}/s · p99 {one['p99 ms']:.0f} ms"
        yield Bar(name=f"requests, {one['callers']} callers", value=one["per second"], said=said)
    for one in told["durable entries"]:
        name = f"entries, {one['entries a transaction']} a transaction"
        yield Bar(name=name, value=one["per second"], said=f"{one['per second']:,.0f}/s")


def _sizes(told: list[dict[str, Any]]) -> Iterator[Bar]:
    for verb, figure in (("added to", f"last {LAST:,}, per second"), ("hashed of", "leaves hashed a second")):
        for one in told:
            name = f"{verb} {one['entries']:,} entries"
            yield Bar(name=name, value=one[figure], said=f"{one[figure]:,.0f}/s")


if __name__ == "__main__":
    sys.exit(main())
