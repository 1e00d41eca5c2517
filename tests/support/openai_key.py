"""Loaded into openai-python's own test run: its clients take our key, everything else is as they wrote it."""

from __future__ import annotations

import os
import sys


def pytest_collection_finish() -> None:
    """The suite's conftest names the key that its clients are made with."""
    sys.modules["tests.conftest"].api_key = os.environ["FREEHOLD_SUITE_KEY"]  # type: ignore[attr-defined]
