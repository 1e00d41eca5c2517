"""What a model version says of itself, and the digest by which it is evaluated, approved and served."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from freehold.spec.ids import digest
from freehold.spec.snapshot import Column

MANIFEST_TYPE = "application/vnd.freehold.model+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a model's folder."""

    path: str
    """Relative, forward slashes, never upwards."""
    digest: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an engine needs to know to answer with the model, and a reader to understand it."""

    task: Literal["classify", "tabular", "generate"]
    trainer: str
    inputs: tuple[Column, ...]
    classes: tuple[str, ...]
    data: str
    """`name@version` it learned from."""
    data_digest: str
    run: str
    features: dict[str, Any] = field(default_factory=dict)
    """How raw input becomes what the model reads: the same code does it in training and serving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The files of a model version and what they are; signed by the release key before it may be served."""

    model: str
    """The model version's id."""
    name: str
    version: int
    files: tuple[FileEntry, ...]
    about: About
    engine: str
    """Which engine and version answers with it, such as `onnxruntime 1.31.1`."""
    engine_flags: dict[str, str]
    """Thread counts and graph options: they can change the last bit of an answer."""

    @property
    def digest(self) -> str:
        """Of the files and what they mean: names and ids do not change it."""
        return digest({"files": [asdict(f) for f in self.files], "about": _meaning(self.about)})

    @property
    def serving_digest(self) -> str:
        """What card, approval and route table cite: another engine version is another digest."""
        return digest({"model": self.digest, "engine": self.engine, "flags": self.engine_flags})


def _meaning(about: About) -> dict[str, Any]:
    """Without the run's id, so that the same training twice gives the same digest."""
    said = asdict(about)
    del said["run"]
    return said
