"""A caller may be for services up to a sensitivity: what a model says may tell of what it learned."""

from __future__ import annotations

import httpx
import pytest

from freehold.spec.sensitivity import Sensitivity
from tests.gateway.conftest import QUICK, Site

INTERNAL, CONFIDENTIAL = int(Sensitivity.INTERNAL), int(Sensitivity.CONFIDENTIAL)


def ask(site: Site, key: str, service: str) -> httpx.Response:
    body = {"model": service, "messages": [{"role": "user", "content": "good day"}]}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(
        f"{site.url}/v1/chat/completions", json=body, headers=headers, trust_env=False, timeout=20
    )


def test_a_service_above_what_a_key_may_ask_refuses_it_and_the_refusal_is_recorded(site: Site) -> None:
    fake, url = site.upstream()
    site.attached(url, "open", sensitivity=INTERNAL)
    site.attached(url, "inner", sensitivity=CONFIDENTIAL)
    low = site.key(purpose="claims-handling", sensitivity=INTERNAL)
    high = site.key(purpose="claims-handling", sensitivity=CONFIDENTIAL)
    site.publish()
    site.up(QUICK)
    assert [ask(site, low, "open").status_code, ask(site, high, "inner").status_code] == [200, 200]
    heard = len(fake.heard)
    refused = ask(site, low, "inner")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "sensitivity_refused")
    assert "it is Confidential, and they may ask up to Internal" in refused.json()["error"]["message"]
    assert len(fake.heard) == heard
    end = site.closed(refused.headers["x-freehold-answer"]).close
    assert (end.ending, end.reason) == ("denied", "sensitivity-refused")


def test_a_key_is_told_of_no_service_above_what_it_may_ask(site: Site) -> None:
    _, url = site.upstream()
    site.attached(url, "open", sensitivity=INTERNAL)
    site.attached(url, "inner", sensitivity=CONFIDENTIAL)
    low, high = site.key(sensitivity=INTERNAL), site.key(sensitivity=CONFIDENTIAL)
    site.publish()
    site.up(QUICK)

    def told(key: str, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.get(f"{site.url}{path}", headers=headers, trust_env=False, timeout=20)

    def listed(key: str) -> list[str]:
        return [one["id"] for one in told(key, "/v1/models").json()["data"]]

    assert (listed(low), sorted(listed(high))) == (["open"], ["inner", "open"])
    for path in ("/v1/models/inner", "/v2/models/inner", "/v2/models/inner/ready"):
        hidden, missing = told(low, path), told(low, path.replace("inner", "innermost"))
        assert (told(high, path).status_code, hidden.status_code) == (200, 404)
        assert hidden.text == missing.text.replace("innermost", "inner"), "as one that is not there"


@pytest.mark.parametrize(("clearance", "status"), [(None, 200), (CONFIDENTIAL, 200), (INTERNAL, 502)])
def test_who_stands_in_is_no_more_sensitive_than_the_caller_may_ask(
    site: Site, clearance: int | None, status: int
) -> None:
    _, url = site.upstream()
    site.attached(site.nobody(), "chat", sensitivity=INTERNAL, fallback=("second",), inside=True)
    site.attached(url, "second", sensitivity=CONFIDENTIAL, inside=True, serving_digest="sha256:" + "b" * 64)
    key = site.key(purpose="claims-handling", sensitivity=clearance)
    site.publish()
    site.up(QUICK)
    assert ask(site, key, "chat").status_code == status
