"""The folder one job works in: what it was asked, what it may read, where it may write.

::

    <root>/
      spec.json       what was asked                        read-only to the job
      attempt.json    what holds for this attempt only      read-only to the job
      inputs/         exactly what the job may see          read-only to the job
      outputs/        what it leaves; everything here is taken
      checkpoints/    from where it can go on when it is begun again; taken as they appear
      progress.json   how far it is, rewritten as it goes
      result.json     what the entry returned, or why it could not
      tmp/            its HOME and TMPDIR; thrown away
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPOSED = 86_400.0
"""Seconds until an attempt breaks off, before anything is known of it: a day of computing."""


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A job's scratch. Worker and child share it; nobody else does."""

    root: Path

    @classmethod
    def create(
        cls, root: Path, spec: Mapping[str, Any], attempt: Mapping[str, Any] | None = None
    ) -> JobFolder:
        """Make the folder and write what was asked, and what the attempt is told besides."""
        for name in ("", "inputs", "outputs", "checkpoints", "tmp"):
            (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / "spec.json").write_text(json.dumps(spec, ensure_ascii=False, sort_keys=True))
        (root / "attempt.json").write_text(json.dumps(attempt or {}, sort_keys=True))
        for name in ("progress.json", "result.json"):  # exist beforehand: a wall can then be around a file
            (root / name).write_text("{}")
        return cls(root)

    @property
    def spec(self) -> dict[str, Any]:
        """What was asked."""
        spec: dict[str, Any] = json.loads((self.root / "spec.json").read_text())
        return spec

    @property
    def breaks_every(self) -> float:
        """Mean seconds until an attempt breaks off. No result may follow from it: it is in no digest."""
        return float(_read_object(self.root / "attempt.json").get("breaks_every", SUPPOSED))

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def checkpoints(self) -> Path:
        """A file here is complete from the moment it has its name: written beside it, then renamed.

        A job that is begun again finds the newest ones in `inputs/checkpoint/`.
        """
        return self.root / "checkpoints"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    def report(self, **progress: str | int | float | bool) -> None:
        """Say how far it is, such as `report(done=3, of=10, loss=0.41)`; the newest word replaces the last.

        Numbers and fixed words only: what is said here reaches people's screens.
        """
        (self.root / "progress.json").write_text(json.dumps(progress))

    @property
    def progress(self) -> dict[str, Any]:
        """What was last reported; empty when nothing was, or while it is being written."""
        return _read_object(self.root / "progress.json")

    def conclude(self, result: Mapping[str, Any]) -> None:
        """Write what the entry returned."""
        (self.root / "result.json").write_text(json.dumps(result, ensure_ascii=False, sort_keys=True))

    @property
    def result(self) -> dict[str, Any]:
        """What the entry returned; empty when it never came that far."""
        return _read_object(self.root / "result.json")

    def remove(self) -> None:
        """Throw the folder away; removing it twice is fine."""
        shutil.rmtree(self.root, ignore_errors=True)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
