"""One request from who asks to its record."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Site


def ask(http: httpx.Client, site: Site, key: str, **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", **fields.pop("headers", {})}
    body = {"model": "triage", "messages": [{"role": "user", "content": "water in the kitchen"}], **fields}
    return http.post(f"{site.url}/v1/chat/completions", json=body, headers=headers)


def test_a_classifier_answers_a_chat_and_the_record_says_so(site: Site, http: httpx.Client) -> None:
    key = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    site.up()
    answer = ask(http, site, key)
    assert answer.status_code == 200, answer.text
    content = answer.json()["choices"][0]["message"]["content"]
    assert '"class":' in content
    end = site.closed(answer.headers["x-freehold-answer"])
    assert end.close.ending == "answered"
