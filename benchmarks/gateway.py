"""What a request through the gateway costs: processor time of our processes, beside the bare upstream.

An installation is started as a user starts it; `echo.py` is attached; `callers.py` asks. Rounds of the
upstream alone, of nginx in front of it (where it is installed) and of the gateway take turns in one run,
and processor time is what the kernel counted for the processes concerned:

    python benchmarks/gateway.py [--seconds 6] [--rounds 3] [--profile FILE]

Every answer is recorded durably before its last byte leaves. Results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))
from plot import Bar, bars

HERE = Path(__file__).parent

RESULTS = HERE / "results"
TICK = os.sysconf("SC_CLK_TCK")
CLIENTS = (1, 8, 64, 256)
SIZES = (1_000, 10_000, 100_000)
NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream echo {{ server {echo}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port}; keepalive_requests 100000000;
    location / {{ proxy_pass http://echo; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to the upstream: where it is asked, and whose processor time counts."""

    name: str
    url: str
    key: str
    pids: dict[str, int]


def cpu(pid: int) -> float:
    """Seconds of processor time of a process, all its threads."""
    said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / TICK


def measure(way: Way, clients: int, seconds: float, size: int, *, stream: bool = False) -> dict[str, Any]:
    """One round. Processor time is in microseconds an answer."""
    before = {name: cpu(pid) for name, pid in way.pids.items()}
    command = [sys.executable, str(HERE / "callers.py"), way.url, way.key, str(clients), str(seconds)]
    said = subprocess.run(
        [*command, str(size), *(["stream"] if stream else [])], capture_output=True, text=True, check=True
    )
    figures: dict[str, Any] = json.loads(said.stdout)
    settle(way)
    used = {name: (cpu(pid) - before[name]) * 1e6 for name, pid in way.pids.items()}
    answers = max(1, figures["answers"])
    figures["cpu_us"] = {name: round(spent / answers, 1) for name, spent in used.items()}
    figures["per_second"] = round(figures["answers"] / figures["seconds"])
    return figures


def settle(way: Way) -> None:
    """Until nobody of ours works any more: what is left over from a round belongs to it."""
    last, still = {name: cpu(pid) for name, pid in way.pids.items()}, 0
    while still < 3:
        time.sleep(0.2)
        now = {name: cpu(pid) for name, pid in way.pids.items()}
        still = still + 1 if sum(now.values()) - sum(last.values()) < 0.03 else 0
        last = now


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """The upstream: its URL and process."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "echo.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.terminate()


@contextmanager
def nginx(upstream: str) -> Iterator[Way | None]:
    """nginx as a proxy in front of the upstream, where it is installed."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        port = 20_000 + os.getpid() % 20_000
        config = Path(folder, "nginx.conf")
        config.write_text(NGINX.format(folder=folder, port=port, echo=upstream.removeprefix("http://")))
        with subprocess.Popen([program, "-c", str(config), "-p", folder]) as process:
            time.sleep(1)
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            pids = {f"nginx {n}": int(pid) for n, pid in enumerate(workers)}
            yield Way(name="nginx", url=f"http://127.0.0.1:{port}/v1/chat/completions", key="x", pids=pids)
            process.terminate()


class House:
    """An installation in a folder of its own, started by the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "fh"
        self.environment = {**os.environ, "FREEHOLD_HOME": str(self.home), "XDG_STATE_HOME": str(folder)}
        self.said = (folder / "said.txt").open("w")
        up = [sys.executable, "-m", "freehold", "up", "--port", "0", "--gateway-port", "0"]
        self.process = subprocess.Popen(
            [*up, "--write-key", str(folder / "administrator.key")],
            cwd=folder,
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
        command = [sys.executable, "-m", "freehold", *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def pids(self) -> dict[str, int]:
        """Every process of ours but the supervisor, by name."""
        said = json.loads((self.home / "control" / "processes.json").read_text())
        return {one["name"]: one["pid"] for one in said}

    def attach(self, upstream: str) -> Way:
        """The upstream as the service `echo`, and a key for it."""
        self.run("project", "add", "bench")
        self.run(
            "attach", upstream, "--as", "echo", "--project", "bench", "--purpose", "measuring", "--model", "m"
        )
        self.run(
            *("keys", "create", "--project", "bench", "--purpose", "measuring"),
            *("--write-key", str(self.folder / "desk.key")),
        )
        key = (self.folder / "desk.key").read_text().strip()
        return Way(
            name="freehold",
            url=self.addresses["gateway"] + "/v1/chat/completions",
            key=key,
            pids={name: pid for name, pid in self.pids().items() if name in ("control", "gateway")},
        )

    def stop(self) -> None:
        """Down, in good order."""
        self.process.terminate()
        self.process.wait(40)
        self.said.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="what a request through the gateway costs")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="64 clients and 1 kB only; nothing is written")
    options = parser.parse_args()
    with ExitStack() as held:
        upstream, pid = held.enter_context(echo())
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        house = House(folder)
        held.callback(house.stop)
        ways = [Way(name="direct", url=f"{upstream}/v1/chat/completions", key="x", pids={"echo": pid})]
        ways += filter(None, [held.enter_context(nginx(upstream))])
        ways.append(house.attach(upstream))
        found = rounds(ways, options)
    tell(found)
    if not options.quick:
        write(found, options)
    return 0


def rounds(ways: list[Way], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every case in every way, in turns."""
    cases: list[tuple[int, int, bool]] = [(64, 1_000, False)]
    if not options.quick:
        cases += [(n, 1_000, False) for n in CLIENTS if n != 64]
        cases += [(64, size, False) for size in SIZES if size != 1_000]
        cases.append((64, 1_000, True))
    for way in ways:  # whoever is first would pay for waking up
        measure(way, 8, 1, 1_000)
    found = []
    for clients, size, stream in cases:
        for _ in range(options.rounds):
            for way in ways:
                figures = measure(way, clients, options.seconds, size, stream=stream)
                found.append(
                    {"way": way.name, "clients": clients, "bytes": size, "stream": stream, **figures}
                )
    return found


def tell(found: list[dict[str, Any]]) -> None:
    """One line per case and way, medians over the rounds."""
    for case, group in grouped(found).items():
        way, clients, size, stream = case
        total = statistics.median(sum(f["cpu_us"].values()) for f in group)
        parts = {n: statistics.median(f["cpu_us"][n] for f in group) for n in group[0]["cpu_us"]}
        each = ", ".join(f"{name} {us:.0f}" for name, us in parts.items())
        rate = statistics.median(f["per_second"] for f in group)
        failed = sum(f["failed"] for f in group)
        print(
            f"{way:9} {clients:4} clients {size:6} B{' stream' if stream else '':7} "
            f"{total:7.0f} µs ({each})  {rate:6.0f}/s  p50 {group[0]['p50_ms']} ms  failed {failed}"
        )


def grouped(found: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The rounds of each case."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for figures in found:
        case = (figures["way"], figures["clients"], figures["bytes"], figures["stream"])
        groups.setdefault(case, []).append(figures)
    return groups


def write(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Figures and picture, with the machine they are from."""
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    said = {"at": time.strftime("%Y-%m-%d"), **machine, "seconds": options.seconds, "rounds": found}
    (RESULTS / "gateway.json").write_text(json.dumps(said, indent=1) + "\n")
    rows = []
    for (way, clients, size, stream), group in grouped(found).items():
        if (clients, size, stream) != (64, 1_000, False):
            continue
        for name in group[0]["cpu_us"]:
            us = statistics.median(f["cpu_us"][name] for f in group)
            rows.append(Bar(name=f"{way}: {name}", value=us, said=f"{us:.0f} µs", peer=way != "freehold"))
    bars(
        RESULTS / "gateway.svg",
        "Processor time of a request",
        "64 clients, 1 kB, every answer recorded",
        rows,
    )


if __name__ == "__main__":
    sys.exit(main())
