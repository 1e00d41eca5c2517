"""Whatever is changed in a ledger is found; `benchmarks/ledger.py` tries ten thousand ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from postgres_server import embedded

from tests.ledger.tampering import KINDS, Bench, Log, built

EACH = 12


pytestmark = embedded  # tampering reaches into its file; what is found is the ledger's, which is the same


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return built(tmp_path_factory.mktemp("log"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_tampering_is_found(log: Log, tmp_path: Path, kind: str) -> None:
    bench = Bench(log, tmp_path, seed=7)
    assert not bench.is_found(), "an untouched log verifies"
    missed = []
    for _ in range(EACH):
        did = bench.tamper(kind)
        if not bench.is_found():
            missed.append(did)
        bench.mend()
    assert not missed
    assert not bench.is_found(), "and does so again"
