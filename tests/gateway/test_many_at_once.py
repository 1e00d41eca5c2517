"""Many small requests at once: everybody is answered in their own words, and each answer is recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import httpx

from tests.gateway.conftest import QUICK, Site

MANY = 200


async def asked(url: str, key: str) -> list[httpx.Response]:
    """All of them under way together: none of them is answered within half a second."""
    limits = httpx.Limits(max_connections=MANY)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60, trust_env=False) as http:

        def one(number: int) -> asyncio.Task[httpx.Response]:
            said = {"role": "user", "content": f"number {number}. [delay 0.5]"}
            body = {"model": "chat", "messages": [said]}
            return asyncio.create_task(http.post(f"{url}/v1/chat/completions", json=body))

        return list(await asyncio.gather(*(one(number) for number in range(MANY))))


def test_two_hundred_at_once_are_all_answered_and_recorded(site: Site) -> None:
    fake, upstream = site.upstream()
    site.attached(upstream)
    key = site.key(purpose="claims-handling")
    site.publish()
    patient = replace(QUICK, connect=20, silence=20, record=20)  # one loop is their provider, too
    answers = asyncio.run(asked(site.up(patient), key))
    assert {answer.status_code for answer in answers} == {200}
    for number, answer in enumerate(answers):
        assert f"number {number}." in answer.json()["choices"][0]["message"]["content"]
    assert len(fake.heard) == MANY
    ids = {answer.headers["x-freehold-answer"] for answer in answers}
    assert len(ids) == MANY
    assert {site.closed(id).close.ending for id in ids} == {"answered"}
