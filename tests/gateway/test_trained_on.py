"""Rows unlike those a tabular model was trained on: flagged, refused, recorded without their values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from freehold.screen.domain import learn
from freehold.spec.domain import Domain
from freehold.spec.snapshot import GuardView, ServiceView
from tests.gateway.conftest import COLUMNS, Site

DOMAIN = learn(
    COLUMNS,
    {"age": [float(age) for age in range(20, 80)], "claims": [0, 1, 2] * 20, "member": [True, False] * 30},
)
STRANGE = 314_159


@pytest.fixture
def ask(site: Site, http: httpx.Client) -> Any:
    """Ask `scorer` by the Open Inference Protocol about persons of these ages."""
    key = site.key(purpose="claims-handling")
    site.own("scorer", COLUMNS)

    def asked(*ages: Any) -> httpx.Response:
        rows = {"age": list(ages), "claims": [1] * len(ages), "member": [True] * len(ages)}
        inputs = [
            {"name": c.name, "datatype": c.datatype, "shape": [len(ages)], "data": rows[c.name]}
            for c in COLUMNS
        ]
        headers = {"authorization": f"Bearer {key}"}
        return http.post(f"{site.url}/v2/models/scorer/infer", json={"inputs": inputs}, headers=headers)

    asked.key = key  # type: ignore[attr-defined]
    return asked


def serve(site: Site, domain: Domain | None, guard: GuardView, **fields: Any) -> None:
    """Serve `scorer` by a model with this domain."""
    service: ServiceView = site.services["scorer"]
    routes = tuple(replace(r, target=replace(r.target, domain=domain)) for r in service.routes)
    site.change("scorer", routes=routes, guard_in=guard, **fields)
    site.publish()
    site.up()


OBSERVE, REFUSE = GuardView(domain="observe"), GuardView(domain="refuse")


def test_an_observed_row_is_answered_and_the_answer_and_its_record_name_the_column(
    site: Site, ask: Any, http: httpx.Client
) -> None:
    serve(site, DOMAIN, OBSERVE, cache=600)
    inside = ask(31, 44)
    assert "parameters" not in inside.json()
    assert site.closed(inside.headers["x-freehold-answer"]).close.guards == ()
    for _ in range(2):  # the second one from the cache
        strange = ask(31, STRANGE, None)
        assert strange.status_code == 200
        assert strange.json()["parameters"] == {"outside_domain": {"age": 2}}
        assert site.closed(strange.headers["x-freehold-answer"]).close.guards == ("in domain observe: age 2",)
    counted = http.get(f"{site.url}/metrics").text
    assert 'guards_total{side="in",guard="domain",did="observe",' in counted
    assert str(STRANGE) not in counted


def test_a_refused_row_reaches_no_model_and_its_value_is_nowhere(site: Site, ask: Any) -> None:
    serve(site, DOMAIN, REFUSE)
    assert ask(31).status_code == 200
    refused = ask(STRANGE)
    assert refused.status_code == 400
    assert "`age`" in refused.text
    assert str(STRANGE) not in refused.text
    ended = site.closed(refused.headers["x-freehold-answer"])
    assert (ended.close.ending, ended.close.reason) == ("denied", "content-filter")
    assert ended.close.guards == ("in domain refuse: age 1",)
    assert ended.words is None
    begun = site.begun(refused.headers["x-freehold-answer"]).intent
    assert begun.release == site.services["scorer"].routes[0].release, "whose model knows no such rows"


def test_a_row_in_chat_is_held_to_the_domain_too(site: Site, ask: Any, http: httpx.Client) -> None:
    serve(site, DOMAIN, OBSERVE)

    def said(age: int) -> str:
        row = f'{{"age": {age}, "claims": 1, "member": true}}'
        body = {"model": "scorer", "messages": [{"role": "user", "content": row}]}
        headers = {"authorization": f"Bearer {ask.key}"}
        answer = http.post(f"{site.url}/v1/chat/completions", json=body, headers=headers).json()
        return str(answer["choices"][0]["message"]["content"])

    assert "outside_domain" not in said(31)
    assert '"outside_domain":["age"]' in said(STRANGE)


def test_a_model_from_before_domains_answers_on_and_its_records_say_so(site: Site, ask: Any) -> None:
    serve(site, None, REFUSE)
    answer = ask(STRANGE)
    assert answer.status_code == 200
    assert site.closed(answer.headers["x-freehold-answer"]).close.guards == ("in domain unknown",)


@pytest.mark.parametrize(
    "broken",
    [(), DOMAIN[1:], (replace(DOMAIN[0], low="young"), *DOMAIN[1:])],
    ids=["unread", "one column short", "no number"],
)
@pytest.mark.parametrize("guard", [OBSERVE, REFUSE])
def test_a_broken_domain_lets_nothing_through(site: Site, ask: Any, broken: Domain, guard: GuardView) -> None:
    serve(site, broken, guard)
    refused = ask(31)
    assert refused.status_code == 503
    ended = site.closed(refused.headers["x-freehold-answer"])
    assert (ended.close.ending, ended.close.guards) == ("denied", ("in domain unusable",))


def test_who_wants_nothing_looked_at_gets_an_answer(site: Site, ask: Any) -> None:
    serve(site, DOMAIN, GuardView(domain="none"))
    answer = ask(STRANGE)
    assert answer.status_code == 200
    assert site.closed(answer.headers["x-freehold-answer"]).close.guards == ()
