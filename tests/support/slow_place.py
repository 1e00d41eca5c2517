"""Folders that are slow, or that a reader cannot take over: for what readers do then."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from freehold.sizing.bench.places import Folder


@dataclass(frozen=True, slots=True)
class SlowFolder(Folder):
    """`seconds` for each file opened, as a seek or a distant server would take."""

    seconds: float = 0.05

    def open(self, name: str) -> BinaryIO:
        time.sleep(self.seconds)
        return Folder.open(self, name)


class MarkedFolder(Folder):
    """Leaves a mark for each process that took it over."""

    def __reduce__(self) -> tuple[object, ...]:
        return _marked, (self.path,)


def _marked(path: Path) -> Folder:
    (path / f"up-{os.getpid()}").touch()
    return Folder(path)


class DeadlyFolder(Folder):
    """Ends the process that takes it over."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)
