"""The two commands a user types first, as far as they can be tried without a network."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
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
    wanted = install.wanted_of(lock)
    monkeypatch.setattr(install, "installed", lambda: wanted - {min(wanted)})
    install.announce(lock)
    assert re.search(r" MB in 1 package,", capsys.readouterr().out)


def test_nothing_is_announced_when_all_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install = installer()
    lock = (ROOT / "locks" / "demo.txt").read_text()
    monkeypatch.setattr(install, "installed", lambda: set(re.findall(r"^(\S+==[^ \\]+)", lock, re.M)))
    install.announce(lock)
    assert capsys.readouterr().out == ""


def test_parts_that_may_write_nowhere_find_their_bytecode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install = installer()
    (tmp_path / "freehold").mkdir()
    (tmp_path / "freehold" / "part.py").write_text("pass\n")
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(install, "fill", lambda lock: lock != "demo")
    assert install.main("other") == 1
    assert not (tmp_path / "freehold" / "__pycache__").exists()
    assert install.main("demo") == 0
    assert Path(importlib.util.cache_from_source(str(tmp_path / "freehold" / "part.py"))).is_file()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The installer on x86-64 Linux, with a folder of its own to look into and locks that list one build."""
    module = installer()
    (tmp_path / "locks").mkdir()
    listed = hashlib.sha256(b"the build that is listed").hexdigest()
    (tmp_path / "locks" / "train-cpu.txt").write_text(f"torch==2.13.0 --hash=sha256:{listed}\n")
    for name in ("train.txt", "minilm.txt", "demo.txt", "sizes.json"):
        shutil.copy(ROOT / "locks" / name, tmp_path / "locks")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PIP_FIND_LINKS", f"file://{tmp_path}")
    return module


PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"


@pytest.mark.parametrize(
    ("wheel", "holds", "why"),
    [
        (f"torch-2.13.0+cpu-{PYTHON}-{PYTHON}-manylinux_2_28_x86_64.whl", "the build that is listed", ""),
        (f"torch-2.13.0+cpu-{PYTHON}-{PYTHON}-manylinux_2_28_x86_64.whl", "another", "is not the build that"),
        (f"torch-2.13.0+cpu-{PYTHON}-{PYTHON}-linux_aarch64.whl", "the build that is listed", "no CPU build"),
        ("torch-2.13.0+cpu-cp310-cp310-linux_x86_64.whl", "the build that is listed", "no CPU build"),
        (f"torch-2.13.0-{PYTHON}-{PYTHON}-linux_x86_64.whl", "the build that is listed", "no CPU build"),
    ],
)
def test_fine_tuning_comes_where_the_cpu_build_that_the_lock_lists_is_at_hand(
    install: ModuleType, wheel: str, holds: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / wheel).write_text(holds)
    assert install.tuning() == (() if why else ("train-cpu", "minilm"))
    said = capsys.readouterr().out
    assert why in said
    assert len(said.splitlines()) == bool(why)
    if why:
        size = re.search(r"`make demo WITH=train` adds it \((\d\.\d) GB with CUDA\)", said)
        assert size is not None
        assert 2 < float(size[1]) < 4


def test_on_a_mac_torch_comes_without_cuda(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.sys, "platform", "darwin")
    monkeypatch.setattr(install.platform, "machine", lambda: "arm64")
    assert install.tuning() == ("train-cpu", "minilm")
    wanted = install.wanted_of((ROOT / "locks" / "train.txt").read_text())
    assert "torch==2.13.0" in wanted
    assert not [name for name in wanted if name.startswith("nvidia")]


@pytest.mark.parametrize(("with_", "locks"), [("", "demo tuning"), ("train", "demo train minilm")])
def test_make_demo_asks_for_what_fine_tuning_needs(with_: str, locks: str) -> None:
    ran = subprocess.run(
        ["make", "-n", "demo", f"WITH={with_}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"tools/setup {locks}\n" in ran.stdout


def test_make_demo_on_postgres_brings_the_driver() -> None:
    ran = subprocess.run(
        ["make", "-n", "demo", "CONFIG=mine.yaml", "WITH="],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tools/setup demo postgres tuning\n" in ran.stdout
    assert "freehold demo --config mine.yaml\n" in ran.stdout


@pytest.mark.parametrize(("lock", "least", "most"), [("train", 2_000, 4_000), ("train-cpu", 200, 800)])
def test_the_two_builds_of_torch_are_announced_with_their_own_size(
    lock: str,
    least: int,
    most: int,
    install: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(install, "installed", set)
    install.announce((ROOT / "locks" / f"{lock}.txt").read_text())
    found = re.search(r"about ([\d.]+) ([GM])B in \d+ packages,\n", capsys.readouterr().out)
    assert found is not None
    assert least <= float(found[1]) * (1000 if found[2] == "G" else 1) <= most
