"""Tokens of identity providers: what opens the door, and every known way to forge one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from types import SimpleNamespace
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from freehold.errors import Failure
from freehold.gateway.tokens import TokenEarly, TokenExpired, Tokens, TokenVoid, TokenWithoutRights
from freehold.gateway.who import recognize
from freehold.spec.snapshot import GrantView, IssuerView, Most, TokenKey
from tests.gateway.conftest import Site

ISSUER, AUDIENCE = "https://login.bank.example/realms/bank", "freehold"
NOW = int(time.time())
DAY = 86_400
"""Seconds: the suite may take longer than a token usually lives."""
KEYS: dict[str, Any] = {
    "ed": Ed25519PrivateKey.generate(),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}
SIGNS = {"ed": "EdDSA", "ec": "ES256", "rsa": "RS256"}


def spki(name: str) -> bytes:
    public: bytes = KEYS[name].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public


def pem(name: str) -> bytes:
    public: bytes = KEYS[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def published(*names: str) -> tuple[TokenKey, ...]:
    return tuple(
        TokenKey(kid=name, spki=base64.b64encode(spki(name)).decode(), algorithms=(SIGNS[name],))
        for name in names
    )


def grant(**fields: Any) -> GrantView:
    given = {"project": "claims", "services": (), "purpose": "claims-handling", "most": Most(), **fields}
    return GrantView(**given)


def issuer(*grants: GrantView, keys: tuple[str, ...] = ("ed", "ec", "rsa"), **fields: Any) -> IssuerView:
    given = {"issuer": ISSUER, "audience": AUDIENCE, "leeway": 30, "subject": "", **fields}
    return IssuerView(keys=published(*keys), grants=grants or (grant(),), **given)


def token(name: str = "ed", kid: str | None = "", head: dict[str, Any] | None = None, **claims: Any) -> str:
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "clerk-7", "exp": NOW + DAY, **claims}
    said = {key: value for key, value in said.items() if value is not None}
    heads = {**({"kid": kid or name} if kid is not None else {}), **(head or {})}
    return jwt.encode(said, KEYS[name], algorithm=SIGNS[name], headers=heads)


def micros(seconds: float = 0) -> int:
    return int((NOW + seconds) * 1_000_000)


@pytest.mark.parametrize("name", KEYS)
def test_a_token_of_the_issuer_is_read(name: str) -> None:
    read = Tokens([issuer()]).read(token(name), micros())
    assert read.claims["sub"] == "clerk-7"
    assert read.grant().project == "claims"


# -- forged -----------------------------------------------------------------------------------------


def part(said: Any) -> str:
    return text(json.dumps(said).encode())


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unsigned() -> str:
    return f"{part({'alg': 'none', 'kid': 'ed'})}.{token().split('.')[1]}."


def hashed(name: str, how: bytes) -> str:
    """HS256 with the public key as the password: CVE-2015-9235, and again in many libraries since."""
    signed = f"{part({'alg': 'HS256', 'kid': name})}.{token(name).split('.')[1]}"
    return f"{signed}.{text(hmac.new(how, signed.encode(), hashlib.sha256).digest())}"


def embedded() -> str:
    """A key that the token brings itself."""
    stranger = Ed25519PrivateKey.generate()
    said = {"kty": "OKP", "crv": "Ed25519", "x": text(stranger.public_key().public_bytes_raw())}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "clerk-7", "exp": NOW + DAY}
    heads = {"kid": "ed", "jwk": said, "jku": "https://evil.example/keys"}
    return jwt.encode(claims, stranger, algorithm="EdDSA", headers=heads)


def changed() -> str:
    head, body, signature = token().split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{part({**said, 'sub': 'director'})}.{signature}"


def claimed(said: Any) -> str:
    """Signed as it should be, over claims of our own making."""
    raw = jwt.PyJWS().encode(
        said if isinstance(said, bytes) else json.dumps(said).encode(),
        KEYS["ed"],
        algorithm="EdDSA",
        headers={"kid": "ed"},
    )
    return raw


FORGED = {
    "not signed": unsigned,
    "signed with the public key, PEM": lambda: hashed("rsa", pem("rsa")),
    "signed with the public key, DER": lambda: hashed("rsa", spki("rsa")),
    "signed with the public key of a curve": lambda: hashed("ed", pem("ed")),
    "signed with an empty password": lambda: hashed("ed", b""),
    "brings its own key": embedded,
    "changed after signing": changed,
    "signed by the wrong one of its keys": lambda: token("ed", kid="ec"),
    "of a key nobody published": lambda: token(kid="other"),
    "without the name of its key": lambda: token(kid=None),
    "with a part that must be understood": lambda: token(head={"crit": ["b64"], "b64": False}),
    "for somebody else": lambda: token(aud="payroll"),
    "for nobody": lambda: token(aud=None),
    "of another issuer": lambda: token(iss="https://login.evil.example"),
    "of no issuer": lambda: token(iss=None),
    "about nobody": lambda: token(sub=None),
    "without an end": lambda: token(exp=None),
    "with an end that is no number": lambda: claimed(
        {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": "tomorrow"}
    ),
    "with an end in infinity": lambda: claimed(
        f'{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"x","exp":1e999}}'.encode()
    ),
    "with an end that is a yes": lambda: claimed({"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": True}),
    "with a number for a subject": lambda: claimed(
        {"iss": ISSUER, "aud": AUDIENCE, "sub": 7, "exp": NOW + DAY}
    ),
    "with a list for an issuer": lambda: claimed({"iss": [ISSUER], "aud": AUDIENCE, "sub": "x", "exp": NOW}),
    "no object": lambda: claimed([1]),
    "nested without end": lambda: claimed(b"[" * 5000),
    "of three dots": lambda: "..",
    "not base64": lambda: "a.b.c",
    "with a header that is a list": lambda: f"{part([1])}.{part({})}.x",
    "with a kid that is no text": lambda: f"{part({'alg': 'EdDSA', 'kid': {}})}.{token().split('.')[1]}.x",
}


@pytest.mark.parametrize("what", FORGED)
def test_a_token_that_is_forged_does_not_count(what: str) -> None:
    tokens = Tokens([issuer()])
    forged = FORGED[what]()
    for _ in range(2):  # nor at the second try
        with pytest.raises(TokenVoid):
            tokens.read(forged, micros())


def test_an_algorithm_that_is_not_declared_does_not_count() -> None:
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "clerk-7", "exp": NOW + DAY}
    signed = jwt.encode(said, KEYS["rsa"], algorithm="PS256", headers={"kid": "rsa"})
    with pytest.raises(TokenVoid):
        Tokens([issuer()]).read(signed, micros())


def test_one_key_needs_no_name() -> None:
    assert Tokens([issuer(keys=("ed",))]).read(token(kid=None), micros())


def test_an_issuer_does_not_sign_for_another() -> None:
    """Each has keys of its own, whatever they are called."""
    other = IssuerView(
        issuer="https://other.example",
        audience=AUDIENCE,
        keys=(TokenKey(kid="ed", spki=base64.b64encode(spki("ec")).decode(), algorithms=("ES256",)),),
        leeway=30,
        subject="",
        grants=(grant(),),
    )
    with pytest.raises(TokenVoid):
        Tokens([issuer(), other]).read(token(iss="https://other.example"), micros())


# -- times ------------------------------------------------------------------------------------------


def test_a_token_is_good_until_its_end_and_the_leeway_after_it() -> None:
    tokens, signed = Tokens([issuer()]), token(exp=NOW)
    assert tokens.read(signed, micros(29.9))
    with pytest.raises(TokenExpired):  # also one that was known to be good
        tokens.read(signed, micros(30))


def test_a_token_is_not_good_before_its_time() -> None:
    tokens, signed = Tokens([issuer()]), token(nbf=NOW + 60)
    with pytest.raises(TokenEarly):
        tokens.read(signed, micros(29))
    assert tokens.read(signed, micros(30))


def test_keys_go_with_the_rules() -> None:
    """What was verified by a key is not remembered beyond the rules that had it."""
    signed = token("ec")
    assert Tokens([issuer()]).read(signed, micros())
    with pytest.raises(TokenVoid):
        Tokens([issuer(keys=("ed",))]).read(signed, micros())


# -- rights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "claims", "fits"),
    [
        ({}, {}, True),
        ({"dept": "claims"}, {"dept": "claims"}, True),
        ({"dept": "claims"}, {"dept": "Claims"}, False),
        ({"dept": "claims"}, {}, False),
        ({"groups": "claims"}, {"groups": ["staff", "claims"]}, True),
        ({"groups": "claims"}, {"groups": "claims-readonly"}, False),
        ({"realm_access.roles": "desk"}, {"realm_access": {"roles": ["desk"]}}, True),
        ({"realm_access.roles": "desk"}, {"realm_access": ["desk"]}, False),
        ({"https://bank.example/dept": "claims"}, {"https://bank.example/dept": "claims"}, True),
        ({"email_verified": "true"}, {"email_verified": True}, True),
        ({"level": "1"}, {"level": 1}, False),
        ({"a": "x", "b": "y"}, {"a": "x"}, False),
    ],
)
def test_a_grant_fits_what_a_token_says(where: dict[str, str], claims: dict[str, Any], fits: bool) -> None:
    read = Tokens([issuer(grant(where=where))]).read(token(**claims), micros())
    if fits:
        assert read.grant().where == where
    else:
        with pytest.raises(TokenWithoutRights):
            read.grant()


def test_the_first_grant_that_fits_counts() -> None:
    grants = (
        grant(where={"dept": "claims"}, services=("triage",)),
        grant(where={"dept": "claims"}),
        grant(project="other"),
    )
    tokens = Tokens([issuer(*grants)])
    assert tokens.read(token(dept="claims"), micros()).grant().services == ("triage",)
    assert tokens.read(token(), micros()).grant().project == "other"


# -- at the gateway ---------------------------------------------------------------------------------


def ask(http: httpx.Client, site: Site, key: str, **headers: str) -> httpx.Response:
    body = {"model": "triage", "messages": [{"role": "user", "content": "water"}]}
    sent = {"authorization": f"Bearer {key}", **headers}
    return http.post(f"{site.url}/v1/chat/completions", json=body, headers=sent)


def test_a_caller_with_a_token_is_answered_and_recorded(site: Site, http: httpx.Client) -> None:
    site.own()
    site.callers = {"issuers": (issuer(grant(services=("triage",))),)}
    site.publish()
    site.up()
    answer = ask(http, site, token(sub="jane.doe@bank.example"))
    assert answer.status_code == 200
    key = site.begun(answer.headers["x-freehold-answer"]).intent.key
    assert key.startswith("tok_")
    assert ask(http, site, token(sub="jane.doe@bank.example", jti="2")).status_code == 200
    same, other = (
        site.begun(ask(http, site, token(sub=sub, jti="3")).headers["x-freehold-answer"]).intent.key
        for sub in ("jane.doe@bank.example", "john.doe@bank.example")
    )
    assert same == key
    assert other != key


def test_a_grant_may_be_for_services_up_to_a_sensitivity(site: Site, http: httpx.Client) -> None:
    site.own(sensitivity=3)
    site.callers = {"issuers": (issuer(grant(sensitivity=2)),)}
    site.publish()
    site.up()
    refused = ask(http, site, token())
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "sensitivity_refused")


def test_a_refused_token_is_told_as_openai_tells_it(site: Site, http: httpx.Client) -> None:
    site.own()
    site.callers = {"issuers": (issuer(grant(where={"dept": "claims"})),)}
    site.publish()
    site.up()
    for signed, status, code in (
        (unsigned(), 401, "token_void"),
        (token(aud="payroll"), 401, "token_void"),
        (token(exp=NOW - 3600), 401, "token_expired"),
        (token(nbf=NOW + DAY), 401, "token_early"),
        (token(dept="payroll"), 403, "token_without_rights"),
    ):
        refused = ask(http, site, signed)
        assert refused.status_code == status
        assert refused.json()["error"]["code"] == code
        assert "clerk-7" not in refused.text


def test_whose_token_it_is_is_known_where_its_signature_holds_and_nowhere_else() -> None:
    rules: Any = SimpleNamespace(
        tokens=Tokens([issuer(grant(where={"dept": "claims"}), subject="customer")]),
        restraints={},
        subject=lambda *_: "0" * 64,
    )
    known: list[str] = []

    def refused(signed: str) -> tuple[str, int]:
        heads: Any = SimpleNamespace(authorization=f"Bearer {signed}", certificate=None)
        with pytest.raises(Failure) as told:
            recognize(heads, rules, micros(), known.append)
        return told.value.code, len(known)

    assert refused(unsigned()) == ("token-void", 0)
    assert refused(token(aud="payroll")) == ("token-void", 0)
    assert refused(token(exp=NOW - 3600)) == ("token-expired", 1)
    assert refused(token(nbf=NOW + DAY)) == ("token-early", 2)
    assert refused(token(dept="payroll")) == ("token-without-rights", 3)
    assert refused(token(dept="claims")) == ("token-void", 4), "it does not say whom it is about"
    assert len(set(known)) == 1, "whatever token they come with"
    assert refused(token(sub="other")) == ("token-without-rights", 5)
    assert len(set(known)) == 2
    assert "clerk-7" not in str(known)


def test_where_no_issuer_is_trusted_a_token_is_no_key(site: Site, http: httpx.Client) -> None:
    site.own()
    site.publish()
    site.up()
    refused = ask(http, site, token())
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "key_void")


def test_a_new_key_counts_with_the_next_rules(site: Site, http: httpx.Client) -> None:
    site.own()
    site.callers = {"issuers": (issuer(keys=("ed",)),)}
    site.publish()
    site.up()
    assert ask(http, site, token("ec")).status_code == 401
    site.callers = {"issuers": (issuer(keys=("ed", "ec")),)}
    site.publish()
    assert ask(http, site, token("ec")).status_code == 200
    site.callers = {"issuers": (issuer(keys=("ec",)),)}
    site.publish()
    assert ask(http, site, token("ed")).status_code == 401


def test_a_token_that_names_a_person_is_for_that_person_alone(site: Site, http: httpx.Client) -> None:
    site.own(subject="required")
    site.callers = {"issuers": (issuer(subject="customer"),)}
    site.publish()
    site.up()
    signed = token(customer="customer-1")
    answer = ask(http, site, signed)
    assert answer.status_code == 200
    about = site.begun(answer.headers["x-freehold-answer"]).intent.subject
    assert about
    named = ask(http, site, signed, **{"x-freehold-subject": "customer-1"})
    assert site.begun(named.headers["x-freehold-answer"]).intent.subject == about
    other = ask(http, site, signed, **{"x-freehold-subject": "customer-2"})
    assert (other.status_code, other.json()["error"]["code"]) == (403, "subject_of_other")
    assert site.begun(other.headers["x-freehold-answer"]).intent.subject == about, "whoever tried it"
    assert ask(http, site, token()).json()["error"]["code"] == "token_void"


def test_a_caller_who_comes_back_with_a_new_token_gets_the_same_answer(
    site: Site, http: httpx.Client
) -> None:
    site.own()
    site.callers = {"issuers": (issuer(),)}
    site.publish()
    site.up()
    again = {"idempotency-key": "same"}
    first = ask(http, site, token(jti="1"), **again).headers["x-freehold-answer"]
    assert ask(http, site, token(jti="2"), **again).headers["x-freehold-answer"] == first
    assert ask(http, site, token(sub="other"), **again).headers["x-freehold-answer"] != first


def test_each_caller_has_limits_of_their_own(site: Site, http: httpx.Client) -> None:
    site.own()
    site.callers = {"issuers": (issuer(grant(most=Most(requests=1))),)}
    site.publish()
    site.up()
    assert ask(http, site, token()).status_code == 200
    assert ask(http, site, token(jti="2")).status_code == 429
    assert ask(http, site, token(sub="other")).status_code == 200
