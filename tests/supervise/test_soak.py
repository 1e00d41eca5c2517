"""Two minutes of `benchmarks/soak.py`: every fault there is once under load, and then the books are right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"
FAULTS = 10


@pytest.mark.timeout(600)
def test_after_every_fault_under_load_the_books_are_right() -> None:
    command = [sys.executable, str(SOAK), "--quick", "--minutes", "2", "--measured", "3"]
    done = subprocess.run([*command, "--clients", "6", "--share", "0.5"], capture_output=True, text=True)
    assert done.stdout.startswith("{"), done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == [], done.stdout + done.stderr
    assert done.returncode == 0
    assert len(told["faults"]) == FAULTS
    assert told["records"]["cut off"] > 0, "callers hung up, and it is told apart"
    assert told["answers given whole"] > 0
