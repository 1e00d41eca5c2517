"""A base model's files in the serving zone: read once, and believed only by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from freehold.engines.package import entries_of, read_folder
from freehold.errors import Tampered
from freehold.spec.base import base_digest
from freehold.spec.model import FileEntry


class BaseChanged(Tampered):
    """the base model in `{folder}` is not the one that was registered"""


def read_base(folder: Path, digest: str) -> Mapping[str, bytes]:
    """Path -> bytes. The digest is named in the signed manifest of everything that was tuned from it.

    Raises ModelUnreadable when the folder is not there, BaseChanged when a byte, a name or a file differs.
    """
    files = read_folder(folder)
    _refuse_other(folder, base_digest(entries_of(files)), digest)
    return files


def check_base(folder: Path, digest: str) -> None:
    """The same check without holding the files in memory. Raises BaseChanged."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    _refuse_other(folder, base_digest(_entry(folder, path) for path in paths), digest)


def _entry(folder: Path, path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path=path.relative_to(folder).as_posix(), digest=digest, bytes=path.stat().st_size)


def _refuse_other(folder: Path, found: str, digest: str) -> None:
    if found != digest:
        raise BaseChanged(
            folder=folder.parent.name[:16],
            why=f"weights: registered as {digest[:19]}, here is {found[:19]}",
            hint="remove the folder: it is fetched again from control",
        )
