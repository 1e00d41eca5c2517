"""The energy meter of NVIDIA's accelerators, by the library that comes with their driver (NVML).

Called by its C interface: what the driver brings is there, and no package of ours can be too old for it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

LIBRARY = "libnvidia-ml.so.1"
_FINE = 0


@dataclass(frozen=True, slots=True)
class Meter:
    """Of one accelerator. Owned by the measurement; the library stays open as long as the process lives."""

    _library: ctypes.CDLL = field(repr=False)
    _handle: ctypes.c_void_p = field(repr=False)

    def joules(self) -> float | None:
        """Since its driver was loaded (from Volta on); None where it does not count, or not for us."""
        counted = ctypes.c_ulonglong(0)
        said = self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(counted))
        return counted.value / 1000 if said == _FINE else None


def meter(uuid: str, library: str = LIBRARY) -> Meter | None:
    """Of the accelerator of that id (`GPU-…`); None without driver, or where it knows no such one."""
    try:
        nvml = ctypes.CDLL(library)
        handle = ctypes.c_void_p()
        if nvml.nvmlInit_v2() != _FINE:
            return None
        said = nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle))
    except (OSError, AttributeError):  # no driver; or one from before these calls
        return None
    found = Meter(nvml, handle)
    return found if said == _FINE and found.joules() is not None else None
