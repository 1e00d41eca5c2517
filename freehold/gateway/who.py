"""Who asks: the key, token or certificate of a request, recognized without telling a stranger anything."""

from __future__ import annotations

from collections.abc import Callable

from freehold.errors import NotSignedIn, Refused
from freehold.gateway.asked import Heads
from freehold.gateway.peer import Peer
from freehold.gateway.private import Private
from freehold.gateway.restrained import refuse
from freehold.gateway.rules import Rules
from freehold.gateway.tokens import Token, is_token
from freehold.spec.keys import KeyText
from freehold.spec.snapshot import GrantView, KeyView

Known = Callable[[str], None]
"""Told who asks once that is proved, before anything is refused them for what they are."""

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


def recognize(heads: Heads, rules: Rules, at: int, known: Known) -> Caller:
    """Who sent a request: by its `Authorization`, and without one by its connection's certificate.

    What came and is not valid is refused, even when something else would have been; so is who is locked.
    `known` hears an id of theirs first: what is refused then is refused to somebody.
    """
    caller = _recognized(heads, rules, at, known)
    refuse(rules, caller.key.id, issued=caller.issued)
    return caller


def _recognized(heads: Heads, rules: Rules, at: int, known: Known) -> Caller:
    if heads.authorization is None and heads.certificate is not None:
        return _by_certificate(heads.certificate, rules, at, known)
    text = _bearer(heads.authorization)
    if rules.tokens is not None and is_token(text):
        token = rules.tokens.read(text, at, lambda one: known(_told_apart("tok", _name(one))))
        return _by_token(token, rules)
    return Caller(key=authenticate(text, rules, at, known), secret=heads.authorization or "")


def authenticate(text: str, rules: Rules, at: int, known: Known = lambda _id: None) -> KeyView:
    """The key that `text` is. Raises KeyOfOtherZone, KeyVoid, KeyExpired.

    A key of another zone is told so by its prefix alone: whether it exists there is not looked up.
    """
    key = KeyText.read(text)
    if key is not None and key.zone != "serving":
        raise KeyOfOtherZone(
            why="its prefix says another zone; the gateway takes keys that begin with `fhs_`",
            hint="`freehold keys create --zone serving` makes one",
        )
    found = rules.keys.get(key.id) if key else None
    if key is None or not key.matches(found.secret_digest if found else _NOBODY) or found is None:
        raise KeyVoid(
            why="it was never issued here, or was revoked", hint="`freehold keys list` shows those that are"
        )
    known(found.id)
    if found.expires_at is not None and found.expires_at <= at:
        raise KeyExpired(hint="ask for a new one: `freehold keys create`")
    return found


def _bearer(authorization: str | None) -> str:
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise KeyMissing(hint="send `Authorization: Bearer fhs_…`, or give it to your client as API key")
    return text.strip()


def _by_token(token: Token, rules: Rules) -> Caller:
    return _caller(
        rules,
        token.grant(),
        kind="tok",
        name=_name(token),
        until=token.ends,
        person=token.person,
        issued=token.issued,
    )


def _name(token: Token) -> str:
    return f"token\n{token.issuer.issuer}\n{token.claims['sub']}"


def _by_certificate(peer: Peer, rules: Rules, at: int, known: Known) -> Caller:
    if peer.ca != rules.snapshot.client_ca:
        raise CertificateVoid(why="its CA is not trusted here any more", hint="connect again")
    known(_told_apart("crt", *sorted(peer.names)))
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


def _told_apart(kind: str, *names: str) -> str:
    """Holders of tokens and certificates from one another, whether anything is granted to them or not.

    Good in this process alone. Their id, which is of a grant, leads to them with the lookup key.
    """
    return f"{kind}_{hash(names):x}"
