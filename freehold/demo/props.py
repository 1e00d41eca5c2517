"""What the demo plays with, as files: for its folder, or for yours to go by hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from freehold.demo import inbox, table
from freehold.errors import Conflict
from freehold.store.home import FolderUnusable

SERVICES = ("inbox-sorter.yaml", "inbox-trial.yaml", "inbox-triage.yaml", "tumour-check.yaml")
DATA = ("inbox.csv", "inbox-with-letters.csv", "inbox-golden.csv", "tumours.csv")


class FileThere(Conflict):
    """`{file}` is there already"""


def write_all(folder: Path) -> tuple[str, ...]:
    """Write every file; return their names. Raises FileThere, FolderUnusable, and then leaves none."""
    for name in (*DATA, *SERVICES):
        if (folder / name).exists():
            raise FileThere(file=name, why="nothing is written over", hint="go to an empty folder")
    try:
        write_data(folder)
        for name in SERVICES:
            write_service(folder, name)
    except OSError as error:
        for name in (*DATA, *SERVICES):
            with suppress(OSError):
                (folder / name).unlink()
        raise FolderUnusable(
            path=folder.absolute(), why=error.strerror or str(error), hint="go to an empty folder of yours"
        ) from error
    return (*DATA, *SERVICES)


def write_data(folder: Path) -> tuple[inbox.Inbox, int]:
    """Write the four tables; return the inbox and how many tumours there are."""
    found = inbox.compose()
    inbox.write_csv(found.first, folder / "inbox.csv")
    inbox.write_csv((*found.first, *found.letters), folder / "inbox-with-letters.csv")
    inbox.write_csv(found.golden, folder / "inbox-golden.csv")
    return found, table.write_csv(folder / "tumours.csv")


def write_service(folder: Path, name: str, changes: Mapping[str, str] | None = None) -> None:
    """Write a service file, with words changed as a person would."""
    text = files("freehold.demo.services").joinpath(name).read_text(encoding="utf-8")
    for before, after in (changes or {}).items():
        text = text.replace(before, after)
    (folder / name).write_text(text, encoding="utf-8")
