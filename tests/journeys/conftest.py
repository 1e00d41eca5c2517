"""A whole installation for these tests; and worlds without processes, copied from one that was made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.store.home import Home
from tests.installation import installation
from tests.journeys.world import World, copy_of, make_live, make_template

__all__ = ["installation"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """With people and a data set. Never opened itself, only copied."""
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A while later: its service is live, its data has a second version."""
    from tests.journeys.test_deliver import SERVICE

    return make_live(
        make_template(tmp_path_factory.mktemp("before")), tmp_path_factory.mktemp("live"), SERVICE
    )


@pytest.fixture
def world(template: Home, tmp_path: Path) -> Iterator[World]:
    """A copy for one test. A module of which `template` is another one begins there."""
    made = World(copy_of(template, tmp_path))
    yield made
    made.close()
