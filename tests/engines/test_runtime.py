"""ONNX Runtime must not talk to its maker: not even a device id may be left behind."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from learning import inbox, service, train

SOURCE = Path(__file__).parents[2] / "freehold"


def test_loading_a_model_leaves_no_trace_in_the_users_folders(tmp_path: Path) -> None:
    folder = train(tmp_path / "job", service(), inbox()).outputs / "model"
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
from pathlib import Path
from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_of, read_folder
files = read_folder(Path({str(folder)!r}))
print(OnnxEngine.load(about_of(files), files).infer({{"text": ["burst pipe"]}}).classes[0])
"""
    clean = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "water"
    assert list(home.rglob("*")) == []


def test_nothing_else_loads_it() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            loads = any(name.split(".")[0] == "onnxruntime" for name in names)
            assert not loads or path.name == "runtime.py", path
