"""A whole installation, running: every process there is, on free ports, in a folder of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import postgres_server
import pytest
from started import FREEHOLD

WORDS = {
    "water": ["pipe", "kitchen", "burst", "flooded", "basement", "leak", "ceiling", "wet", "damage"],
    "motor": ["car", "bumper", "parking", "scratched", "collision", "windscreen", "garage", "tyre"],
    "theft": ["stolen", "bicycle", "thief", "burglary", "lock", "laptop", "missing", "police"],
}
ALL_WORDS = [word for words in WORDS.values() for word in words]


class Installation:
    """`freehold up` in a folder, and the command line beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "fh"
        self.keys: dict[str, str] = {}
        self.given: dict[str, str] = {}
        """What is in its environment beside what every installation needs."""
        self._process: subprocess.Popen[str] | None = None
        self.said = folder / "said.txt"

    # -- up and down --------------------------------------------------------------------------------

    def start(self, *more: str) -> Installation:
        self.start_without_waiting(*more)
        wait_for(self._is_up, 60, self.tell)
        self.keys["administrator"] = (self.folder / "administrator.key").read_text().strip()
        return self

    def start_without_waiting(self, *more: str) -> None:
        postgres_server.prepare(self.home)
        key = self.folder / "administrator.key"
        ask_for_key = [] if key.exists() else ["--write-key", str(key)]
        with self.said.open("w") as said:
            self._process = subprocess.Popen(
                [*FREEHOLD, "up", "--port", "0", "--gateway-port", "0", *ask_for_key, *more],
                env=self.environment(),
                cwd=self.folder,
                stdout=said,
                stderr=said,
                text=True,
            )

    def said_lately(self) -> str:
        """What it printed since it was last started."""
        return self.said.read_text()

    def is_reachable(self) -> bool:
        try:
            return httpx.get(self.addresses["control"] + "/api/openapi.json", trust_env=False).is_success
        except (OSError, ValueError, httpx.TransportError):
            return False

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.tell()
        if not self._is_ours():
            return False
        return bool(self.processes()) and all(p["state"] == "running" for p in self.processes().values())

    def _is_ours(self) -> bool:
        """Whether what is written down is of this start, not of one before."""
        try:
            return bool(self.addresses["supervisor"] == self.pid)
        except (OSError, ValueError):
            return False

    def processes(self) -> dict[str, Any]:
        try:
            said = json.loads((self.home / "control" / "processes.json").read_text())
        except (OSError, ValueError):
            return {}
        return {one["name"]: one for one in said}

    def stop(self) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def kill(self) -> None:
        """As if the machine lost power, for the supervisor; the others die with it."""
        assert self._process is not None
        pids = [one["pid"] for one in self.processes().values() if one["pid"]]
        self._process.kill()
        self._process.wait()
        wait_for(lambda: not any(alive(pid) for pid in pids), 60, lambda: "children outlived the supervisor")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def tell(self) -> str:
        logs = "".join(
            f"\n== {path.name}\n{path.read_text()[-2000:]}" for path in sorted(self.home.glob("log/*.log"))
        )
        return f"{self.said.read_text()}{logs}"

    # -- asking -------------------------------------------------------------------------------------

    @property
    def addresses(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads((self.home / "control" / "addresses.json").read_text())
        return said

    def environment(self, who: str = "") -> dict[str, str]:
        kept = {
            name: os.environ[name]
            for name in ("PATH", "PYTHONPATH", "HOME", "LANG", "XDG_STATE_HOME")
            if name in os.environ
        }
        known = {"FREEHOLD_HOME": str(self.home), "XDG_STATE_HOME": str(self.folder / "state")}
        if who:
            addresses = self.addresses
            known |= {
                "FREEHOLD_KEY": self.keys[who],
                "FREEHOLD_URL": addresses["control"],
                "FREEHOLD_GATEWAY": addresses["gateway"],
                "FREEHOLD_SERVING_KEY": self.keys.get("serving", ""),
            }
        return {**kept, **known, **self.given}

    def freehold(self, who: str, *command: str, code: int | None = 0) -> str:
        """Run a command as somebody; its output, when it leaves with `code` (none: with any)."""
        try:
            done = subprocess.run(
                [*FREEHOLD, *command],
                env=self.environment(who),
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=120,
            )
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{command} hangs\n{late.stdout!r}\n{self.tell()}") from late
        assert code in (None, done.returncode), (
            f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.tell()}"
        )
        return done.stdout + done.stderr

    def interrupted(self, who: str, *command: str, after: str) -> str:
        """Run a command, press Ctrl-C once it has said `after`, and return all it said."""
        process = subprocess.Popen(
            [*FREEHOLD, *command],
            env=self.environment(who),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = ""
        while after not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        said += process.stdout.read()
        process.stdout.close()
        assert process.wait(20) == 130
        return said

    def json(self, who: str, *command: str, code: int = 0) -> Any:
        return json.loads(self.freehold(who, *command, "--json", code=code))

    def add_people(self) -> None:
        """A project with everybody it needs, over HTTP: processes take seconds (tests/cli has them)."""
        key = {"authorization": f"Bearer {self.keys['administrator']}"}
        base = self.addresses["control"]
        with httpx.Client(base_url=base, headers=key, trust_env=False, timeout=40) as control:
            control.post("/api/projects", json={"name": "claims"}).raise_for_status()
            for who, role in (
                ("trainer", "trainer"),
                ("risk", "model-risk"),
                ("privacy", "data-protection"),
                ("operator", "operator"),
                ("auditor", "auditor"),
            ):
                body = {"email": f"{who}@example.org", "roles": [role], "projects": ["claims"]}
                said = control.post("/api/people", json=body).raise_for_status()
                self.keys[who] = said.json()["key_text"]

    def add_claims(self, *, rows: int = 240, name: str = "claims", seed: int = 7) -> None:
        """A data set of messages in three classes."""
        (self.folder / f"{name}.csv").write_text(messages(rows, seed))
        self.freehold(
            "trainer", "data", "add", f"{name}.csv", "--project", "claims", "--purpose", "claims-handling",
            "--basis", "contract", "--sensitivity", "Confidential", "--owner", "claims-team@example.org",
            "--keep", "P3Y", "--region", "eu", "--subject", "customer",
            "--target", "class", "--text", "message",
        )  # fmt: skip

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name


def messages(rows: int, seed: int) -> str:
    draw = random.Random(seed)
    lines = ["message,class,customer,age_band"]
    for number in range(rows):
        kind = list(WORDS)[number % 3]
        words = draw.choices(WORDS[kind], k=5) + draw.choices(ALL_WORDS, k=1)
        lines.append(f"{' '.join(words)},{kind},c-{number // 2},{draw.choice(['18-39', '40-69', '70+'])}")
    return "\n".join(lines) + "\n"


def wait_for(true: Callable[[], Any], seconds: float, tell: Callable[[], str]) -> None:
    """Poll until it is true; there is no event to await across processes."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    deep = tmp_path_factory.mktemp("installation") / "in-a-folder-whose-path-is-longer-than-a-socket-may-have"
    deep.mkdir()
    made = Installation(deep).start()
    yield made
    made.stop()
