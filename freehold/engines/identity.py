"""Which engine answers, in which version, with which settings: a part of every serving digest.

Another version of ONNX Runtime, another thread count, another Unicode table may change the last bit of
an answer or the splitting of a word. So they are written into the signed manifest, and an engine that
is not exactly this one refuses to load the model.
"""

from __future__ import annotations

import unicodedata
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from freehold.errors import Tampered, Unavailable
from freehold.spec.model import About, Manifest

FEATURES = "1"
"""The version of `engines.features`: raised when the same text or row would give other numbers."""

WRITING = "1"
"""The version of how the torch engine computes: raised when the same prompt would give other numbers."""

LANES = 8
"""Rows of the torch engine's decoding step: fixed, so that a row's numbers do not depend on the others."""
CHUNK = 256
"""Tokens of a prompt that the torch engine reads at once."""

FAMILIES = (
    "cohere", "gemma", "gemma2", "gemma3_text", "glm", "gpt2", "gpt_neox", "granite", "llama", "mistral",
    "olmo", "olmo2", "phi", "phi3", "qwen2", "qwen3", "smollm3", "starcoder2",
)  # fmt: skip
"""Architectures of transformers that the torch engine computes as they do; a test holds each."""

FAKE = "1"

ENGINES = ("onnxruntime", "torch", "fake")


class NotInstalled(Unavailable):
    """the engine `{name}` is not installed here"""


class OtherEngine(Tampered):
    """the model `{model}` was approved with another engine"""


def name_for(about: About) -> str:
    """Which engine answers for a model: `torch` writes text, `onnxruntime` everything else."""
    return "torch" if about.task == "generate" else "onnxruntime"


def engine(name: str = "onnxruntime") -> str:
    """The engine and its version, such as `onnxruntime 1.31.1`. Raises NotInstalled."""
    return f"fake {FAKE}" if name == "fake" else f"{name} {_version(name)}"


def flags(name: str = "onnxruntime") -> dict[str, str]:
    """What else decides the last bit of an answer. Everything is text, as a canonical record wants it."""
    if name == "torch":
        return _torch_flags()
    shared = {"features": FEATURES, "unicode": unicodedata.unidata_version}
    if name == "fake":
        return shared
    return shared | {
        "provider": "CPUExecutionProvider",
        "intra_op_threads": "1",
        "inter_op_threads": "1",
        "execution": "sequential",
        "graph_optimization": "basic",
        "deterministic": "true",
        "rows_at_a_time": "1",  # a batch answers exactly as its rows would one by one
    }


def _torch_flags() -> dict[str, str]:
    """Said without loading torch, for control signs them and has no use for it."""
    return {
        "writing": WRITING,
        "device": _device(),
        "precision": "float32",
        "lanes": str(LANES),
        "chunk": str(CHUNK),
        "transformers": _version("transformers"),
        "tokenizers": _version("tokenizers"),
        "jinja2": _version("jinja2"),
    }


def _device() -> str:
    """`cuda` where the kernel shows an NVIDIA device and torch is no build for processors alone."""
    return "cuda" if Path("/dev/nvidia0").exists() and not _version("torch").endswith("+cpu") else "cpu"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise NotInstalled(
            name=package, why="it comes with the extra `train`", hint="pip install 'freehold[train]'"
        ) from None


def name_of(manifest: Manifest) -> str:
    """The engine's name without its version."""
    return manifest.engine.partition(" ")[0]


def refuse_other(manifest: Manifest) -> None:
    """Raise OtherEngine unless this engine is exactly the one the manifest was approved with."""
    name = name_of(manifest)
    if name not in ENGINES:
        raise _other(manifest, f"`{manifest.engine}` is not an engine of this release")
    if (here := engine(name)) != manifest.engine:
        raise _other(manifest, f"approved with `{manifest.engine}`, here is `{here}`")
    have = flags(name)
    wrong = sorted(
        key for key in {*have, *manifest.engine_flags} if have.get(key) != manifest.engine_flags.get(key)
    )
    if wrong:
        said = ", ".join(
            f"{key}: approved {manifest.engine_flags.get(key, 'unset')}, here {have.get(key, 'unset')}"
            for key in wrong
        )
        raise _other(manifest, said)


def _other(manifest: Manifest, why: str) -> OtherEngine:
    return OtherEngine(
        model=f"{manifest.name}@{manifest.version}",
        why=why,
        hint="evaluate and approve it again with the engine that is installed",
    )
