"""The tables of fields in the manual are those of the records."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "make_reference.py"
PAGES = SCRIPT.parent / "manual"


def test_every_field_of_both_files_is_explained_and_current() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun `python docs/make_reference.py`"


def test_each_record_has_its_table_somewhere() -> None:
    every = "".join(page.read_text() for page in PAGES.glob("*.md"))
    for name in (
        "Service",
        "Model",
        "Gate",
        "Approver",
        "Serve",
        "Limits",
        "Example",
        "Config",
        "Mail",
        "Hsm",
        "Guard",
        "Watch",
    ):
        assert f"<!-- fields of {name} -->" in every
