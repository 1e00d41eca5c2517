"""The two commands a user types first, as far as they can be tried without a network."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("freehold_install", ROOT / "tools" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commands_in_the_readme_are_targets_of_make() -> None:
    named = re.findall(r"^make ([\w-]+)", (ROOT / "README.md").read_text(), re.M)
    assert named == ["demo", "test"]
    for target in [*named, "test-long", "clean-demo", "locks", "wheelhouse"]:
        ran = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr


def test_without_a_fitting_python_one_line_says_how_to_get_one() -> None:
    env = {**os.environ, "PYTHON": "false"}
    ran = subprocess.run([str(ROOT / "tools" / "setup"), "demo"], env=env, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "Freehold needs Python 3.11, 3.12, 3.13 or 3.14 with venv" in ran.stderr
    assert len(re.findall(r"install|apk add", ran.stderr)) >= 1


def test_what_is_missing_is_announced_with_its_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install = installer()
    lock = (ROOT / "locks" / "demo.txt").read_text()
    monkeypatch.setattr(install, "installed", set)
    install.announce(lock)
    said = capsys.readouterr().out
    found = re.search(r"about (\d+) MB in (\d+) packages,", said)
    assert found is not None, said
    assert 50 < int(found[1]) < 600
    assert int(found[2]) == len(re.findall(r"^\S+==", lock, re.M))


def test_nothing_is_announced_when_all_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install = installer()
    lock = (ROOT / "locks" / "demo.txt").read_text()
    monkeypatch.setattr(install, "installed", lambda: set(re.findall(r"^(\S+==[^ \\]+)", lock, re.M)))
    install.announce(lock)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("system", "wheel", "within_reach"),
    [
        ("linux", "torch-2.13.0+cpu-{python}-{python}-manylinux_2_28_x86_64.whl", True),
        ("linux", "torch-2.13.0+cpu-cp310-cp310-manylinux_2_28_x86_64.whl", False),
        ("linux", "torch-2.13.0-{python}-{python}-manylinux_2_28_x86_64.whl", False),
        ("darwin", "nothing.txt", True),
    ],
)
def test_fine_tuning_comes_where_torch_comes_without_cuda(
    system: str,
    wheel: str,
    within_reach: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install = installer()
    (tmp_path / wheel.format(python=f"cp{sys.version_info.major}{sys.version_info.minor}")).touch()
    monkeypatch.setenv("PIP_FIND_LINKS", f"file://{tmp_path}")
    monkeypatch.setattr(install.sys, "platform", system)
    filled: list[str] = []
    monkeypatch.setattr(install, "fill", lambda lock: filled.append(lock) or 0)
    assert install.main("demo", "tuning") == 0
    assert filled == ["demo", *(install.TUNING if within_reach else ())]
    assert ("without fine-tuning" in capsys.readouterr().out) is not within_reach
