"""What is emulated: how training jobs read, and how large checkpoints are.

Batch, record and time of a step are those of the MLPerf Storage benchmark (github.com/mlcommons/storage,
configs/dlio/workload at caa90c9 for A100 and H100; 0d75b41, 11460d0 and 76f4545 for B200 and MI355). What we
measure with them is like MLPerf's figure, and no MLPerf result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from freehold.errors import BadInput

SAYS = "MLPerf-style, not an MLPerf result"
MIN_STEPS = 500
MEMORY_MULTIPLE = 5
"""MLPerf's rule: the data is at least this many times the memory of the machine that reads it."""


class NoSuchProfile(BadInput):
    """there is no profile `{name}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A training job as its storage sees it."""

    name: str
    layout: str
    """How its records lie in files: see `layouts`."""
    per_file: int
    """Records of one file."""
    record: int
    """Bytes, mean."""
    deviation: int = 0
    """Bytes: the records' standard deviation."""
    resized: int = 0
    """Bytes of a record once it is prepared for the accelerator."""
    batch: int
    compute: float
    """Seconds an accelerator computes on a batch."""
    least: float
    """The utilization that MLPerf asks for, as a share."""
    most: int = 0
    """Bytes of data that it is emulated with at most; 0: as many as are asked for."""

    @property
    def rate(self) -> float:
        """Bytes a second that one accelerator takes in when it never waits."""
        return self.batch * self.record / self.compute


def _unet3d(device: str, compute: float) -> Profile:
    return Profile(
        name=f"unet3d-{device}",
        layout="npz",
        per_file=1,
        record=146_600_628,
        deviation=68_341_808,
        resized=2_097_152,
        batch=7,
        compute=compute,
        least=0.90,
    )


def _resnet50(device: str, compute: float) -> Profile:
    return Profile(
        name=f"resnet50-{device}",
        layout="tfrecord",
        per_file=1251,
        record=114_660,
        resized=150_528,
        batch=400,
        compute=compute,
        least=0.90,
    )


def _cosmoflow(device: str, compute: float) -> Profile:
    return Profile(
        name=f"cosmoflow-{device}",
        layout="tfrecord",
        per_file=1,
        record=2_828_486,
        deviation=71_311,
        batch=1,
        compute=compute,
        least=0.70,
    )


def _retinanet(device: str, batch: int, compute: float) -> Profile:
    return Profile(
        name=f"retinanet-{device}",
        layout="raw",
        per_file=1,
        record=322_957,
        batch=batch,
        compute=compute,
        least=0.85,
    )


PROFILES = {
    profile.name: profile
    for profile in (
        _unet3d("a100", 0.636),
        _unet3d("h100", 0.323),
        _unet3d("b200", 0.162),
        _resnet50("a100", 0.435),
        _resnet50("h100", 0.224),
        _cosmoflow("a100", 0.00551),
        _cosmoflow("h100", 0.00350),
        _retinanet("b200", 24, 0.04755),
        _retinanet("mi355", 32, 0.0634),
    )
}


def profile(name: str) -> Profile:
    """By name. Raises NoSuchProfile."""
    if (found := PROFILES.get(name)) is None:
        raise NoSuchProfile(name=name[:40], why=f"known are: {', '.join(PROFILES)}", hint="take one of these")
    return found


def by_the_rules(job: Profile, accelerators: int, memory: int) -> int:
    """Bytes of data that MLPerf's rules ask for: 5 x memory and 500 steps, in whole files."""
    for_memory = MEMORY_MULTIPLE * memory / (job.per_file * job.record)
    for_steps = MIN_STEPS * job.batch * accelerators / job.per_file
    return math.ceil(max(for_memory, for_steps)) * job.per_file * job.record


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a job writes to go on from later: 14 bytes a parameter (bf16 weights, fp32 master and Adam)."""

    name: str
    parameters: float
    ranks: int
    """Processes that write it, in MLPerf's table."""

    @property
    def size(self) -> float:
        """Bytes."""
        return 14 * self.parameters


CHECKPOINTS = {
    one.name: one
    for one in (
        Checkpoint(name="llama3-8b", parameters=8.03e9, ranks=8),
        Checkpoint(name="llama3-70b", parameters=70.55e9, ranks=64),
        Checkpoint(name="llama3-405b", parameters=405.85e9, ranks=512),
        Checkpoint(name="llama3-1t", parameters=1183e9, ranks=1024),
    )
}


def checkpoint(name: str) -> Checkpoint:
    """By name. Raises NoSuchProfile."""
    if (found := CHECKPOINTS.get(name)) is None:
        raise NoSuchProfile(
            name=name[:40], why=f"known are: {', '.join(CHECKPOINTS)}", hint="take one of these"
        )
    return found
