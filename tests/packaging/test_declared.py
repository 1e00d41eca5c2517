"""What the code imports is declared: a library that happens to be installed here is missing elsewhere."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SPELLED = {"yaml": "pyyaml", "cv2": "opencv-python"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> Iterator[tuple[str, str]]:
    """(file, module) of every import of something that is neither ours nor Python's own."""
    for file in sorted((ROOT / "freehold").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top != "freehold" and top not in sys.stdlib_module_names:
                    yield str(file.relative_to(ROOT)), name


def test_every_imported_library_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    requirements = [*PROJECT["dependencies"], *(text for texts in extras.values() for text in texts)]
    declared = {plain(Requirement(text).name) for text in requirements}
    known = packages_distributions()
    missing = set()
    for file, module in imported():
        top = module.partition(".")[0]
        owners = {plain(owner) for owner in known.get(top, [SPELLED.get(top, top)])}
        if not owners & declared:
            missing.add(f"{file} imports {module}, of {', '.join(sorted(owners))}")
    assert not missing
