"""Tokens of identity providers (JWT, RFC 7519 and 8725), verified with the keys that the rules bring.

The signature is looked at before anything the token says is believed; which key and which signatures may
have made it comes from the rules alone, never from the token. Only a token that its issuer made learns
whether it is late, early or meant for somebody else.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_der_public_key

from freehold.errors import NotSignedIn, Refused
from freehold.spec.snapshot import GrantView, IssuerView

_MOST_KEPT = 4096
"""Tokens remembered as verified; a verification costs as much as the rest of a request."""
_SECOND = 1_000_000


class TokenVoid(NotSignedIn):
    """the token is not valid"""


class TokenExpired(NotSignedIn):
    """the token has expired"""


class TokenEarly(NotSignedIn):
    """the token is not valid yet"""


class TokenWithoutRights(Refused):
    """nothing here may be asked with this token"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token whose signature, issuer and audience were right."""

    issuer: IssuerView
    claims: Mapping[str, Any] = field(repr=False)
    begins: int
    """Microseconds UTC, the leeway taken into account."""
    ends: int

    @property
    def issued(self) -> int:
        """Microseconds UTC; 0 where it does not say when in a number: only who has to renew misses it."""
        try:
            return _time(self.claims.get("iat"))
        except TokenVoid:
            return 0

    @property
    def person(self) -> str | None:
        """Whom every request with it is about, where its issuer says so. Raises TokenVoid without."""
        if not self.issuer.subject:
            return None
        said = _claim(self.claims, self.issuer.subject)
        if not isinstance(said, str) or not said.strip():
            raise TokenVoid(why=f"it lacks the claim `{self.issuer.subject}`, which names the person")
        return said.strip()

    def grant(self) -> GrantView:
        """What it may ask: the first grant it fits. Raises TokenWithoutRights."""
        for grant in self.issuer.grants:
            if all(_says(_claim(self.claims, name), wanted) for name, wanted in grant.where.items()):
                return grant
        raise TokenWithoutRights(
            why="no grant of its issuer fits what it says", hint="`callers:` in freehold.yaml grants services"
        )


class Tokens:
    """What the rules say of identity providers, laid out for looking tokens up."""

    def __init__(self, issuers: Sequence[IssuerView]) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._keys = {
            (issuer.issuer, key.kid): (load_der_public_key(base64.b64decode(key.spki)), key.algorithms)
            for issuer in issuers
            for key in issuer.keys
        }
        self._kept: dict[bytes, Token] = {}

    def read(self, text: str, at: int, proved: Callable[[Token], None] = lambda _token: None) -> Token:
        """The token that `text` is. Raises TokenVoid, TokenExpired, TokenEarly.

        `proved` hears of it once its signature holds, be it late or early.
        """
        name = hashlib.sha256(text.encode()).digest()
        token = self._kept.get(name)
        if token is None:
            token = self._verified(text)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[name] = token
        proved(token)
        if token.ends <= at:
            raise TokenExpired(hint="get a new one from your identity provider")
        if token.begins > at:
            raise TokenEarly(why="its time has not come", hint="look at the clocks of both machines")
        return token

    def _verified(self, text: str) -> Token:
        try:
            issuer, claims = self._opened(text)
        except jwt.InvalidAudienceError:
            raise TokenVoid(why="it is meant for somebody else: its audience is not ours") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenVoid(why=f"it lacks the claim `{error.claim}`") from None
        except (jwt.PyJWTError, RecursionError, ValueError, TypeError):
            raise TokenVoid(why="its signature does not fit, or it is no token") from None
        leeway = issuer.leeway * _SECOND
        begins = _time(claims["nbf"]) - leeway if "nbf" in claims else 0
        return Token(issuer=issuer, claims=claims, begins=begins, ends=_time(claims["exp"]) + leeway)

    def _opened(self, text: str) -> tuple[IssuerView, dict[str, Any]]:
        """Issuer and claims, once the signature fits."""
        head = jwt.get_unverified_header(text)
        said = jwt.decode(text, options={"verify_signature": False}).get("iss")
        issuer = self._issuers.get(said) if isinstance(said, str) else None
        if issuer is None:
            raise TokenVoid(why="nobody here trusts its issuer")
        key, algorithms = self._key(issuer, head.get("kid"))
        if head.get("alg") not in algorithms or "crit" in head:
            raise TokenVoid(why="it is not signed as its issuer signs")
        claims: dict[str, Any] = jwt.decode(
            text,
            key,
            algorithms=list(algorithms),
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "iss", "aud", "sub"],
                "verify_exp": False,  # by the gateway's clock, each time it comes
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        return issuer, claims

    def _key(self, issuer: IssuerView, kid: object) -> tuple[Any, tuple[str, ...]]:
        """The issuer's key of that name; a token may leave the name out where there is one key only."""
        if kid is None and len(issuer.keys) == 1:
            kid = issuer.keys[0].kid
        found = self._keys.get((issuer.issuer, str(kid)))
        if found is None:
            raise TokenVoid(
                why="it is signed by a key that its issuer does not publish",
                hint="a new key is known within minutes; else get a new token",
            )
        return found


def is_token(text: str) -> bool:
    """Whether it has the shape of one; keys of ours have no dots."""
    return text.count(".") == 2


def _time(said: object) -> int:
    """A NumericDate in microseconds. Raises TokenVoid."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        raise TokenVoid(why="a time in it is no number")
    return int(said * _SECOND)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the way to it: `realm_access.roles`."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _says(said: Any, wanted: str) -> bool:
    """Whether a claim is what a grant wants, or a list that holds it."""
    return wanted in map(_word, said) if isinstance(said, list) else _word(said) == wanted


def _word(value: Any) -> str | None:
    """As freehold.yaml writes it; what is neither text nor a truth value fits nothing."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else None
