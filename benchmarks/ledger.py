"""The ledger: how fast it is durable, how fast it is verified, what it finds, what it costs as it grows.

    python benchmarks/ledger.py [--folder F] [--seconds 20] [--tamperings 10000] [--sizes 10000,1000000]

`--folder` is on the disk that is measured. Beside every figure stands what the same disk does with 4 KB and
fdatasync, measured in the same run. Every figure is written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import ledger_callers as callers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from disk_limit import limit, per_second
from plot import Bar, bars

from freehold.demo.house import clean
from freehold.demo.stage import Stage
from freehold.demo.tell import Teller
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.verify import verify
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
GO_TRIES = 300


def main() -> int:
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=asked.folder) as scratch:
        folder = Path(scratch)
        result: dict[str, Any] = {"what": "the ledger", "at": time.strftime("%Y-%m-%d"), "machine": machine()}
        result["disk, 4 KB and fdatasync"] = limit(folder, min(10, asked.seconds))
        result["durable entries"] = [durable(folder, batch, asked.seconds) for batch in BATCHES]
        result["fail-closed requests"] = requests(folder, asked.seconds)
        result["tampering"] = tampering(folder, asked.tamperings)
        result["by size"] = [grown(folder, int(size)) for size in asked.sizes.split(",")]
    write(result)
    print(json.dumps(result, indent=2))
    told = result["tampering"]
    return 0 if told["found"] == told["tried"] and told["go"].get("missed", 0) == 0 else 1


def _asked() -> argparse.Namespace:
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    reader.add_argument("--folder", type=Path, default=None)
    reader.add_argument("--seconds", type=float, default=20)
    reader.add_argument("--tamperings", type=int, default=10_000)
    reader.add_argument("--sizes", default="10000,1000000")
    return reader.parse_args()


def machine() -> dict[str, Any]:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return {
        "processor": found[1] if found else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load at the beginning": round(os.getloadavg()[0], 1),
    }


# -- durable entries ---------------------------------------------------------------------------------


class Ledger:
    """A ledger of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.create()
        self.database: Database = open_database(self.home)
        self.sequencer = Sequencer(self.database, self.home.ledger, Ed25519PrivateKey.generate(), ORIGIN)

    def add(self, count: int) -> None:
        """One transaction of that many entries, as answers write them."""
        with self.database.write() as tx:
            for number in range(count):
                detail = {"name": "tariff", "digest": f"sha256:{number:064x}"}
                record(tx, "setting.changed", by=SYSTEM, object=f"tariff-{number % 97}", detail=detail)

    def close(self) -> None:
        self.database.close()
        shutil.rmtree(self.home.root)


def durable(folder: Path, batch: int, seconds: float) -> dict[str, Any]:
    """Entries that are committed, placed, in tiles and under a signed checkpoint."""
    one, count, placed = Ledger(folder / "entries"), 0, 0.0
    began, busy = time.perf_counter(), time.process_time()
    while time.perf_counter() < began + seconds / 2:
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
        key = stage.freehold("admin", "keys", "create", "--project", "claims", "--json", quiet=True).json
        rounds = [_round(stage, key["key_text"], number, seconds) for number in CALLERS]
        return {"rounds": rounds, "recorded": _recorded(stage, rounds)}
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


def tampering(folder: Path, count: int) -> dict[str, Any]:
    """Random changes of every kind, each looked for in the whole log; and what Go's packages say."""
    log = built(folder / "log")
    bench, tried, missed = Bench(log, folder / "bench", seed=1), Counter[str](), list[str]()
    if bench.is_found():
        raise SystemExit("an untouched log does not verify: nothing can be said")
    kinds = list(KINDS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        did = bench.tamper(kind)
        tried[kind] += 1
        if not bench.is_found():
            missed.append(did)
        bench.mend()
    told = {"tried": count, "found": count - len(missed), "by kind": dict(tried), "missed": missed[:20]}
    return {**told, "go": _go(folder, bench, min(count, GO_TRIES))}


def _go(folder: Path, bench: Bench, count: int) -> dict[str, Any]:
    """The same log read by Go's sumdb packages, untouched and with its files tampered with."""
    if shutil.which("go") is None or not (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        return {"read by": "nobody: this machine has no go with golang-golang-x-mod-dev"}
    program = folder / "verifier"
    source = HERE.parent / "tests" / "ledger" / "foreign" / "main.go"
    surroundings = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "cache")}
    build = ["go", "build", "-o", str(program), str(source)]
    subprocess.run(build, check=True, env={**os.environ, **surroundings})

    def agrees() -> bool:
        command = [str(program), str(bench.home.ledger), str(bench.log.key)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not agrees():
        raise SystemExit("Go's packages do not agree with an untouched log")
    missed = []
    for _ in range(count):
        did = bench.chance.choice(FILES)(bench)
        if agrees():
            missed.append(did)
        bench.mend()
    return {"read by": "golang.org/x/mod/sumdb", "tried": count, "missed": len(missed), "which": missed[:20]}


# -- size --------------------------------------------------------------------------------------------


def grown(folder: Path, size: int) -> dict[str, Any]:
    """A ledger of that size: what the next entries cost, how long a look at everything takes."""
    one = Ledger(folder / "grown")
    began = time.perf_counter()
    for start in range(0, size, 2048):
        one.add(min(2048, size - start))
        one.sequencer.run_once()
    filled = time.perf_counter() - began
    one.database.settle()
    began = time.perf_counter()
    for _ in range(20):
        one.add(256)
        one.sequencer.run_once()
    more = time.perf_counter() - began
    one.sequencer = Sequencer(one.database, one.home.ledger, one.sequencer.key, ORIGIN)
    began = time.perf_counter()
    one.sequencer.run_once()
    opened = time.perf_counter() - began
    began = time.perf_counter()
    verdict = verify(one.home, key=one.sequencer.public)
    looked = time.perf_counter() - began
    if verdict.broken:
        raise SystemExit(f"the grown log does not verify: {verdict.broken[0]}")
    told = {
        "entries": verdict.entries,
        "filled, per second": round(size / filled, 1),
        "next 5,120, per second": round(5120 / more, 1),
        "opened in s": round(opened, 3),
        "verified in s": round(looked, 2),
        "leaves verified a second": round(verdict.entries / looked, 1),
        "bytes an entry, rows": round(one.home.database.stat().st_size / verdict.entries, 1),
        "bytes an entry, tiles": round(_bytes(one.home.ledger) / verdict.entries, 1),
    }
    one.close()
    print(json.dumps(told), file=sys.stderr)
    return told


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write(result: dict[str, Any]) -> None:
    """The figures and their picture."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ledger.json").write_text(json.dumps(result, indent=2) + "\n")
    disk = per_second(result["disk, 4 KB and fdatasync"])
    rows = [Bar(name="the disk: 4 KB and fdatasync", value=disk, said=f"{disk:,.0f} syncs/s", peer=True)]
    rows += [
        Bar(
            name=f"requests, {one['callers']} callers",
            value=one["per second"],
            said=f"{one['per second']:,.0f}/s · p99 {one['p99 ms']:.0f} ms",
        )
        for one in result["fail-closed requests"]["rounds"]
    ]
    rows += [
        Bar(
            name=f"entries, {one['entries a transaction']} a transaction",
            value=one["per second"],
            said=f"{one['per second']:,.0f}/s",
        )
        for one in result["durable entries"]
    ]
    told = result["tampering"]
    last = result["by size"][-1]
    bars(
        RESULTS / "ledger.svg",
        "Nothing unrecorded",
        f"{told['found']:,} of {told['tried']:,} tamperings found · {last['leaves verified a second']:,.0f} "
        f"leaves/s verified",
        rows,
    )


if __name__ == "__main__":
    sys.exit(main())
