"""The recorder, an installation to begin from, and work that was recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from freehold.store.home import Home
from tests.durability.cuts import NEEDS, Asked, Record, build, installation, recorded


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip(NEEDS)
    return build(tmp_path_factory.mktemp("recorder"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return installation(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def work(recorder: Path, template: Home, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A good deal of everything."""
    return recorded(
        recorder, template, tmp_path_factory.mktemp("work") / "it", Asked(answers=1_500, batch=30)
    )


@pytest.fixture(scope="session")
def little(recorder: Path, template: Home, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """So little that each of its writes can be looked at."""
    return recorded(recorder, template, tmp_path_factory.mktemp("little") / "it", Asked(answers=30, seed=11))
