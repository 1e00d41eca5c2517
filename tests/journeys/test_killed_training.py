"""A LoRA training that somebody kills in the middle: it goes on from its checkpoint, to the same bytes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bases
import httpx
import pytest
import tuned
from looking import rows_in

from freehold.sizing import facts as figures
from freehold.sizing.bench.room import amount
from tests.installation import ALL_WORDS, Installation, wait_for

pytest.importorskip("torch", reason=tuned.NEEDS)
pytestmark = pytest.mark.timeout(300)

CHECKPOINT = "checkpoint/state.safetensors"
SERVICE = """\
service: {name}
project: claims
owner: claims-team@example.org
purpose: claims-handling
sensitivity: Confidential
tier: sandbox
model:
  data: claims@1
  base: tiny@1
  task: classify
  tune: lora
  train: {{epochs: 8, batch_size: 4, learning_rate: 0.003, max_length: 32}}
gates:
  quality: {{metric: accuracy, value: 0.40}}
"""


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    installation.add_claims()
    folder = bases.encoder(installation.folder / "tiny", [" ".join(ALL_WORDS)] * 3)
    installation.freehold("trainer", "base", "add", str(folder), "--project", "claims")
    return installation


def test_a_training_killed_in_the_middle_resumes_to_the_same_bytes(claims: Installation) -> None:
    begin(claims, "killed")
    kill_the_training(claims)
    wait_until_trained(claims, "killed")
    assert CHECKPOINT in inputs_of(claims, "killed"), "it began anew"
    begin(claims, "undisturbed")
    wait_until_trained(claims, "undisturbed")
    assert CHECKPOINT not in inputs_of(claims, "undisturbed")
    curves = [training(claims, service)["metrics"]["curve"] for service in ("killed", "undisturbed")]
    assert curves[0] == curves[1]
    for service in ("killed", "undisturbed"):
        claims.freehold("trainer", "apply", f"{service}.yaml")  # until it answers
    assert model_files(claims, "killed") == model_files(claims, "undisturbed")
    assert "ledger verified" in claims.freehold("auditor", "verify")


def test_a_run_of_your_own_is_emulated_with_the_step_and_the_rows_it_measured(claims: Installation) -> None:
    begin(claims, "mine")
    wait_until_trained(claims, "mine")
    run = training(claims, "mine")
    told = run["metrics"]
    assert 0 < float(told["step_seconds"]) < float(told["seconds"])
    disk = claims.folder / "disk"
    disk.mkdir()
    words = ("--only", "train", "--runs", "1", "--readers", "1")
    said = claims.freehold("trainer", "bench", "storage", str(disk), "--like", run["run"], *words)
    takes = amount(4 * int(told["row_bytes"]) / float(told["step_seconds"]))
    assert f"{run['run']}, 1 emulated" in said
    claims.freehold("trainer", "bench", "runs", run["run"], "--facts", str(claims.folder / "runs.yaml"))
    facts = figures.load((claims.folder / "runs.yaml").read_text())
    reached = float(told["tokens_per_second"][0]) * float(told["operations_per_token"]) / 1e12
    assert facts("device.this-machine.lora_tflops") == pytest.approx(reached, rel=1e-3)
    assert f"an accelerator takes in {takes}/s" in said
    assert " for reading for training" in said


def begin(claims: Installation, service: str) -> None:
    file = claims.write(f"{service}.yaml", SERVICE.format(name=service))
    claims.freehold("trainer", "apply", file, "--no-wait")


def wait_until_trained(claims: Installation, service: str) -> None:
    wait_for(lambda: training(claims, service)["state"] != "running", 120, claims.tell)
    assert training(claims, service)["state"] == "done", claims.tell()


def kill_the_training(claims: Installation) -> None:
    """SIGKILL to whatever computes, once there is a first checkpoint."""
    scratch = claims.home / "worker"
    wait_for(lambda: list(scratch.glob("*/job_*/checkpoints/state.safetensors")), 60, claims.tell)
    pids = list(processes_in(scratch))
    assert pids, "the training had ended before it could be killed"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def processes_in(scratch: Path) -> Iterator[int]:
    """The children of the worker that work in its scratch folder."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "freehold.jobs.child" in words and any(word.startswith(str(scratch)) for word in words):
            yield int(place.name)


def training(claims: Installation, service: str) -> dict[str, Any]:
    """A service's training, as `freehold runs show` has it."""
    (run,) = [
        one["id"]
        for one in asked(claims, "/api/runs")
        if one["service"] == service and one["kind"] == "train"
    ]
    told: dict[str, Any] = asked(claims, f"/api/runs/{run}")
    return told


def asked(claims: Installation, path: str) -> Any:
    key = {"authorization": f"Bearer {claims.keys['trainer']}"}
    answer = httpx.get(claims.addresses["control"] + path, headers=key, trust_env=False, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def inputs_of(claims: Installation, service: str) -> set[str]:
    """What the attempt that ended had been given. Only control's own records say it."""
    journey = training(claims, service)["journey"]
    query = "SELECT result FROM jobs WHERE journey = ? AND kind = 'train'"
    ((said,),) = rows_in(claims.home, query, journey)
    return set(json.loads(said)["inputs"])


def model_files(claims: Installation, service: str) -> dict[str, bytes]:
    """What answers for a service, file by file."""
    services = claims.json("auditor", "status")["services"]
    digest = next(one["serving_digest"] for one in services if one["name"] == service)
    folder = claims.home / "serving" / "models" / digest.removeprefix("sha256:") / "files"
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    assert {"model.onnx", "adapter/adapter_model.safetensors"} <= found.keys()
    return {name: path.read_bytes() for name, path in found.items()}
