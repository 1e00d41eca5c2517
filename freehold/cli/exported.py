"""Taking an export apart: a tar from control becomes a folder, whole and checked, or nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from freehold.errors import Conflict, Unavailable
from freehold.store.backup_files import Readable

TOP = "freehold-export"
PIECE = 1 << 20


class FolderTaken(Conflict):
    """`{folder}` is there already"""


class ExportBroken(Unavailable):
    """the export did not arrive whole"""


def refuse_taken(folder: Path) -> None:
    """An export never mixes with what is there. Raises FolderTaken."""
    if folder.exists():
        raise FolderTaken(folder=folder, why="an export makes a folder of its own", hint="name a new one")


def unpack(source: Readable, folder: Path) -> dict[str, Any]:
    """Write the files of the tar into `folder`, which must not be there, and return its manifest.

    They lie in `FOLDER.partial` until each is there with the digest the manifest names. Raises
    FolderTaken, ExportBroken.
    """
    refuse_taken(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    try:
        found = _write_all(source, partial)
        manifest = _checked(partial, found)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)
    return manifest


def _write_all(source: Readable, folder: Path) -> dict[str, str]:
    """Path to SHA-256 of everything written."""
    found: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:  # type: ignore[call-overload]  # needs read only
            for member in tar:
                path = _inside(member)
                body = tar.extractfile(member)
                assert body is not None  # a regular file has one
                found[path] = _write(body, folder / path)
    except (tarfile.TarError, EOFError) as error:
        raise ExportBroken(why=str(error), hint="try again; nothing was kept") from error
    return found


def _inside(member: tarfile.TarInfo) -> str:
    """The path below the folder; no member leads anywhere else."""
    path = PurePosixPath(member.name)
    if not member.isreg() or path.parts[:1] != (TOP,) or len(path.parts) < 2 or ".." in path.parts:
        raise ExportBroken(why=f"it holds `{member.name[:120]}`, which is no file of an export")
    return str(path.relative_to(TOP))


def _write(body: Any, path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        while piece := body.read(PIECE):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _checked(folder: Path, found: dict[str, str]) -> dict[str, Any]:
    if "MANIFEST.json" not in found:
        raise ExportBroken(why="it ended before its manifest", hint="look at control's log, then try again")
    manifest: dict[str, Any] = json.loads((folder / "MANIFEST.json").read_bytes())
    said = {path: about["sha256"] for path, about in manifest["files"].items()}
    del found["MANIFEST.json"]
    if said != found:
        wrong = sorted(path for path in said | found if said.get(path) != found.get(path))
        raise ExportBroken(why=f"`{wrong[0]}` is not what the manifest says", hint="try again")
    return manifest
