"""Joules by an NVIDIA accelerator's own counter, asked of the library that its driver brings (NVML).

Three of its functions are called, as its reference gives them: `nvmlInit_v2`, `nvmlDeviceGetHandleByUUID`,
and `nvmlDeviceGetTotalEnergyConsumption`: millijoules since the driver was loaded, from Volta on.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
DONE = 0
"""NVML_SUCCESS."""


def joules(uuid: str) -> float | None:
    """That the device has taken so far; None where nobody counts them. `uuid` as torch writes it."""
    if (library := _library()) is None or not uuid:
        return None
    device, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    if library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(device)) != DONE:
        return None
    if library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)) != DONE:
        return None
    return millijoules.value / 1000


@cache
def _library() -> Any:
    """None where there is no driver, or it does not answer. It is never shut down: it ends with us."""
    try:
        library = ctypes.CDLL(LIBRARY)
        answered = library.nvmlInit_v2()
        library.nvmlDeviceGetHandleByUUID, library.nvmlDeviceGetTotalEnergyConsumption  # noqa: B018 – looked up
    except (OSError, AttributeError):  # no driver, or one from before such a counter
        return None
    return library if answered == DONE else None
