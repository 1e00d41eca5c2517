"""TLS at the gateway's edge, and callers who show a certificate."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import ssl
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
from authority import DAY, Authority

from freehold import tls
from freehold.gateway.bounds import Bounds
from freehold.gateway.peer import Peer
from freehold.gateway.who import CertificateVoid, CertificateWithoutRights, recognize
from freehold.spec.snapshot import GrantView, Most
from freehold.tls import CaUnusable, CertificateUnusable, Pair, PrivateKeyUnusable, read_ca
from tests.gateway.conftest import QUICK, Site


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def secure(site: Site, authority: Authority) -> Site:
    """A gateway that shows a certificate."""
    site.tls = authority.host()
    site.url = site.url.replace("http:", "https:")
    return site


def client(authority: Authority, shown: Pair | None = None) -> httpx.Client:
    """Somebody who trusts the authority; `shown` is their own certificate."""
    context = tls.trusting(str(authority.ca))
    if shown:
        context.load_cert_chain(shown.certificate, shown.key)
    return httpx.Client(verify=context, timeout=10, trust_env=False)


def ask(http: httpx.Client, site: Site, key: str = "", **headers: str) -> httpx.Response:
    body = {"model": "triage", "messages": [{"role": "user", "content": "water"}]}
    sent = {"authorization": f"Bearer {key}"} if key else {}
    return http.post(f"{site.url}/v1/chat/completions", json=body, headers={**sent, **headers})


def test_a_caller_who_trusts_the_ca_is_answered(secure: Site, authority: Authority) -> None:
    secure.own()
    key = secure.key(purpose="claims-handling")
    secure.publish()
    secure.up()
    with client(authority) as http:
        assert ask(http, secure, key).status_code == 200
    with httpx.Client(verify=tls.trusting(), trust_env=False) as http, pytest.raises(httpx.ConnectError):
        ask(http, secure, key)


def test_what_is_old_is_not_spoken(secure: Site, authority: Authority) -> None:
    secure.publish()
    secure.up()
    old = tls.trusting(str(authority.ca))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a version so old
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")  # else we would refuse it ourselves
    with pytest.raises(ssl.SSLError):
        _shake(secure, old)
    weak = tls.trusting(str(authority.ca))
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("AES128-SHA")
    with pytest.raises(ssl.SSLError):
        _shake(secure, weak)
    assert _shake(secure, tls.trusting(str(authority.ca))) == "TLSv1.3"


def _shake(site: Site, context: ssl.SSLContext) -> str | None:
    raw = socket.create_connection(("127.0.0.1", int(site.url.rsplit(":", 1)[1])), timeout=10)
    with context.wrap_socket(raw, server_hostname="localhost") as shaken:
        return shaken.version()


def test_a_renewed_certificate_is_shown_without_a_restart(secure: Site, authority: Authority) -> None:
    secure.publish()
    secure.up()
    with client(authority) as http:
        assert http.get(f"{secure.url}/v2/health/live").status_code == 200
        before = _certificate(secure, authority)
        authority.host()
        assert _certificate(secure, authority) != before
        assert http.get(f"{secure.url}/v2/health/live").status_code == 200  # on the connection that stood


def test_a_renewal_that_cannot_be_used_changes_nothing(
    secure: Site, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    secure.publish()
    secure.up()
    before = _certificate(secure, authority)
    assert secure.tls is not None
    kept = secure.tls.key.read_bytes()
    secure.tls.key.write_bytes(authority.host("other").key.read_bytes())
    with caplog.at_level(logging.ERROR, logger="freehold.tls"):
        assert _certificate(secure, authority) == before
    assert "the one before goes on" in caplog.text
    secure.tls.key.write_bytes(kept)


def _certificate(site: Site, authority: Authority) -> bytes:
    context = tls.trusting(str(authority.ca))
    raw = socket.create_connection(("127.0.0.1", int(site.url.rsplit(":", 1)[1])), timeout=10)
    with context.wrap_socket(raw, server_hostname="localhost") as shaken:
        return shaken.getpeercert(binary_form=True) or b""


def test_somebody_who_does_not_finish_the_handshake_is_cut_off(secure: Site) -> None:
    secure.publish()
    secure.up(Bounds(**{**_fields(QUICK), "header_wait": 0.2}))
    with socket.create_connection(("127.0.0.1", int(secure.url.rsplit(":", 1)[1])), timeout=10) as silent:
        assert silent.recv(1) == b""


def _fields(bounds: Bounds) -> dict[str, Any]:
    return {name: getattr(bounds, name) for name in Bounds.__slots__}


def test_two_gateways_take_turns_on_one_socket_without_a_failed_request(
    secure: Site, authority: Authority
) -> None:
    secure.own()
    key = secure.key(purpose="claims-handling")
    secure.publish()
    secure.up()
    with client(authority) as http:
        for _ in range(3):
            secure.up()
            assert ask(http, secure, key).status_code == 200
            secure.down()
            assert ask(http, secure, key).status_code == 200


# -- files ------------------------------------------------------------------------------------------


def test_files_that_cannot_be_used_say_why(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.host(), authority.host("other")
    ended = authority.host("ended", lasts=-DAY)
    closed = authority.host("closed", password="secret")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("hello")
    nothing.chmod(0o600)
    open_key = authority.host("open")
    open_key.key.chmod(0o640)
    for pair, failure, why in (
        (Pair(certificate=tmp_path / "none", key=good.key), CertificateUnusable, "No such file"),
        (Pair(certificate=good.certificate, key=tmp_path / "none"), PrivateKeyUnusable, "No such file"),
        (Pair(certificate=nothing, key=good.key), CertificateUnusable, "no certificate in it"),
        (Pair(certificate=good.certificate, key=nothing), PrivateKeyUnusable, "no private key in it"),
        (Pair(certificate=good.certificate, key=other.key), PrivateKeyUnusable, "it is not the key of"),
        (ended, CertificateUnusable, "it expired on"),
        (closed, PrivateKeyUnusable, "it takes a password"),
        (open_key, PrivateKeyUnusable, "others may read it: its mode is 0640"),
    ):
        with pytest.raises(failure) as told:
            tls.serving(pair)
        assert why in told.value.why
    with pytest.raises(CaUnusable):
        read_ca(nothing)
    with pytest.raises(CaUnusable):
        tls.trusting(str(nothing))


def test_a_pinned_certificate_counts_under_any_name_and_after_its_end(
    secure: Site, authority: Authority
) -> None:
    secure.publish()
    secure.up()
    assert secure.tls is not None
    pin = tls.pinned(secure.tls.certificate)
    with httpx.Client(verify=pin, trust_env=False) as http:
        assert http.get(f"{secure.url}/v2/health/live").status_code == 200
    authority.host()  # renewed: both sides follow
    with httpx.Client(verify=pin, trust_env=False) as http:
        assert http.get(f"{secure.url}/v2/health/live").status_code == 200
    stranger = tls.pinned(authority.host("other").certificate)
    with httpx.Client(verify=stranger, trust_env=False) as http, pytest.raises(httpx.ConnectError):
        http.get(f"{secure.url}/v2/health/live")


# -- client certificates ----------------------------------------------------------------------------


def grants(site: Site, authority: Authority, *names: str, **fields: Any) -> None:
    given = {"project": "claims", "services": (), "purpose": "claims-handling", **fields}
    found = tuple(GrantView(name=name, **given) for name in names)
    site.callers = {"client_ca": read_ca(authority.ca), "certificates": found}


@pytest.mark.parametrize(
    "named", [{"uri": "spiffe://bank/claims"}, {"dns": "claims.bank.example"}, {"cn": "claims"}]
)
def test_a_certificate_that_a_grant_names_may_ask(
    secure: Site, authority: Authority, named: dict[str, str]
) -> None:
    secure.own()
    [(kind, name)] = named.items()
    grants(secure, authority, f"{kind}:{name}")
    secure.publish()
    secure.up()
    with client(authority, authority.caller(**named)) as http:
        answer = ask(http, secure)
        assert answer.status_code == 200
        assert http.get(f"{secure.url}/v1/models").json()["data"][0]["id"] == "triage"
    begun = secure.begun(answer.headers["x-freehold-answer"])
    assert begun.intent.key.startswith("crt_")
    assert name not in begun.intent.key


def test_a_certificate_that_no_grant_names_may_not(secure: Site, authority: Authority) -> None:
    secure.own()
    grants(secure, authority, "uri:spiffe://bank/claims")
    secure.publish()
    secure.up()
    with client(authority, authority.caller(uri="spiffe://bank/other")) as http:
        refused = ask(http, secure)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "certificate_without_rights"


def test_without_a_certificate_a_key_is_asked_for_and_counts(secure: Site, authority: Authority) -> None:
    secure.own()
    key = secure.key(purpose="claims-handling")
    grants(secure, authority, "cn:claims")
    secure.publish()
    secure.up()
    with client(authority) as http:
        assert ask(http, secure).status_code == 401
        assert ask(http, secure, key).status_code == 200


def test_a_wrong_key_is_not_made_good_by_a_certificate(secure: Site, authority: Authority) -> None:
    secure.own()
    grants(secure, authority, "cn:claims")
    secure.publish()
    secure.up()
    with client(authority, authority.caller("claims")) as http:
        assert ask(http, secure, "fhs_wrong").status_code == 401


def test_certificates_of_others_and_of_yesterday_do_not_come_in(
    secure: Site, authority: Authority, tmp_path: Path
) -> None:
    secure.own()
    grants(secure, authority, "cn:claims")
    secure.publish()
    secure.up()
    other = Authority(tmp_path / "other").caller("claims")
    host = authority.host("claims")  # for a host, not for a caller
    ended = Authority(tmp_path / "ended")  # the right name of another authority
    for shown in (other, ended.caller("claims"), host):
        with client(authority, shown) as http, pytest.raises(httpx.TransportError):
            ask(http, secure)
    with (
        client(authority, authority.caller("claims", lasts=-DAY)) as http,
        pytest.raises(httpx.TransportError),
    ):
        ask(http, secure)


def test_a_ca_that_counts_no_more_ends_with_the_rules(
    secure: Site, authority: Authority, tmp_path: Path
) -> None:
    """Also on the connections that stand."""
    secure.own()
    grants(secure, authority, "cn:claims")
    secure.publish()
    secure.up()
    with client(authority, authority.caller("claims")) as http:
        assert ask(http, secure).status_code == 200
        grants(secure, Authority(tmp_path / "other"), "cn:claims")
        secure.publish()
        refused = ask(http, secure)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "certificate_void"


def test_a_connection_does_not_outlive_its_certificate() -> None:
    from types import SimpleNamespace

    peer = Peer(names=frozenset({"cn:claims"}), until=1_000, ca="ca")
    heads: Any = SimpleNamespace(authorization=None, certificate=peer)
    rules: Any = SimpleNamespace(
        snapshot=SimpleNamespace(client_ca="ca", certificates=(_grant(),)),
        subject=lambda *_: "0" * 64,
        restraints={},
    )
    known: list[str] = []
    assert recognize(heads, rules, 999, known.append).key.project == "claims"
    with pytest.raises(CertificateVoid):
        recognize(heads, rules, 1_000, known.append)
    assert known[0] == known[1], "whose it is was proved when the connection was made"
    rules.snapshot.certificates = ()
    with pytest.raises(CertificateWithoutRights):
        recognize(heads, rules, 999, known.append)
    assert known[2] == known[0]
    rules.snapshot.client_ca = "another"
    with pytest.raises(CertificateVoid):
        recognize(heads, rules, 999, known.append)
    assert len(known) == 3


def _grant() -> GrantView:
    return GrantView(project="claims", services=(), purpose=None, most=Most(), name="cn:claims")


def test_answers_kept_for_one_certificate_are_given_to_no_other(secure: Site, authority: Authority) -> None:
    secure.own()
    grants(secure, authority, "cn:one", "cn:two")
    secure.publish()
    secure.up()
    again = {"idempotency-key": "same"}
    with client(authority, authority.caller("one")) as one, client(authority, authority.caller("two")) as two:
        first = ask(one, secure, **again).headers["x-freehold-answer"]
        assert ask(one, secure, **again).headers["x-freehold-answer"] == first
        assert ask(two, secure, **again).headers["x-freehold-answer"] != first


def test_the_time_left_is_told(authority: Authority) -> None:
    left = tls.ends_at(authority.host().certificate) - dt.datetime.now(dt.UTC)
    assert 89 * DAY < left < 91 * DAY


def test_the_ca_of_our_own_clients_is_not_everybodys(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control fetches a provider's keys by this machine's CAs, whatever its shell says of control's."""
    monkeypatch.setenv("FREEHOLD_CA", str(authority.ca))
    assert len(tls.trusting_as_said().get_ca_certs()) == 1
    others = {str(one) for one in tls.trusting().get_ca_certs()}
    assert not others & {str(one) for one in tls.trusting_as_said().get_ca_certs()}
