"""Same specification, same machine: same bytes, in the child process that a worker starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from learning import inbox, job, loans, model_files, planned, service

from freehold.jobs import isolated, walls


@pytest.mark.parametrize(
    ("asked", "table"),
    [
        pytest.param(service(), inbox(), id="text"),
        pytest.param(service(task="tabular"), loans(), id="linear"),
        pytest.param(service(task="tabular", trainer="boosting"), loans(), id="boosting"),
    ],
)
def test_two_children_leave_the_same_model_byte_for_byte(asked, table, tmp_path: Path):  # type: ignore[no-untyped-def]
    left = []
    for name in ("one", "two"):
        folder = job(tmp_path / name, planned(asked, table).spec, table)
        ended = isolated.run(
            folder,
            "freehold.train.entry:main",
            walls=walls.offered(),
            limits=walls.JobLimits(memory=4_000_000_000, seconds=100),
        )
        assert ended.failure is None
        left.append(model_files(folder))
    assert left[0] == left[1]
    assert set(left[0]) >= {"model.onnx", "about.json", "probes.json"}
