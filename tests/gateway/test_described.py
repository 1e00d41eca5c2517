"""Whatever its description allows, and what it does not: the gateway answers as described, always."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from by_description import CASES, ask_everything

from freehold.gateway.described import document
from freehold.gateway.questions import PATHS
from freehold.spec.snapshot import GuardView
from tests.gateway.conftest import COLUMNS, Site

GUARD = GuardView(pii="mask", secrets="mask", injection="observe", budget=60_000)
SERVICES = ("triage", "risk", "letters", "chat", "guarded")


@pytest.fixture
def gateway(site: Site) -> tuple[str, str]:
    """One gateway with a service of each kind behind it; its address, and a key for all of them."""
    site.own("triage")
    site.own("risk", COLUMNS)
    site.writes("letters")
    _, upstream = site.upstream()
    site.attached(upstream, "chat")
    site.attached(upstream, "guarded", guard_in=GUARD, guard_out=GUARD)
    key = site.key(purpose="claims-handling")
    site.publish()
    return site.up(), key


def asked(gateway: tuple[str, str], cases: int) -> dict[int, int]:
    url, key = gateway
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    with requests.Session() as session:
        session.trust_env = False

        def send(case: Any) -> Any:
            return case.call(base_url=url, session=session, headers={"authorization": f"Bearer {key}"})

        # 502: the fake provider did not take it, and is told to be at fault; 503: a guard could not look
        found = ask_everything(schema, send, cases=cases, known=SERVICES, broken=lambda s: s in (500, 504))
    return dict(found)


@pytest.mark.timeout(300)
def test_hundreds_of_requests_are_answered_as_described(gateway: tuple[str, str]) -> None:
    told = asked(gateway, 200)
    assert told.get(200, 0) > 20, "a good part of it is answered"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_requests_are_answered_as_described(gateway: tuple[str, str]) -> None:
    told = asked(gateway, CASES + CASES // 3)  # some ways of asking have fewer cases than that
    print(told)
    assert sum(told.values()) >= CASES


def test_every_path_where_questions_are_asked_is_described() -> None:
    paths = document()["paths"]
    assert {path for path in paths if "post" in paths[path]} == {*PATHS, "/v2/models/{model}/infer"}
