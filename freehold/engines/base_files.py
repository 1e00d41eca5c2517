"""A base model's files in the serving zone: read once, and believed only by their digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from freehold.engines.package import entries_of, read_folder
from freehold.errors import Tampered
from freehold.spec.base import base_digest


class BaseChanged(Tampered):
    """the base model in `{folder}` is not the one that was registered"""


def read_base(folder: Path, digest: str) -> Mapping[str, bytes]:
    """Path -> bytes. The digest is named in the signed manifest of everything that was tuned from it.

    Raises ModelUnreadable when the folder is not there, BaseChanged when a byte, a name or a file differs.
    """
    files = read_folder(folder)
    if (found := base_digest(entries_of(files))) != digest:
        raise BaseChanged(
            folder=folder.parent.name[:16],
            why=f"weights: registered as {digest[:19]}, here is {found[:19]}",
            hint="remove the folder: it is fetched again from control",
        )
    return files
