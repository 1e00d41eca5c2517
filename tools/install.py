"""Fill `.venv` from a lock, with hashes, and say beforehand what will be downloaded.

Runs on the user's Python before anything is installed, so it uses nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
TUNING = ("train-cpu", "minilm")
"""What fine-tuning needs: torch's build without CUDA, and a small model to start from."""


def main(*locks: str) -> int:
    """Install one lock after the other; return the first exit status of pip that is not 0.

    `tuning` stands for what fine-tuning needs, where that is no matter of gigabytes.
    """
    wanted = [name for lock in locks for name in (tuning() if lock == "tuning" else (lock,))]
    return next((status for lock in wanted if (status := fill(lock))), 0)


def tuning() -> tuple[str, ...]:
    """The locks of fine-tuning where torch's build without CUDA can be had; else none, and a word on it.

    That is where it is the default, and where a folder that pip looks into holds one for this Python.
    """
    ours = f"-cp{sys.version_info.major}{sys.version_info.minor}-"
    folders = [Path(each.removeprefix("file://")) for each in os.environ.get("PIP_FIND_LINKS", "").split()]
    builds = [build.name for folder in folders for build in folder.glob("torch-*+cpu-*.whl")]
    if sys.platform == "darwin" or any(ours in name for name in builds):
        return TUNING
    print("without fine-tuning: torch's default build here is gigabytes of CUDA;", end=" ")
    print("a folder with its CPU build in PIP_FIND_LINKS brings it in, or WITH='train minilm' all of it")
    return ()


def fill(lock: str) -> int:
    """Install; return pip's exit status. Doing it twice costs nothing the second time."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    stamp = VENV / f".freehold-{lock}"
    state = hashlib.sha256(text.encode() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return 0
    if not PYTHON.exists():
        print(f"making .venv with Python {sys.version.split()[0]}", flush=True)
        venv.create(VENV, with_pip=True)
    announce(text)
    started = time.monotonic()
    if status := install(lock):
        return status
    stamp.write_text(state)
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def announce(text: str) -> None:
    """Say how much is missing here, from the sizes that were noted when the lock was made."""
    wanted = set(re.findall(r"^([a-z0-9][a-z0-9.-]*==[^ \\]+)", text, re.M))
    missing = wanted - installed()
    sizes: dict[str, int] = json.loads((ROOT / "locks" / "sizes.json").read_text())
    megabytes = sum(sizes.get(name, 0) for name in missing) / 1e6
    unknown = [name for name in missing if name not in sizes]
    more = f", and {len(unknown)} of unknown size" if unknown else ""
    if missing:
        print(f"to download: about {megabytes:.0f} MB in {len(missing)} packages{more},")
        print("each checked against the hash in the lock (less where your pip has them cached)", flush=True)


def installed() -> set[str]:
    """What `.venv` holds, as `name==version` with normalised names."""
    found = pip(["list", "--format=json"], capture=True)
    packages: list[dict[str, str]] = json.loads(found.stdout or "[]")
    return {f"{re.sub(r'[-_.]+', '-', p['name']).lower()}=={p['version']}" for p in packages}


def install(lock: str) -> int:
    """The lock, then Freehold itself, which is built without fetching anything."""
    locked = ["install", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"]
    status = pip([*locked, "--requirement", f"locks/{lock}.txt"]).returncode
    if status:
        print("the packages could not be installed; pip says why above", file=sys.stderr)
        print(
            "hint: behind a mirror set PIP_INDEX_URL; without a network see `make wheelhouse`",
            file=sys.stderr,
        )
        return status
    return pip(["install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]).returncode


def pip(arguments: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the environment's own pip."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    quiet = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    return subprocess.run(
        command, cwd=ROOT, text=True, env=quiet, stdout=subprocess.PIPE if capture else None
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
