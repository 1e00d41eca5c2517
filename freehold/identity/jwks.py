"""The public keys of an identity provider (JWKS, RFC 7517), as gateways verify with them."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from freehold.errors import BadInput
from freehold.spec.snapshot import TokenKey

MOST_KEYS = 100
WEAK = 2048
"""RSA keys of fewer bits verify nothing here."""
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class KeysUnusable(BadInput):
    """the keys of `{issuer}` cannot be used"""


def read_keys(text: bytes, *, issuer: str, allowed: Sequence[str]) -> tuple[TokenKey, ...]:
    """The keys in `text` that sign by one of the `allowed` algorithms.

    Keys for other uses, of other kinds and weak ones are left out. Raises KeysUnusable where none is
    left, where one is secret, and where two have the same name.
    """
    found = tuple(_usable(_listed(text, issuer), issuer, allowed))
    twice = [kid for kid, count in Counter(key.kid for key in found).items() if count > 1]
    if twice:
        raise KeysUnusable(
            issuer=issuer, why="two of them have the same `kid`, and which counts would be a guess"
        )
    if not found:
        raise KeysUnusable(
            issuer=issuer,
            why=f"none of them signs by {', '.join(allowed)}",
            hint="look at `algorithms` and `keys` under `callers:`",
        )
    return found


def _listed(text: bytes, issuer: str) -> list[Any]:
    try:
        listed = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeysUnusable(issuer=issuer, why="it is no JWKS: an object with a list `keys`") from error
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise KeysUnusable(issuer=issuer, why=f"`keys` is a list of {MOST_KEYS} at most")
    return listed


def _usable(listed: list[Any], issuer: str, allowed: Sequence[str]) -> Iterator[TokenKey]:
    for said in listed:
        if not isinstance(said, dict):
            raise KeysUnusable(issuer=issuer, why="one of them is no object")
        if said.get("kty") == "oct" or "d" in said:
            raise KeysUnusable(
                issuer=issuer,
                why="one of them is secret, and whoever reads it could make tokens",
                hint="publish the public halves alone",
            )
        if said.get("use", "sig") != "sig":
            continue
        public = _public(said)
        signs = [one for one in _signs(public) if one in allowed and said.get("alg", one) == one]
        if public is not None and signs:
            spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            kid = str(said.get("kid", ""))
            yield TokenKey(kid=kid, spki=base64.b64encode(spki).decode(), algorithms=tuple(signs))


def _public(said: dict[str, Any]) -> Any:
    """The key itself, or None for kinds that sign no tokens here."""
    try:
        return jwt.PyJWK(said).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None


def _signs(public: Any) -> tuple[str, ...]:
    """What a key of its kind may have signed by."""
    if isinstance(public, RSAPublicKey):
        return _RSA if public.key_size >= WEAK else ()
    if isinstance(public, EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return (_CURVES[public.curve.name],)
    return ("EdDSA",) if isinstance(public, Ed25519PublicKey) else ()
