"""A real browser before a real server: Chromium without a screen, control and console on a free port."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from serving import serving

from freehold.console.site import mount
from freehold.control.routes import answers, ledger
from tests.control.conftest import House, house
from tests.control.test_lineage import line

__all__ = ["house", "line"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium, without a screen.

    For one module at a time: its driver keeps an event loop running in this thread, and what comes after
    may want one of its own.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("this machine has no chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright for chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(house: House) -> Iterator[str]:
    """Where `house` is served: the routes that pages call, and the console behind them."""
    app = FastAPI()
    for routes in (ledger, answers):
        app.include_router(routes.router(house.parts))
    mount(app, house.parts)
    house.parts.sequencer.start()
    with serving(app) as url:
        yield url
    house.parts.sequencer.stop()

    """Where pictures go when somebody wants to look at them: the folder in FREEHOLD_SHOTS."""
    import os

    named = os.environ.get("FREEHOLD_SHOTS")
    return Path(named) if named else None
