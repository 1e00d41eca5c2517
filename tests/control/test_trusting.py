"""Control reads the keys of identity providers and a CA, and hands them to gateways in the signed rules."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from authority import DAY, Authority
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from freehold.control import progress, trusting
from freehold.control.trusting import ASK, Trusting, ending
from freehold.release import publish
from freehold.spec.callers import Callers, CertificateGrant, Certificates, TokenGrant, Tokens
from freehold.spec.config import Tls
from freehold.spec.ids import now
from freehold.spec.snapshot import Snapshot
from freehold.store.tables import entries

ISSUER = "https://login.bank.example"


def jwks(*kids: str) -> bytes:
    keys = []
    for kid in kids:
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        keys.append({**ECAlgorithm.to_jwk(public, as_dict=True), "kid": kid})
    return json.dumps({"keys": keys}).encode()


def issuer(keys: str, **fields: Any) -> Tokens:
    grants = (TokenGrant(project="claims", services=("triage",), where={"groups": "desk"}, limits="60/min"),)
    return Tokens(**{"issuer": ISSUER, "audience": "freehold", "keys": keys, "grants": grants, **fields})


@pytest.fixture
def declared(house: Any, tmp_path: Path) -> Path:
    """A provider's keys in a file."""
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks("one"))
    return path


def looking(house: Any, *tokens: Tokens, **certificates: Any) -> Trusting:
    callers = Callers(tokens=tokens, certificates=Certificates(**certificates))
    return Trusting(ground=house.parts.ground, callers=callers, trusted=house.parts.trusted)


def served(house: Any) -> Snapshot:
    ground = house.parts.ground
    with ground.db.read() as conn:
        return publish.build(conn, ground, ix=1, entry="ent_1", at=ground.clock())


def published(house: Any) -> int:
    with house.parts.ground.db.read() as conn:
        return publish.newest_ix(conn)


def said(house: Any) -> list[Any]:
    with house.parts.ground.db.read() as conn:
        rows = conn.execute(entries.select().where(entries.c.kind == "callers.declared"))
        return [json.loads(row.body)["detail"] for row in rows]


def test_what_is_declared_stands_in_the_rules_and_in_the_ledger_once(house: Any, declared: Path) -> None:
    look = looking(house, issuer(str(declared), subject="customer"))
    before = published(house)
    look.once()
    look.once()
    assert published(house) == before + 1
    (view,) = served(house).issuers
    assert (view.issuer, view.audience, view.leeway, view.subject) == (ISSUER, "freehold", 30, "customer")
    assert [(key.kid, key.algorithms) for key in view.keys] == [("one", ("ES256",))]
    (grant,) = view.grants
    assert (grant.project, grant.services, grant.where) == ("claims", ("triage",), {"groups": "desk"})
    assert grant.most.requests == 60
    (detail,) = said(house)
    assert detail["issuers"] == 1
    assert "desk" not in json.dumps(detail)


def test_a_changed_key_is_published_by_itself(house: Any, declared: Path) -> None:
    look = looking(house, issuer(str(declared)))
    look.once()
    declared.write_bytes(jwks("one", "two"))
    look.once()
    assert [key.kid for key in served(house).issuers[0].keys] == ["one", "two"]


def test_what_is_no_longer_declared_is_taken_back(house: Any, declared: Path) -> None:
    looking(house, issuer(str(declared))).once()
    looking(house).once()
    assert served(house).issuers == ()
    assert len(said(house)) == 2


def test_keys_that_cannot_be_read_go_on_and_are_told(house: Any, declared: Path) -> None:
    looking(house, issuer(str(declared))).once()
    declared.write_text("not yet written")
    looking(house, issuer(str(declared), audience="other")).once()  # control began anew, and was told more
    (view,) = served(house).issuers
    assert [key.kid for key in view.keys] == ["one"]
    assert view.audience == "other"
    (sentence,) = progress.status(house.parts, None)["wrong"]
    assert sentence.startswith(f"the keys of `{ISSUER}` cannot be used: it is no JWKS")
    declared.write_bytes(jwks("two"))
    looking(house, issuer(str(declared))).once()
    assert progress.status(house.parts, None)["wrong"] == []


def test_without_any_key_no_token_counts(house: Any, tmp_path: Path) -> None:
    looking(house, issuer(str(tmp_path / "none.json"))).once()
    assert served(house).issuers[0].keys == ()
    assert "No such file" in progress.status(house.parts, None)["wrong"][0]


def test_a_grant_in_no_project_or_in_other_money_gives_nothing(house: Any, declared: Path) -> None:
    grants = (
        TokenGrant(project="nowhere"),
        TokenGrant(project="claims", limits="2 XTS/day"),
        TokenGrant(project="claims", purpose="claims-handling"),
    )
    looking(house, issuer(str(declared), grants=grants)).once()
    assert [grant.purpose for grant in served(house).issuers[0].grants] == ["claims-handling"]
    wrong = progress.status(house.parts, None)["wrong"]
    assert [sentence.split("`")[3] for sentence in wrong] == ["claims", "nowhere"]
    house.project("nowhere")
    assert len(served(house).issuers[0].grants) == 2


def test_certificates_travel_with_their_ca(house: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    grants = (CertificateGrant(name="uri:spiffe://bank/claims", project="claims"),)
    look = looking(house, ca=str(authority.ca), grants=grants)
    look.once()
    view = served(house)
    assert view.client_ca == authority.ca.read_text().strip()
    assert [grant.name for grant in view.certificates] == ["uri:spiffe://bank/claims"]
    authority.ca.unlink()
    look.once()
    assert served(house).client_ca
    assert "the one read last goes on" in progress.status(house.parts, None)["wrong"][0]


def test_the_thread_looks_by_itself_and_leaves(house: Any, declared: Path) -> None:
    look = looking(house, issuer(str(declared)))
    look.start()
    deadline = time.monotonic() + 20
    while not served(house).issuers and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    look.stop()
    assert served(house).issuers
    assert "callers" not in {thread.name for thread in threading.enumerate()}


def test_where_another_control_leads_this_one_does_not_look(house: Any, declared: Path) -> None:
    asked = threading.Event()
    look = looking(house, issuer(str(declared)))
    look.leads = lambda: bool(asked.set())
    look.start()
    assert asked.wait(20)
    look.stop()
    assert served(house).issuers == ()


# -- addresses --------------------------------------------------------------------------------------


class Provider:
    """An identity provider's address, as it answers now."""

    def __init__(self) -> None:
        self.status, self.text, self.asked = 200, jwks("one"), 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                self.send_response(provider.status)
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(provider.text)

            def log_message(self, *_: Any) -> None:
                return

        return Handler

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/keys"


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_address_is_asked_now_and_then(house: Any, provider: Provider) -> None:
    look = looking(house, issuer(provider.url))
    for _ in range(ASK):
        look.once()
    assert provider.asked == 1
    provider.text = jwks("two")
    look.once()
    assert [key.kid for key in served(house).issuers[0].keys] == ["two"]


def down(provider: Provider) -> None:
    provider.status = 503


def elsewhere(provider: Provider) -> None:
    provider.status = 302


def endless(provider: Provider) -> None:
    provider.text = b" " * (trusting.LARGEST + 1)


def gone(provider: Provider) -> None:
    provider.server.shutdown()
    provider.server.server_close()


@pytest.mark.parametrize(
    ("breaks", "why"),
    [(down, "answered 503"), (elsewhere, "answered 302"), (endless, "more than"), (gone, "ConnectError")],
)
def test_an_address_that_fails_leaves_the_keys_and_is_asked_again(
    house: Any, provider: Provider, breaks: Callable[[Provider], None], why: str
) -> None:
    look = looking(house, issuer(provider.url))
    look.once()
    breaks(provider)
    for _ in range(ASK):
        look.once()
    assert [key.kid for key in served(house).issuers[0].keys] == ["one"]
    assert why in progress.status(house.parts, None)["wrong"][0]


# -- our own certificate ----------------------------------------------------------------------------


def test_a_certificate_that_ends_soon_is_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    long, soon = authority.host("long"), authority.host("soon", lasts=3 * DAY)
    assert ending(Tls(), now()) == []
    assert ending(Tls(certificate=str(long.certificate)), now()) == []
    (sentence,) = ending(Tls(certificate=str(soon.certificate)), now())
    assert sentence.startswith("the certificate shown here ends on ")
    os.unlink(soon.certificate)
    assert "cannot be used" in ending(Tls(certificate=str(soon.certificate)), now())[0]
