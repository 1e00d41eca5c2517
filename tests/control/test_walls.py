"""No route answers without the right key, whoever wrote it; and no role reaches over a project's wall."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from starlette.testclient import TestClient

from freehold.control import server
from freehold.spec.principal import ROLES

PUBLIC = (
    "/ledger/checkpoint",
    "/ledger/key",
    "/ledger/restored",
    "/ledger/consistency",
    "/ledger/tile/",
    "/api/openapi.json",
)
"""What anybody may read: proofs and the key that verifies them, the description of the routes, the page
that a notice links to."""


def there(name: str) -> bool:
    return find_spec(f"freehold.control.routes.{name}") is not None


@pytest.fixture
def client(house: Any) -> TestClient:
    client: TestClient = house.client(*filter(there, server.ROUTES))
    return client


def routes(client: TestClient) -> list[tuple[str, str]]:
    paths = client.app.openapi()["paths"]  # type: ignore[attr-defined]  # TestClient's app is a bare ASGI type
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def filled(path: str) -> str:
    """A path with something in place of its parameters."""
    import re

    return re.sub(r"\{[^}]*\}", "1", path)


def test_no_route_answers_without_a_key_or_with_one_of_another_zone(house: Any, client: TestClient) -> None:
    serving = house.serving_key("claims")
    border = {"authorization": f"Bearer {house.parts.home.gateway_border.read_text()}"}
    for method, path in routes(client):
        if path.startswith(PUBLIC):
            continue
        wrong = [{}, {"authorization": "Bearer fhc_x"}, serving]
        wrong.append(house.administrator if path.startswith("/border/") else border)
        for headers in wrong:
            answer = client.request(method, filled(path), headers=headers)
            assert answer.status_code in (400, 401), f"{method} {path} answered {answer.status_code}"
            if answer.status_code == 400:  # the body was looked at first; with a body it must be 401
                assert method != "GET", f"GET {path} looked at the request before the key"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_in_one_project_does_nothing_in_another(house: Any, client: TestClient, role: str) -> None:
    house.project("motor")
    house.person("mia@example.org", "motor/trainer")
    mia_key = house.control_key_of("mia@example.org")
    motor_key = house.serving_key_id("motor")
    _, ann = house.person("ann@example.org", f"claims/{role}")
    before = house.count()
    asked: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", "/api/people", {"email": "x@example.org", "roles": ["trainer"], "projects": ["motor"]}),
        ("POST", "/api/people", {"email": "x@example.org", "roles": ["trainer"]}),
        (
            "POST",
            "/api/people/roles",
            {"person": "mia@example.org", "give": ["auditor"], "projects": ["motor"]},
        ),
        (
            "POST",
            "/api/people/roles",
            {"person": "ann@example.org", "give": ["auditor"], "projects": ["motor"]},
        ),
        ("POST", "/api/people/lock", {"person": "mia@example.org"}),
        ("POST", "/api/projects", {"name": "fleet"}),
        ("POST", "/api/keys", {"zone": "serving", "project": "motor"}),
        ("POST", "/api/keys", {"zone": "control", "owner": "mia@example.org"}),
        ("DELETE", f"/api/keys/{motor_key}", None),
        ("DELETE", f"/api/keys/{mia_key}", None),
    ]
    for method, path, body in asked:
        answer = client.request(method, path, json=body, headers=ann)
        assert answer.status_code == 403, f"{method} {path}: {answer.text}"
    assert house.count() == before, "a refusal changes nothing but the ledger"
    assert len(house.entries("refusal")) == len(asked)
    for path in ("/api/projects", "/api/keys"):
        assert "motor" not in client.get(path, headers=ann).text
    seen = client.get("/api/people", headers=ann)
    assert seen.status_code == 403 or "mia@" not in seen.text
