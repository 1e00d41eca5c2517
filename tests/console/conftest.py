"""The console over a real house, and browsers without a screen: cookies, forms, pages."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.console.site import build
from tests.support.line import Line

_spec = importlib.util.spec_from_file_location(
    "freehold_tests_house", Path(__file__).parents[1] / "control" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_house = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _house
_spec.loader.exec_module(_house)
house = _house.house


class Browser(TestClient):
    """Keeps cookies, follows no redirect by itself, fills in forms' hidden fields."""

    def __init__(self, parts: Any, base_url: str = "http://testserver") -> None:
        super().__init__(build(parts), base_url=base_url, follow_redirects=False)

    def log_in(self, key: str, next: str = "/") -> Browser:
        token = token_of(self.get("/log-in").text)
        said = self.post("/log-in", data={"form": token, "key": key, "next": next})
        assert said.status_code == 303, said.text
        return self

    def fill_in(self, page: str, action: str, **fields: str) -> Any:
        """Post a form of `page` to `action` with the token the page carries."""
        return self.post(action, data={"form": token_of(self.get(page).text), **fields})


def token_of(page: str) -> str:
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found, page
    return found[1]


def words_of(page: str) -> str:
    """What a reader sees: no tags, single blanks."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture
def line(house: Any) -> Line:
    """Candidates, approvals and releases, and the people around them."""
    return Line(house)


@pytest.fixture
def at(house: Any, line: Line) -> Callable[..., Browser]:
    """`at("ann")`: the browser of one of them."""
    return lambda name, **more: Browser(house.parts).log_in(line.keys[name], **more)


@pytest.fixture
def browser(house: Any) -> Browser:
    """Nobody is signed in yet."""
    return Browser(house.parts)


@pytest.fixture
def signed_in(house: Any) -> Callable[..., Browser]:
    """`signed_in("claims/auditor")`: a browser of a person with these roles; the administrator's without."""

    def enter(*roles: str) -> Browser:
        if not roles:
            return Browser(house.parts).log_in(house.administrator_key)
        name = "-".join(role.replace("/", "-").replace("*", "all") for role in roles)
        _, header = house.person(f"{name}@example.org", *roles)
        return Browser(house.parts).log_in(header["authorization"].removeprefix("Bearer "))

    return enter
