"""A base model: pre-trained weights that services are tuned from, known by the digest of its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from freehold.spec.ids import digest
from freehold.spec.model import FileEntry

BASE_TYPE = "application/vnd.freehold.base+json"
"""What the release key signs when a base is registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """What a base is, as its own files say."""

    role: Literal["encoder", "causal"]
    """`encoder`: classifiers are tuned from it; `causal`: it continues text, generators are."""
    model_type: str
    """The architecture's family, such as `bert` or `llama`."""
    parameters: int
    hidden: int
    """Width of its inner states."""
    layers: int
    vocabulary: int
    """How many tokens it knows."""
    longest: int
    """Most tokens it reads at once; 0 when it does not say."""
    precision: str
    """Of its weights as stored: `F32`, `BF16`, …, or `mixed`."""
    licence: str
    """SPDX identifier, lower case."""
    licence_from: Literal["card", "given"]
    """`card`: its README.md says so; `given`: the person who added it did."""
    tokenizer: str
    """Digest of `tokenizer.json`."""
    template: str | None
    """Digest of its chat template; none where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A registered base model, as training is told of it."""

    model: str
    """The id of its row."""
    ref: str
    """`name@version`."""
    digest: str
    facts: BaseFacts


def base_digest(files: Iterable[FileEntry]) -> str:
    """Of weights, config, tokenizer and template: every file, by path, whatever the base is called."""
    entries = sorted((asdict(entry) for entry in files), key=lambda entry: str(entry["path"]))
    return digest({"files": entries})
