"""What an identity provider publishes, and what of it gateways verify with."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from freehold.identity.jwks import KeysUnusable, read_keys
from freehold.spec.callers import ALGORITHMS

KEYS: dict[str, Any] = {
    "rsa": RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True),
    "ec": ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True),
    "ed": OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True),
}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def key(name: str, **more: Any) -> dict[str, Any]:
    """As providers publish it."""
    said = {k: v for k, v in KEYS[name].items() if k != "key_ops"}
    return {**said, "kid": name, "use": "sig", **more}


def names(text: bytes, *allowed: str) -> dict[str, tuple[str, ...]]:
    found = read_keys(text, issuer="https://issuer", allowed=allowed or ALGORITHMS)
    return {one.kid: one.algorithms for one in found}


def test_each_key_verifies_what_its_kind_signs_and_is_declared() -> None:
    text = jwks(key("rsa"), key("ec"), key("ed"))
    assert names(text) == {"rsa": ("RS256",), "ec": ("ES256",), "ed": ("EdDSA",)}
    assert names(text, "RS256", "PS256") == {"rsa": ("RS256", "PS256")}
    assert names(jwks(key("rsa", alg="PS256")), "RS256", "PS256") == {"rsa": ("PS256",)}


def test_keys_for_other_uses_of_other_kinds_and_weak_ones_are_left_out() -> None:
    weak = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    odd = (
        key("rsa", kid="a", use="enc"),
        key("rsa", kid="b", alg="RSA-OAEP"),
        {**weak, "kid": "c", "use": "sig"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "d"},
        {"kty": "AKP", "kid": "e"},
        {"kid": "f"},
        {"kty": "RSA", "n": 7, "e": [], "kid": "g"},
    )
    assert names(jwks(*odd, key("ec"))) == {"ec": ("ES256",)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "it is no JWKS"),
        (b"[]", "it is no JWKS"),
        (b'{"keys": 7}', "is a list of"),
        (b"[" * 100_000, "it is no JWKS"),
        (jwks(), "none of them signs by"),
        (jwks(key("rsa", use="enc")), "none of them signs by"),
        (b'{"keys": [7]}', "one of them is no object"),
        (jwks(key("ec"), {"kty": "oct", "k": "c2VjcmV0"}), "one of them is secret"),
        (jwks(key("ec", d="AA")), "one of them is secret"),
        (jwks(key("ec"), key("rsa", kid="ec")), "two of them have the same `kid`"),
    ],
)
def test_what_cannot_be_used_says_why(text: bytes, why: str) -> None:
    with pytest.raises(KeysUnusable) as told:
        names(text)
    assert why in told.value.why


def test_what_it_reads_verifies() -> None:
    import base64

    from cryptography.hazmat.primitives.serialization import load_der_public_key

    private = rsa.generate_private_key(65537, 2048)
    said = {**RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "one"}
    (found,) = read_keys(jwks(said), issuer="https://issuer", allowed=("RS256",))
    public: Any = load_der_public_key(base64.b64decode(found.spki))
    signed = jwt.encode({"sub": "x"}, private, algorithm="RS256")
    assert jwt.decode(signed, public, algorithms=list(found.algorithms)) == {"sub": "x"}
