"""Who alone vouches for a provider: whoever shows another certificate on the way gets no word."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from authority import Authority

from freehold.engines.upstream_fake import FakeUpstream
from tests.gateway.conftest import Site


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    """The provider's own CA, which this machine does not know."""
    return Authority(tmp_path / "theirs", "theirs")


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Of somebody who reads along, and whom this machine was told to trust, as proxies of offices are."""
    made = Authority(tmp_path / "proxy", "proxy")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
    return made


def asked(site: Site, http: httpx.Client, key: str, service: str) -> httpx.Response:
    body = {"model": service, "messages": [{"role": "user", "content": "good day"}]}
    headers = {"authorization": f"Bearer {key}"}
    return http.post(f"{site.url}/v1/chat/completions", json=body, headers=headers)


@pytest.mark.parametrize("named", ["its CA", "its own certificate"])
def test_who_is_vouched_for_is_asked_although_the_machine_does_not_know_them(
    site: Site, http: httpx.Client, theirs: Authority, named: str
) -> None:
    shown = theirs.host()
    url = site.stands(FakeUpstream(), shown)
    vouches = theirs.ca if named == "its CA" else shown.certificate
    site.attached(url, "vouched", ca=vouches.read_text())
    site.attached(url, "others")
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    assert asked(site, http, key, "vouched").status_code == 200
    away = asked(site, http, key, "others")
    assert (away.status_code, away.json()["error"]["code"]) == (502, "upstream_away")


def test_somebody_on_the_way_whom_the_machine_trusts_gets_no_word(
    site: Site, http: httpx.Client, theirs: Authority, proxy: Authority
) -> None:
    fake = FakeUpstream()
    url = site.stands(fake, proxy.host())
    site.attached(url, "vouched", ca=theirs.ca.read_text())
    site.attached(url, "others")
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    assert asked(site, http, key, "others").status_code == 200, "the machine takes it for the provider"
    refused = asked(site, http, key, "vouched")
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_away")
    assert len(fake.heard) == 1
