"""Fill `.venv` from a lock, with hashes, and say beforehand what will be downloaded.

Runs on the user's Python before anything is installed, so it uses nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
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
    status = next((status for lock in wanted if (status := fill(lock))), 0)
    if not status and "test" in wanted:
        fetch_suites()
    if not status:
        compile_ours()
    return status


def compile_ours() -> None:
    """Freehold's bytecode, a second the first time: parts that run may write to no folder of ours.

    Without it control, gateway, worker and every engine compile what they need at each start.
    """
    subprocess.run([str(PYTHON), "-m", "compileall", "-q", "freehold"], cwd=ROOT)


def fetch_suites() -> None:
    """Other projects' own tests, which the tests run against us: source distributions, checked by hash.

    They are not needed to install or to run; without them those tests are skipped, and say so.
    """
    folder, text = VENV / "suites", lock_of("suites")
    stamp = folder / ".freehold"
    if stamp.exists() and stamp.read_text() == text:
        return
    print("fetching the test suites of other projects (3 MB, and what builds them)", flush=True)
    status = pip(
        [
            *("download", "--quiet", "--no-deps", "--no-binary=:all:", "--require-hashes"),
            *("--dest", str(folder), "--requirement", "locks/suites.txt"),
        ]
    ).returncode
    if status:
        print("they could not be fetched; the tests that run them are skipped", file=sys.stderr)
        return
    stamp.write_text(text)


def tuning() -> tuple[str, ...]:
    """The locks of fine-tuning where torch's build without CUDA can be had; else none, and a word on it.

    That is where it is the default, and where a folder that pip looks into holds one that the lock lists.
    """
    if (sys.platform, platform.machine()) == ("darwin", "arm64"):
        return TUNING
    builds = cpu_builds()
    if any(hash_of(build) in lock_of("train-cpu") for build in builds):
        return TUNING
    there = (
        f"{builds[0].name} is not the build that the lock lists" if builds else "no CPU build of torch here"
    )
    size = f"{gigabytes('train', 'minilm', beside='demo'):.1f} GB with CUDA"
    print(f"without fine-tuning: {there}; `make demo WITH=train` adds it ({size})")
    return ()


def cpu_builds() -> list[Path]:
    """Wheels of torch without CUDA for this Python and machine, where pip is told to look for files."""
    folders = [Path(each.removeprefix("file://")) for each in os.environ.get("PIP_FIND_LINKS", "").split()]
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    ours = f"torch-*+cpu-{python}-{python}-*{platform.machine()}.whl"
    return sorted(build for folder in folders for build in folder.glob(ours))


def hash_of(file: Path) -> str:
    """As a lock writes it."""
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"


def fill(lock: str) -> int:
    """Install; return pip's exit status. Doing it twice costs nothing the second time."""
    text = lock_of(lock)
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


def lock_of(name: str) -> str:
    """What is written in a lock."""
    return (ROOT / "locks" / f"{name}.txt").read_text()


def announce(text: str) -> None:
    """Say how much is missing here, from the sizes that were noted when the lock was made."""
    missing = wanted_of(text) - installed()
    sizes = sizes_for(text)
    megabytes = sum(sizes.get(name, 0) for name in missing) / 1e6
    unknown = [name for name in missing if name not in sizes]
    more = f", and {len(unknown)} of unknown size" if unknown else ""
    size = f"{megabytes / 1e3:.1f} GB" if megabytes >= 1e3 else f"{megabytes:.0f} MB"
    if missing:
        print(f"to download: about {size} in {len(missing)} package{'s' * (len(missing) != 1)}{more},")
        print("each checked against the hash in the lock (less where your pip has them cached)", flush=True)


def gigabytes(*locks: str, beside: str) -> float:
    """What locks bring that another has not brought already."""
    there, total = wanted_of(lock_of(beside)), 0
    for text in map(lock_of, locks):
        sizes = sizes_for(text)
        total += sum(sizes.get(name, 0) for name in wanted_of(text) - there)
    return total / 1e9


def wanted_of(text: str) -> set[str]:
    """What a lock asks for here: on other systems none of what only Linux needs."""
    lines = re.findall(r"^([a-z0-9][a-z0-9.-]*==[^ \\]+)([^\n]*)", text, re.M)
    return {name for name, rest in lines if sys.platform == "linux" or " == 'linux'" not in rest}


def sizes_for(text: str) -> dict[str, int]:
    """Bytes by name and version. torch is noted twice: with CUDA, and `+cpu` for the lock that takes that."""
    sizes: dict[str, int] = json.loads((ROOT / "locks" / "sizes.json").read_text())
    light = {name.removesuffix("+cpu"): size for name, size in sizes.items() if name.endswith("+cpu")}
    return sizes | light if text.startswith("# train-cpu:") or sys.platform != "linux" else sizes


def installed() -> set[str]:
    """What `.venv` holds, as `name==version` with normalised names and without the word for a build."""
    found = pip(["list", "--format=json"], capture=True)
    packages: list[dict[str, str]] = json.loads(found.stdout or "[]")
    return {
        f"{re.sub(r'[-_.]+', '-', p['name']).lower()}=={p['version'].partition('+')[0]}" for p in packages
    }


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
