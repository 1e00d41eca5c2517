"""Who asks: the key, token or certificate of a request, recognized without telling a stranger anything."""

from __future__ import annotations

from freehold.errors import NotSignedIn, Refused
from freehold.gateway.asked import Heads
from freehold.gateway.peer import Peer
from freehold.gateway.private import Private
from freehold.gateway.restrained import refuse
from freehold.gateway.rules import Rules
from freehold.gateway.tokens import Token, is_token
from freehold.spec.keys import KeyText
from freehold.spec.snapshot import GrantView, KeyView

_NOBODY = "0" * 64
"""Compared against when there is no such key, so that both ways take the same time."""


class KeyMissing(NotSignedIn):
    """no key came with the request"""


class KeyOfOtherZone(NotSignedIn):
    """this key is not for asking services"""


class KeyVoid(NotSignedIn):
    """the key is not valid"""


class KeyExpired(NotSignedIn):
    """the key has expired"""


class CertificateVoid(NotSignedIn):
    """the client certificate is not valid any more"""


class CertificateWithoutRights(Refused):
    """nothing here may be asked with this client certificate"""


class Caller(Private, frozen=True, kw_only=True):
    """Who asks, and by what right."""

    key: KeyView
    """Their rights, as those of a key."""
    secret: str
    """What seals the answers that are kept for them; nobody else's is the same."""
    issued: int = 0
    """When their token was issued, microseconds UTC; 0 where nothing says so."""
    person: str | None = None
    """Whom all their requests are about, where their token says so."""


def recognize(heads: Heads, rules: Rules, at: int) -> Caller:
    """Who sent a request: by its `Authorization`, and without one by its connection's certificate.

    What came and is not valid is refused, even when something else would have been; so is who is locked.
    """
    caller = _recognized(heads, rules, at)
    refuse(rules, caller.key.id, issued=caller.issued)
    return caller


def _recognized(heads: Heads, rules: Rules, at: int) -> Caller:
    if heads.authorization is None and heads.certificate is not None:
        return _by_certificate(heads.certificate, rules, at)
    text = _bearer(heads.authorization)
    if rules.tokens is not None and is_token(text):
        return _by_token(rules.tokens.read(text, at), rules)
    return Caller(key=authenticate(text, rules, at), secret=heads.authorization or "")


def authenticate(text: str, rules: Rules, at: int) -> KeyView:
    """The key that `text` is. Raises KeyOfOtherZone, KeyVoid, KeyExpired.

    A key of another zone is told so by its prefix alone: whether it exists there is not looked up.
    """
    key = KeyText.read(text)
    if key is not None and key.zone != "serving":
        raise KeyOfOtherZone(
            why="its prefix says another zone; the gateway takes keys that begin with `fhs_`",
            hint="`freehold keys create --zone serving` makes one",
        )
    known = rules.keys.get(key.id) if key else None
    if key is None or not key.matches(known.secret_digest if known else _NOBODY) or known is None:
        raise KeyVoid(
            why="it was never issued here, or was revoked", hint="`freehold keys list` shows those that are"
        )
    if known.expires_at is not None and known.expires_at <= at:
        raise KeyExpired(hint="ask for a new one: `freehold keys create`")
    return known


def _bearer(authorization: str | None) -> str:
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise KeyMissing(hint="send `Authorization: Bearer fhs_…`, or give it to your client as API key")
    return text.strip()


def _by_token(token: Token, rules: Rules) -> Caller:
    grant = token.grant()
    name = f"token\n{token.issuer.issuer}\n{token.claims['sub']}"
    return _caller(
        rules, grant, kind="tok", name=name, until=token.ends, person=token.person, issued=token.issued
    )


def _by_certificate(peer: Peer, rules: Rules, at: int) -> Caller:
    if peer.ca != rules.snapshot.client_ca:
        raise CertificateVoid(why="its CA is not trusted here any more", hint="connect again")
    if peer.until <= at:
        raise CertificateVoid(why="it has expired", hint="connect with a new one")
    for grant in rules.snapshot.certificates:
        if grant.name in peer.names:
            return _caller(
                rules, grant, kind="crt", name=f"certificate\n{grant.name}", until=peer.until, person=None
            )
    raise CertificateWithoutRights(
        why="no grant names it", hint="`callers:` in freehold.yaml grants services to certificates"
    )


def _caller(
    rules: Rules,
    grant: GrantView,
    *,
    kind: str,
    name: str,
    until: int,
    person: str | None,
    issued: int = 0,
) -> Caller:
    """Rights as those of a key. Its id says nothing about its holder to those without the lookup key."""
    id = f"{kind}_{rules.subject(grant.project, name)[:26]}"
    view = KeyView(
        id=id,
        secret_digest=_NOBODY,
        owner=kind,
        project=grant.project,
        services=grant.services,
        purpose=grant.purpose,
        expires_at=until,
        most=grant.most,
        sensitivity=grant.sensitivity,
    )
    return Caller(
        key=view, secret=rules.subject(grant.project, f"replays\n{id}"), person=person, issued=issued
    )
