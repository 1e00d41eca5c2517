"""A folder on a slow disk: every file opened takes its time, as a seek or a distant server would."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import BinaryIO

from freehold.sizing.bench.places import Folder


@dataclass(frozen=True, slots=True)
class SlowFolder(Folder):
    """`seconds` for each file."""

    seconds: float = 0.05

    def open(self, name: str) -> BinaryIO:
        time.sleep(self.seconds)
        return Folder.open(self, name)
