"""`freehold bench load` and `compute` as somebody types them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_upstream import listening
from started import FREEHOLD

from freehold.cli import bench as typed
from freehold.sizing.bench import decode, layouts, loaders
from freehold.sizing.bench import storage as measuring


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    command = [*FREEHOLD, "bench", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=env | {"FREEHOLD_SERVING_KEY": "sk"}, timeout=100
    )


def test_a_service_that_holds_its_objective_ends_well_and_one_that_misses_it_with_6(tmp_path: Path) -> None:
    with listening() as url:
        common = ("load", "chat", "--gateway", url, "--callers", "2", "--seconds", "0.3")
        held = bench(*common, "--p99", "30000", "--failures", "0", "--html", str(tmp_path / "load.html"))
        missed = bench(*common, "--p99", "0.001", "--json")
    assert held.returncode == 0, held.stderr
    assert "enough: everything asked for was held" in held.stdout
    assert "chat under load" in (tmp_path / "load.html").read_text()
    assert missed.returncode == 6
    assert "misses what it was asked for under load" in missed.stderr
    stages = json.loads(missed.stdout)["measured"]["stages"]
    assert [stage["how"] for stage in stages] == ["closed", "open", "open"]


def test_what_was_measured_under_load_is_planned_with(tmp_path: Path) -> None:
    with listening() as url:
        ran = bench(
            *("load", "chat", "--gateway", url, "--callers", "1", "--seconds", "0.3"),
            *("--text", "word " * 300, "--facts", str(tmp_path / "engine.yaml")),
        )
    assert ran.returncode == 0, ran.stderr
    (tmp_path / "work.yaml").write_text(
        "model: llama-3-8b\ndevice: h100\nserve: {requests_a_day: 9000, tokens_in: 300, tokens_out: 300}\n"
    )
    command = [*FREEHOLD, "size", "work.yaml", "--facts", "engine.yaml", "--json"]
    planned = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert planned.returncode == 0, planned.stderr
    facts = {fact["name"]: fact for fact in json.loads(planned.stdout)["facts"]}
    assert facts["device.h100.decode_efficiency.1"]["label"] == "measured"
    assert "freehold bench load chat" in facts["device.h100.decode_efficiency.1"]["source"]


def test_a_machine_is_measured_without_an_installation(tmp_path: Path) -> None:
    ran = bench(
        *("compute", "--shape", "15m", "--side", "128", "--seconds", "0.05"),
        *("--facts", str(tmp_path / "measured.yaml")),
    )
    assert ran.returncode == 0, ran.stderr
    assert "15m, int8" in ran.stdout
    assert "device.this-machine.tflops" in (tmp_path / "measured.yaml").read_text()


def test_what_can_be_typed_is_what_can_be_measured() -> None:
    assert (typed.CHECKS, typed.LOADERS) == (measuring.CHECKS, loaders.LOADERS)
    assert set(typed.SHAPES) == set(decode.SHAPES)
    assert set(typed.LAYOUTS) == set(layouts.LAYOUTS)


def test_hundreds_of_readers_may_open_as_many_files_as_the_system_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, before = list[tuple[int, int]](), resource.getrlimit(resource.RLIMIT_NOFILE)

    def measure(*_: object) -> None:
        seen.append(resource.getrlimit(resource.RLIMIT_NOFILE))
        sys.exit(0)

    monkeypatch.setattr(measuring, "measure", measure)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] // 2, before[1]))
    try:
        CliRunner().invoke(typed.storage, [str(tmp_path)], catch_exceptions=False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert seen == [(before[1], before[1])]
