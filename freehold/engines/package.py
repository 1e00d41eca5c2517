"""A model's folder and its signed manifest: nothing is loaded that does not verify.

An engine gets the bytes that were checked, never a path to read again: a file swapped between the
check and the load would otherwise answer with a signature it does not have.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.engines import identity
from freehold.engines.protocol import ModelUnreadable
from freehold.errors import Tampered
from freehold.spec.ids import canonical, digest_bytes
from freehold.spec.model import MANIFEST_TYPE, About, FileEntry, Manifest
from freehold.spec.snapshot import Column
from freehold.store.signing import Envelope, verify

ABOUT = "about.json"
"""The file of a model's folder that says what it is; the run's id is only in the manifest."""


class ModelChanged(Tampered):
    """the model in `{folder}` is not what was signed"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A verified model: its manifest, and its files as the bytes that were verified."""

    manifest: Manifest
    files: Mapping[str, bytes]


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file of a model's folder by its relative path.

    Raises ModelChanged for anything that is no plain file: a link may point outside the folder.
    """
    try:
        return dict(sorted(_walk(folder, folder)))
    except FileNotFoundError as error:
        raise ModelUnreadable(why=f"`{folder.name}` is not there, or went away") from error


def _walk(folder: Path, root: Path) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found += _read_entry(entry, root)
    return found


def _read_entry(entry: os.DirEntry[str], root: Path) -> list[tuple[str, bytes]]:
    name = Path(entry.path).relative_to(root).as_posix()
    if entry.is_symlink():
        raise _changed(root, f"`{name}` is a link")
    if entry.is_dir():
        return _walk(Path(entry.path), root)
    if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
        raise _changed(root, f"`{name}` is no plain file")
    return [(name, _read_plain(Path(entry.path), root))]


def _read_plain(path: Path, root: Path) -> bytes:
    """O_NOFOLLOW: a file that became a link since it was listed is refused, not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise _changed(root, f"`{path.name}` cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def entries_of(files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """Path, digest and size of each file, by path."""
    return tuple(
        FileEntry(path=path, digest=digest_bytes(files[path]), bytes=len(files[path]))
        for path in sorted(files)
    )


def about_of(files: Mapping[str, bytes], *, run: str = "") -> About:
    """What `about.json` says. Raises ModelUnreadable."""
    try:
        return _about(json.loads(files[ABOUT]), run)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelUnreadable(why=f"`{ABOUT}` is missing or cannot be read") from error


def about_bytes(about: About) -> bytes:
    """`about.json`: without the run, so that the same training twice leaves the same bytes."""
    said = asdict(about)
    del said["run"]
    return canonical(said)


def manifest_of(
    folder: Path, *, model: str, name: str, version: int, about: About, engine: str = "onnxruntime"
) -> Manifest:
    """The manifest of a folder as this machine's engine would serve it."""
    return Manifest(
        model=model,
        name=name,
        version=version,
        files=entries_of(read_folder(folder)),
        about=about,
        engine=identity.engine(engine),
        engine_flags=identity.flags(engine),
    )


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical form that is signed as `MANIFEST_TYPE`."""
    return canonical(asdict(manifest))


def read_manifest(payload: bytes) -> Manifest:
    """Read what `manifest_bytes` wrote. Raises ModelChanged when anything is missing or added."""
    try:
        said = json.loads(payload)
        about = dict(said.pop("about"))
        manifest = Manifest(
            files=tuple(FileEntry(**entry) for entry in said.pop("files")),
            about=_about(about, about.pop("run")),
            **said,
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelChanged(folder="a manifest", why="its manifest has not the expected fields") from error
    if manifest_bytes(manifest) != payload:
        raise ModelChanged(folder="a manifest", why="its manifest is not in canonical form")
    return manifest


def _about(said: dict[str, Any], run: str) -> About:
    inputs = tuple(Column(**column) for column in said.pop("inputs"))
    return About(inputs=inputs, classes=tuple(said.pop("classes")), run=run, **said)


def read_verified(folder: Path, envelope: Envelope, public: Ed25519PublicKey) -> Package:
    """The model in `folder`, when signature, files, contents and engine are exactly what was signed.

    Raises SignatureWrong (another key), ModelChanged (a byte, a missing or an extra file, a link) or
    OtherEngine.
    """
    manifest = read_manifest(verify(public, envelope, MANIFEST_TYPE))
    files = read_folder(folder)
    _compare(folder, manifest, files)
    if about_of(files, run=manifest.about.run) != manifest.about:
        raise _changed(folder, f"`{ABOUT}` and the manifest say different things")
    identity.refuse_other(manifest)
    return Package(manifest=manifest, files=files)


def load_verified(folder: Path, envelope: Envelope, public: Ed25519PublicKey) -> Manifest:
    """The manifest alone, after the same checks as `read_verified`."""
    return read_verified(folder, envelope, public).manifest


def _compare(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    signed = {entry.path: entry for entry in manifest.files}
    for path in signed:
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise _changed(folder, f"the manifest names `{path}`, which is outside the folder")
    if missing := sorted(signed.keys() - files.keys()):
        raise _changed(folder, f"`{missing[0]}` is missing")
    if extra := sorted(files.keys() - signed.keys()):
        raise _changed(folder, f"`{extra[0]}` is not in the manifest")
    for entry in entries_of(files):
        if entry != signed[entry.path]:
            raise _changed(folder, f"`{entry.path}` has another digest than was signed")


def _changed(folder: Path, why: str) -> ModelChanged:
    return ModelChanged(
        folder=folder.name, why=why, hint="fetch it again from control, or release another version"
    )


def with_run(about: About, run: str) -> About:
    """The same, saying which run made it."""
    return replace(about, run=run)
