"""The engine process brings nothing that trains, and no way to the database."""

from __future__ import annotations

import subprocess
import sys

NEVER = ("sklearn", "scipy", "pyarrow", "sqlalchemy", "sqlite3", "torch", "fastapi", "freehold.train")


def test_an_engine_starts_without_training_code_and_without_a_database_driver() -> None:
    code = f"""
import sys
import freehold.engines.host, freehold.engines.onnx
print(*(name for name in {NEVER!r} if name in sys.modules))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
