"""Every console block of the manual and the README is typed, page by page, into a real installation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import Shell, play, steps
from started import FREEHOLD

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs" / "manual").glob("*.md"))]
    if any(steps(page.read_text(encoding="utf-8")))
]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A fresh `freehold up` on free ports, and what a page's shell knows of it."""
    home, key = tmp_path / "freehold.d", tmp_path / "admin.key"
    env = _environment(tmp_path)
    command = [*FREEHOLD, "up", "--home", str(home), "--port", "0"]
    command += ["--gateway-port", "0", "--write-key", str(key)]
    log = (tmp_path / "up.log").open("wb")
    process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        addresses = _addresses(home, process)
        yield {
            **env,
            "FREEHOLD_HOME": str(home),
            "FREEHOLD_URL": addresses["control"],
            "FREEHOLD_GATEWAY": addresses["gateway"],
            "FREEHOLD_KEY": key.read_text().strip(),
        }
    finally:
        log.close()
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def _environment(folder: Path) -> dict[str, str]:
    """Ours without an installation in it, and with a state folder and a home of the page's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "COLUMNS": "100",
        "TERM": "dumb",
    }


def _addresses(home: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Where it answers, once it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            told: dict[str, str] = json.loads((home / "control" / "addresses.json").read_text())
            _knock(told["control"], "/ledger/key")
            _knock(told["gateway"], "/v2/health/live")
            return told
        except (OSError, ValueError):
            time.sleep(0.05)
    raise AssertionError("freehold up did not come up")


def _knock(url: str, path: str) -> None:
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(url + path, timeout=2).close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, house: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    shell = Shell(folder, house)
    try:
        play(page, shell)
    finally:
        shell.close()
