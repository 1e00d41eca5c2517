"""How several processes share the suite: how many there are, and which files are begun first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LONGEST = (
    "docs/test_manual.py",
    "demo/test_demo.py",
    "journeys/test_killed_training.py",
    "journeys/test_killed.py",
    "supervise/test_soak.py",
    "supervise/test_elsewhere.py",
    "journeys/test_generated.py",
    "supervise/test_small_disk.py",
    "supervise/test_several_controls.py",
    "control/test_described.py",
    "train/test_tune_generate.py",
    "supervise/test_running.py",
    "conformance/test_generators.py",
    "fuzz/test_fuzz.py",
    "train/test_tune_classify.py",
    "journeys/test_retrain.py",
    "supervise/test_promoted.py",
    "supervise/test_parts_alone.py",
    "sizing/test_memory.py",
    "engines/test_torch_host.py",
    "journeys/test_forget.py",
    "journeys/test_tuned.py",
    "doctor/test_proofs.py",
    "supervise/test_many_gateways.py",
    "cli/test_text_line.py",
    "packaging/test_imports.py",
    "durability/test_write_points.py",
    "evaluate/test_writing.py",
    "cli/test_bench.py",
    "control/test_database_away.py",
    "train/test_banking77.py",
    "train/test_without_somebody.py",
    "control/test_gateway_process.py",
    "durability/test_power_cut.py",
    "sizing/bench/test_bucket.py",
    "journeys/test_deliver.py",
    "control/test_mlflow_client.py",
    "gateway/test_described.py",
)
"""Files that take longest, longest first: one that is begun last is waited for by everybody.

`make test` prints what took long."""


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
