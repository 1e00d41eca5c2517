"""On what a run was made: versions, threads and processor flags can change the last bit of a weight."""

from __future__ import annotations

import hashlib
import os
import platform
import unicodedata
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "scipy", "scikit-learn", "onnx", "onnxruntime", "pyarrow")


def describe() -> dict[str, Any]:
    """Plain data for a report."""
    name, flags = _processor()
    return {
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "libraries": {library: version(library) for library in LIBRARIES},
        "processor": name,
        "processor_flags": flags,
        "architecture": platform.machine(),
        "threads": 1,
        "hash_seed": os.environ.get("PYTHONHASHSEED", "random"),
    }


def _processor() -> tuple[str, str]:
    """Its name, and a short digest of its flags: equal digests compute alike."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no such file outside Linux, or a wall is in front of it
        return platform.processor() or "unknown", "unknown"
    said = dict(reversed([(k.strip(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]))
    flags = said.get("flags") or said.get("Features") or ""
    return said.get("model name", "unknown"), hashlib.sha256(flags.encode()).hexdigest()[:16]
