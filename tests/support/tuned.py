"""Tuning tiny base models: services, plans, job folders. Needs the extra `train`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import learning

from freehold.jobs.folder import JobFolder
from freehold.spec.base import Base
from freehold.spec.config import Config
from freehold.spec.service import Service
from freehold.train import entry, slots
from freehold.train.base import check
from freehold.train.plan import TrainPlan, plan

NEEDS = "the extra train is not installed here: no torch"
"""Why tests of tuning are skipped."""


def service(tune: str = "lora", *, task: str = "classify", **train: Any) -> Service:
    """A service over `claims@1` that tunes `tiny@1`, quickly."""
    asked = learning.service(train={"epochs": 3, "batch_size": 8, "max_length": 32, "seed": 7} | train)
    return replace(asked, model=replace(asked.model, task=task, base="tiny@1", tune=tune))  # type: ignore[arg-type]  # words of tests


def base_of(folder: Path) -> Base:
    """A folder as a registered base."""
    checked = check(folder)
    return Base(model="mod_1", ref="tiny@1", digest=checked.digest, facts=checked.facts)


def planned(asked: Service, table: learning.Table, folder: Path, target: str = "kind") -> TrainPlan:
    """The plan, as control would make it."""
    facts = learning.facts(table, target=target, text="text")
    return plan(asked, data=facts, config=Config(), base=base_of(folder))


def job(
    root: Path,
    asked: Service,
    table: learning.Table,
    folder: Path,
    *,
    spec: Mapping[str, Any] | None = None,
    plan_file: bytes | None = None,
    checkpoint: bytes | None = None,
    breaks_every: float | None = None,
    target: str = "kind",
    **rows: Any,
) -> JobFolder:
    """A job's folder with its data and its base, not yet run; `spec` changes fields of the planned one."""
    made = {**planned(asked, table, folder, target).spec, "threads": 1, **(spec or {})}
    scratch = learning.job(root, made, table, **rows)
    shutil.copytree(folder, scratch.inputs / "base", ignore=shutil.ignore_patterns("README.md"))
    if plan_file is not None:
        (scratch.inputs / slots.FILE).write_bytes(plan_file)
    if breaks_every is not None:
        (scratch.root / "attempt.json").write_text(json.dumps({"breaks_every": breaks_every}))
    if checkpoint is not None:
        (scratch.inputs / "checkpoint").mkdir()
        (scratch.inputs / "checkpoint" / "state.safetensors").write_bytes(checkpoint)
    return scratch


def tune(root: Path, asked: Service, table: learning.Table, folder: Path, **more: Any) -> dict[str, bytes]:
    """Tune in this process; the files of the model."""
    scratch = job(root, asked, table, folder, **more)
    entry.main(scratch)
    return learning.model_files(scratch)
