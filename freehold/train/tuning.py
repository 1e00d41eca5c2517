"""What every tuning has in common: exact arithmetic, the course of the steps, and when to stop in alarm."""

from __future__ import annotations

import hashlib
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from freehold.engines.package import entries_of, read_folder
from freehold.errors import Failure, Tampered
from freehold.jobs.folder import JobFolder
from freehold.spec.base import base_digest

WARM_UP = 0.06
"""Share of the steps over which the learning rate rises."""
CLIP = 1.0
"""A gradient longer than this is shortened to it."""
DECAY = 0.01
"""Weight decay of what is tuned."""
MOST_POINTS = 2000
"""Of a curve."""
MOST_TIMED = 10_000
"""Steps whose time is kept."""
TELL_EVERY = 0.2
"""Seconds between two words about progress."""
PARTS = 5
"""Of the steps: how far their speeds lie apart is how sure the speed of all is."""


class Diverged(Failure):
    """the training diverged and was stopped"""


class OtherBase(Tampered):
    """the base model is not the one that was planned with"""


def read_base(folder: JobFolder, digest: str) -> Path:
    """The folder of the base, when it is the one the specification names. Raises OtherBase."""
    place = folder.inputs / "base"
    found = base_digest(entries_of(read_folder(place)))
    if found != digest:
        raise OtherBase(why=f"its digest is {found}, planned was {digest}", hint="plan it again")
    return place


@contextmanager
def exact(threads: int) -> Iterator[None]:
    """Within it torch computes the same thing twice alike: no algorithm that adds in an order of its own."""
    # before anything is imported that reads it
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.set_rng_state(before[2])


def draw_for(seed: int, use: str) -> int:
    """A seed of its own for one use, such as a step: so no draw depends on how many came before."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{use}".encode()).digest()[:7], "big")


def rate(step: int, steps: int) -> float:
    """The share of the highest learning rate: rising over the first 6 %, then falling to 0 in a line."""
    warm = max(1, round(steps * WARM_UP))
    return min((step + 1) / warm, 1.0) * max(0.0, (steps - step) / steps)


@dataclass(slots=True, kw_only=True)
class Course:
    """The curve of a training, told as it goes, and the alarm."""

    folder: JobFolder
    steps: int
    points: list[list[str]] = field(default_factory=list)
    """[step, loss, gradient norm, learning rate]"""
    clock: Callable[[], float] = time.monotonic
    _smooth: float = math.nan
    _first: float = math.nan
    _told: float = 0.0
    _at: float = math.nan
    _took: list[float] = field(default_factory=list)
    """Seconds from step to step; not in a checkpoint, another machine may go on from it."""
    _read: list[int] = field(default_factory=list)
    """Tokens of these steps."""

    def add(self, step: int, loss: float, norm: float, speed: float, tokens: int = 0) -> None:
        """Write a step down. Raises Diverged when it is no number any more, or loss only grows."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "loss" if not math.isfinite(loss) else "gradient"
            raise self._diverged(step, f"its {what} is no number")
        self._smooth = loss if math.isnan(self._smooth) else 0.95 * self._smooth + 0.05 * loss
        if math.isnan(self._first):
            self._first = loss
        if self._smooth > 3 * self._first + 1:
            raise self._diverged(step, f"its loss rose from {self._first:.3g} to {self._smooth:.3g}")
        if step % self._stride == 0 or step == self.steps - 1:
            self.points.append([str(step), f"{loss:.6g}", f"{norm:.6g}", f"{speed:.6g}"])
        self._tell(step, loss, norm)
        self._time(tokens)

    @property
    def step_seconds(self) -> float | None:
        """The median of what a step took here, checkpoints included; None where there were not two."""
        return statistics.median(self._took) if self._took else None

    @property
    def pace(self) -> tuple[float, ...]:
        """Tokens a second: of all steps that were timed, then of each fifth; of few steps of all alone."""
        steps = list(zip(self._read, self._took, strict=True))
        if not steps:
            return ()
        count = PARTS if len(steps) >= 2 * PARTS else 1
        ends = [len(steps) * n // count for n in range(count + 1)]
        parts = [steps, *(steps[a:b] for a, b in pairwise(ends))] if count > 1 else [steps]
        return tuple(sum(n for n, _ in part) / max(1e-9, sum(took for _, took in part)) for part in parts)

    def _time(self, tokens: int) -> None:
        now = self.clock()
        if not math.isnan(self._at) and len(self._took) < MOST_TIMED:
            self._took.append(now - self._at)
            self._read.append(tokens)
        self._at = now

    @property
    def _stride(self) -> int:
        return -(-self.steps // (MOST_POINTS - 1))

    def _tell(self, step: int, loss: float, norm: float) -> None:
        now = self.clock()
        if now - self._told >= TELL_EVERY or step == self.steps - 1:
            self._told = now
            self.folder.report(
                stage="train", step=step + 1, of=self.steps, loss=round(loss, 6), grad_norm=round(norm, 6)
            )

    def _diverged(self, step: int, why: str) -> Diverged:
        return Diverged(
            why=f"at step {step + 1} of {self.steps} {why}", hint="lower `learning_rate` in the service file"
        )

    def as_said(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"points": self.points, "smooth": self._smooth, "first": self._first}

    def go_on_from(self, said: Mapping[str, Any]) -> None:
        """Read what `as_said` wrote."""
        self.points = [list(point) for point in said["points"]]
        self._smooth, self._first = float(said["smooth"]), float(said["first"])


def operations(model: Any) -> float:
    """Floating-point operations that learning from one token takes: 4 for each weight of a matrix that stays

    as it is, 6 for each that is learned. A table in which words are only looked up takes none; attention over
    the sequence is left out, as in `freehold.sizing.formulas`.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    kinds = (torch.nn.Linear, Conv1D)
    matrices = {module.weight for module in model.modules() if isinstance(module, kinds)}
    return float(sum((6 if weight.requires_grad else 4) * weight.numel() for weight in matrices))


def state_of(named: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    """What is tuned and what AdamW remembers of it, as tensors by name."""
    state: dict[str, Any] = {}
    for name, parameter in named.items():
        state[f"weight/{name}"] = parameter.data
        for part, value in optimizer.state.get(parameter, {}).items():
            state[f"{part}/{name}"] = value
    return state


def restore(named: Mapping[str, Any], optimizer: Any, tensors: Mapping[str, Any]) -> None:
    """Put `state_of` back."""
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parameter = named[name]
        if part == "weight":
            parameter.data.copy_(tensor)
        else:
            optimizer.state.setdefault(parameter, {})[part] = tensor.clone()
