"""What an extra promises can be imported: two libraries once broke where the resolver saw no conflict."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
SPELLED = {
    "ruamel.yaml": "ruamel.yaml",
    "scikit-learn": "sklearn",
    "protobuf": "google.protobuf",
    "psycopg": "psycopg",
    "google-re2": "re2",
    "pyjwt": "jwt",
    "python-pkcs11": "pkcs11",
}
EXTRAS = {"base": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


def modules(extra: str) -> list[str]:
    """What to import. Skips when the extra is not installed here, and says so."""
    names = [Requirement(text).name for text in EXTRAS[extra]]
    for name in names:
        try:
            distribution(name)
        except PackageNotFoundError:
            pytest.skip(f"the extra {extra} is not installed here: no {name}")
    return [SPELLED.get(name, name.replace("-", "_")) for name in names]


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_library_of_an_extra_can_be_imported_together(extra: str) -> None:
    program = "; ".join(f"import {module}" for module in modules(extra))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
