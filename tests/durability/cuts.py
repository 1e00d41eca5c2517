"""Record work, cut the power at moments of its record, look at what is left."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from freehold.identity import first_run, projects
from freehold.spec.config import Config
from freehold.spec.principal import SYSTEM
from freehold.store.home import Home
from freehold.store.migrate import open_database
from tests.durability.disk import Disk, Event, Outcome, events
from tests.durability.recovery import Found, Told, look
from tests.durability.work import PROJECT

HERE = Path(__file__).parent
NEEDS = "this machine has no cc: no recorder of what a power cut would leave"


def build(folder: Path) -> Path:
    """The recorder, compiled."""
    made = folder / "recorder.so"
    command = ["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(made), str(HERE / "recorder.c")]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return made


def installation(folder: Path) -> Home:
    """A fresh installation with a project: where every work begins."""
    home = Home(folder / "fh")
    first_run.create(home, Config())
    database = open_database(home)
    with database.write() as tx:
        projects.add(tx, by=SYSTEM, name=PROJECT)
    database.close()
    return home


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How much work, and what is wrong with it."""

    answers: int
    batch: int = 8
    seed: int = 7
    wrong: tuple[str, ...] = ()
    """`without-sync`, `normal`: see work.py."""


@dataclass(kw_only=True)
class Record:
    """What was done to the files, from `before` on."""

    before: Path
    root: Path
    path: Path
    after: Path
    """What was really there in the end."""

    @cached_property
    def events(self) -> tuple[Event, ...]:
        return tuple(events(self.path))

    @cached_property
    def points(self) -> list[int]:
        """The places of everything that writes."""
        return [number for number, event in enumerate(self.events) if event.writes]


def recorded(recorder: Path, template: Home, folder: Path, asked: Asked) -> Record:
    """Let the work be done in a copy of `template`, and write down what it did."""
    given = [str(asked.seed), str(asked.answers), str(asked.batch), *asked.wrong]
    return watched(recorder, template.root, folder, "work", *given)


def watched(recorder: Path, template: Path, folder: Path, module: str, *given: str) -> Record:
    """Run a module of this package on a copy of the folder `template`, and write down what it did there."""
    folder.mkdir(parents=True)
    before, root = folder / "before", folder / "fh"
    for copy in (before, root):
        shutil.copytree(template, copy)
    surroundings = {
        **os.environ,
        "LD_PRELOAD": str(recorder),
        "FREEHOLD_RECORD_ROOT": str(root),
        "FREEHOLD_RECORD_TO": str(folder / "record"),
        "PYTHONPATH": str(HERE.parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", f"tests.durability.{module}", str(root), *given]
    subprocess.run(command, check=True, env=surroundings, cwd=HERE.parents[1])
    root.rename(folder / "after")
    return Record(before=before, root=root, path=folder / "record", after=folder / "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The power fails before the event `at` is done, or in the middle of it."""

    at: int
    outcome: Outcome = "mixed"
    torn: bool = False
    seed: int = 0


@dataclass(slots=True)
class Left:
    """What one cut left."""

    cut: Cut
    records: int
    """Acknowledged before it."""
    found: Found = field(default_factory=Found)

    def __str__(self) -> str:
        wrong = "; ".join(self.found.wrong[:3])
        return f"{self.cut}: {self.found.lost} of {self.records} records lost; {wrong}"


Look = Callable[[Path, Told], Found]


def cut_off(record: Record, cuts: Sequence[Cut], scratch: Path, look: Look = look) -> Iterator[Left]:
    """Each cut in turn; `scratch` is a folder that holds what the one under way left."""
    disk, told, at = Disk(record.root, record.before), Told(), 0
    for cut in sorted(cuts, key=lambda cut: (cut.at, cut.torn)):
        for event in record.events[at : cut.at]:
            if event.op == "A":
                told.take(event.data)
            else:
                disk.apply(event)
        at = max(at, cut.at)
        folder = scratch / "fh"
        shutil.rmtree(folder, ignore_errors=True)
        scratch.mkdir(exist_ok=True)
        _leave(disk, record, cut, folder)
        yield Left(cut, told.records, look(folder, told))


def _leave(disk: Disk, record: Record, cut: Cut, folder: Path) -> None:
    if cut.torn:
        with disk.torn(record.events[cut.at]):
            disk.leave(folder, cut.outcome, random.Random(cut.seed))
    else:
        disk.leave(folder, cut.outcome, random.Random(cut.seed))
