"""ONNX Runtime as we load it: silent.

Its official builds keep a device id and an event store in the user's cache folder and send events to
their maker, unless `ORT_DISABLE_TELEMETRY=1` is set before the library initializes. Nothing else may
import `onnxruntime`; a test holds that no such file appears.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def onnxruntime() -> Any:
    """The module, loaded at the first call."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # children inherit it too
    import onnxruntime as loaded

    loaded.disable_telemetry_events()  # in case somebody had loaded it before us
    return loaded
