"""Where things lie in the serving zone: the same for whoever fetches, serves and asks."""

from __future__ import annotations

import json
from pathlib import Path

from freehold.store.home import Home, write_atomically


def model_folder(home: Home, digest: str) -> Path:
    """The files of a served model, by serving digest; envelope and evidence lie beside that folder."""
    return home.models / digest.removeprefix("sha256:") / "files"


def rules_path(home: Home) -> Path:
    """The newest signed snapshot, as the supervisor heard it: engines refuse what it revokes."""
    return home.models / "snapshot.json"


def base_folder(home: Home, digest: str) -> Path:
    """The files of a base, by its digest."""
    return home.bases / digest.removeprefix("sha256:") / "files"


def socket_path(home: Home, digest: str) -> Path:
    """Where the engine of a serving digest listens."""
    return home.run / f"e-{digest.removeprefix('sha256:')[:16]}.sock"


def write_state(home: Home, digest: str, state: str, because: str) -> None:
    """Beside the socket, for the gateway's reports."""
    said = json.dumps({"state": state, "because": because}).encode()
    write_atomically(socket_path(home, digest).with_suffix(".json"), said, sync=False)


def forget_state(home: Home, digest: str) -> None:
    """Nothing is to be said of it any more."""
    socket_path(home, digest).with_suffix(".json").unlink(missing_ok=True)


def wanted_path(home: Home, base: str) -> Path:
    """Which serving digests the engine of a base is to serve: written by the supervisor, read by it."""
    return home.run / f"b-{base.removeprefix('sha256:')[:16]}.json"


def write_wanted(home: Home, base: str, digests: frozenset[str]) -> None:
    """Say it. What is left out is served no longer."""
    write_atomically(wanted_path(home, base), json.dumps(sorted(digests)).encode(), sync=False)


def read_wanted(home: Home, base: str) -> frozenset[str]:
    """What was said last; nothing when nothing was."""
    try:
        said = json.loads(wanted_path(home, base).read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(str(digest) for digest in said)
