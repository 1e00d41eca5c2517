"""Which engine answers, in which version, with which settings: a part of every serving digest.

Another version of ONNX Runtime, another thread count, another Unicode table may change the last bit of
an answer or the splitting of a word. So they are written into the signed manifest, and an engine that
is not exactly this one refuses to load the model.
"""

from __future__ import annotations

import unicodedata
from importlib.metadata import version

from freehold.errors import Tampered
from freehold.spec.model import Manifest

FEATURES = "1"
"""The version of `engines.features`: raised when the same text or row would give other numbers."""

FAKE = "1"


class OtherEngine(Tampered):
    """the model `{model}` was approved with another engine"""


def engine(name: str = "onnxruntime") -> str:
    """The engine and its version, such as `onnxruntime 1.31.1`."""
    return f"fake {FAKE}" if name == "fake" else f"{name} {version(name)}"


def flags(name: str = "onnxruntime") -> dict[str, str]:
    """What else decides the last bit of an answer. Everything is text, as a canonical record wants it."""
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


def name_of(manifest: Manifest) -> str:
    """The engine's name without its version."""
    return manifest.engine.partition(" ")[0]


def refuse_other(manifest: Manifest) -> None:
    """Raise OtherEngine unless this engine is exactly the one the manifest was approved with."""
    name = name_of(manifest)
    if name not in ("onnxruntime", "fake"):
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
