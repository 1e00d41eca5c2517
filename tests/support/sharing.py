"""How several processes share the suite: how many there are, and which files are begun first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LONGEST = (
    "demo/test_demo.py",
    "docs/test_manual.py",
    "journeys/test_killed.py",
    "journeys/test_killed_training.py",
    "supervise/test_soak.py",
    "journeys/test_generated.py",
    "supervise/test_elsewhere.py",
    "supervise/test_small_disk.py",
    "control/test_described.py",
    "supervise/test_several_controls.py",
    "conformance/test_generators.py",
    "fuzz/test_fuzz.py",
    "train/test_tune_classify.py",
    "journeys/test_forget.py",
    "journeys/test_retrain.py",
    "journeys/test_tuned.py",
    "doctor/test_proofs.py",
    "supervise/test_many_gateways.py",
    "supervise/test_promoted.py",
    "gateway/test_described.py",
)
"""Files that take longest, longest first: one that is begun last is waited for by everybody."""


def processes(cores: int) -> int:
    """Half as many again: real processes that start, die and answer leave a third of the time idle."""
    return max(1, cores * 3 // 2)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """The longest files, then those with most tests; what stands in one file stays together, in its order."""
    longest = {TESTS / name: at for at, name in enumerate(LONGEST)}
    tests = Counter(item.path for item in items)
    return sorted(
        items, key=lambda item: (longest.get(item.path, len(LONGEST)), -tests[item.path], item.path)
    )
