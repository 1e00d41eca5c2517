"""What figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any


def described() -> dict[str, Any]:
    """This machine, and how busy it is."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load while measured": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor()
