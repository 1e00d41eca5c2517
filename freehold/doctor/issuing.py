"""An identity provider for the proofs: it signs tokens, and forges them in the ways that are known."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from freehold.spec.callers import TokenGrant, Tokens
from freehold.spec.snapshot import TokenKey

ISSUER, AUDIENCE, KID = "https://issuer.invalid", "freehold-proofs", "one"


class Issuer:
    """It holds a private key, whose public half the scratch installation trusts."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def tokens(self, project: str) -> tuple[Tokens, ...]:
        """What freehold.yaml would say of it."""
        grant = TokenGrant(project=project)
        return (Tokens(issuer=ISSUER, audience=AUDIENCE, keys="/nowhere", grants=(grant,)),)

    def keys(self) -> Mapping[str, tuple[TokenKey, ...]]:
        """What it publishes."""
        spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {ISSUER: (TokenKey(kid=KID, spki=base64.b64encode(spki).decode(), algorithms=("EdDSA",)),)}

    def token(self, key: Ed25519PrivateKey | None = None, **claims: Any) -> str:
        """A token, good but for what `claims` say otherwise."""
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a-program", "exp": int(time.time()) + 300, **claims}
        return jwt.encode(said, key or self._key, algorithm="EdDSA", headers={"kid": KID})

    def forged(self) -> Iterator[tuple[str, str]]:
        """Tokens that must not count: what is wrong with each, and the token."""
        yield "signed by another key", self.token(Ed25519PrivateKey.generate())
        yield "for another audience", self.token(aud="somebody-else")
        yield "over", self.token(exp=int(time.time()) - 3600)
        body = self.token().split(".")[1]
        yield "not signed", f"{_part({'alg': 'none', 'kid': KID})}.{body}."
        head = _part({"alg": "HS256", "kid": KID})
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        digest = hmac.new(public, f"{head}.{body}".encode(), hashlib.sha256).digest()
        yield "signed with the public key as a password", f"{head}.{body}.{_text(digest)}"


def _part(said: Mapping[str, str]) -> str:
    return _text(json.dumps(said).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
