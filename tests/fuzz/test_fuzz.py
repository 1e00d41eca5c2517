"""Readers of bytes from outside refuse what they cannot read in their own words, whatever the bytes.

Every run takes the seeds, all that was ever found, and some thousand changes of them that are the same
each time; and lets atheris look at all targets together for some seconds, guided by coverage, from a
draw that is the same each time too: what is found depends on the change, not on the day.
`make test-long` gives it minutes for each, drawn anew.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CHANGED = {"keyring": 60, "spool": 400, "tiles": 400, "bundle": 400, "yaml": 400}
"""How many changes a target is tried with, where the usual number would take too long."""
USUAL = 2_500
SECONDS = int(os.environ.get("FREEHOLD_FUZZ_SECONDS", "60"))
"""For each target of the long run."""
WORDS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-1", b"1e999", b"\\u0000", b"\\ud800"),
    *(b"9" * 30, b"\r\n", b"\n\n", b"\0", b"\xff", b"\xe2\x80\xae", b"data: ", b"[DONE]", b"@", b"[" * 60),
)


@pytest.mark.parametrize("name", list(TARGETS))
def test_every_seed_is_read_or_refused(name: str) -> None:
    for seed in seeds()[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", list(TARGETS))
def test_changed_seeds_are_read_or_refused(name: str) -> None:
    draw = random.Random(name)
    given = seeds()[name]
    for _ in range(CHANGED.get(name, USUAL)):
        data = _changed(draw, draw.choice(given), given)
        try:
            TARGETS[name](data)
        except BaseException as error:
            error.add_note(f"{name} was given {data!r}")
            raise


def _changed(draw: random.Random, seed: bytes, others: list[bytes]) -> bytes:
    data = bytearray(seed)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 1, 2, 4, 16)))
        match draw.randrange(6):
            case 0:
                data[at:end] = draw.randbytes(end - at)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = draw.choice(WORDS)
            case 3:
                data[at:end] = draw.choice(WORDS)
            case 4:
                other = draw.choice(others)
                cut = draw.randrange(len(other) + 1)
                data[at:] = other[cut:]
            case 5:
                data[at:at] = data[at:end] * draw.choice((2, 100))
    return bytes(data)


NEEDS = pytest.mark.skipif(
    find_spec("atheris") is None,
    reason="this machine has no atheris: there is a wheel for Linux on x86_64, up to Python 3.13",
)


@NEEDS
def test_atheris_finds_nothing_in_a_few_seconds(tmp_path: Path) -> None:
    """All targets in one process; guided by coverage, which is why some inputs are kept as new."""
    done = _fuzzed("all", tmp_path, "-seed=1", "-runs=6000", "-max_total_time=20")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found = re.search(r"stat::new_units_added: +(\d+)", done.stderr)
    assert found is not None
    assert int(found[1]) > 0, "nothing was seen of what a target does with an input"


@pytest.mark.long
@NEEDS
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", list(TARGETS))
def test_atheris_finds_nothing(name: str, tmp_path: Path) -> None:
    done = _fuzzed(name, tmp_path, f"-max_total_time={SECONDS}")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


def _fuzzed(name: str, folder: Path, *how: str) -> subprocess.CompletedProcess[str]:
    options = [*how, "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"]
    command = [sys.executable, "-m", "tests.fuzz.run", name, *options, f"-artifact_prefix={folder}/"]
    given = os.environ | {"PYTHONHASHSEED": "0"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", env=given)
