"""Who asks: the key of a request, recognised without telling a stranger anything."""

from __future__ import annotations

from freehold.errors import NotSignedIn
from freehold.gateway.rules import Rules
from freehold.spec.keys import KeyText
from freehold.spec.snapshot import KeyView

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


def authenticate(authorization: str | None, rules: Rules, at: int) -> KeyView:
    """The key of a request's `Authorization: Bearer …`. Raises one of the four above.

    A key of another zone is told so by its prefix alone: whether it exists there is not looked up.
    """
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise KeyMissing(hint="send `Authorization: Bearer fhs_…`, or give it to your client as API key")
    key = KeyText.read(text.strip())
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
