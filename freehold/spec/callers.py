"""Who may ask services beside the holders of API keys: tokens of identity providers, client certificates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that are verified with a public key; there is no way to name another."""

ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrant:
    """What a token may ask. The first grant that fits counts."""

    project: str
    """The project its services are of."""
    services: tuple[str, ...] = ()
    """Which of them; empty: every service of the project."""
    purpose: str = ""
    """What its requests are for when they do not say so."""
    limits: str = ""
    """What each caller may use, such as `60/min, 2 EUR/day`; empty: no limit of their own."""
    sensitivity: str = ""
    """The most sensitive services they may ask, such as `Internal`; empty: any of the project."""
    where: dict[str, str] = field(default_factory=dict)
    """Claims the token must have, such as `groups: claims-desk`; of a list, one word of it is enough. A name
    with dots goes into the claim: `realm_access.roles`. Empty: every token of the issuer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens (JWT) of one identity provider."""

    issuer: str
    """The claim `iss`, letter by letter."""
    audience: str
    """What `aud` must name: this installation, as the provider knows it."""
    keys: str
    """The provider's public keys (JWKS): an absolute path, looked at every minute, or an `https://…` address,
    asked every five minutes."""
    ca: str = ""
    """The CA of that address, a file of certificates; empty: the ones this machine trusts."""
    algorithms: tuple[Algorithm, ...] = ALGORITHMS
    """The signatures that are accepted."""
    leeway: str = "30s"
    """How far the clocks may differ."""
    subject: str = ""
    """The claim that names the person every request with the token is about; empty: requests say it."""
    grants: tuple[TokenGrant, ...] = ()
    """What its tokens may ask; none: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateGrant:
    """What the holder of a client certificate may ask."""

    name: str
    """A name in the certificate: `uri:spiffe://bank/claims`, `dns:claims.bank.example` or `cn:claims`."""
    project: str
    """The project its services are of."""
    services: tuple[str, ...] = ()
    """Which of them; empty: every service of the project."""
    purpose: str = ""
    """What its requests are for when they do not say so."""
    limits: str = ""
    """What they may use, such as `60/min, 2 EUR/day`; empty: no limit of their own."""
    sensitivity: str = ""
    """The most sensitive services they may ask, such as `Internal`; empty: any of the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Client certificates at the gateway; they take `tls` there."""

    ca: str = ""
    """The file with the CA that signs them; empty: none is asked for."""
    grants: tuple[CertificateGrant, ...] = ()
    """What they may ask; the first whose name the certificate has counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Who may ask services without an API key of this installation."""

    tokens: tuple[Tokens, ...] = ()
    """Identity providers whose tokens count; see Tokens."""
    certificates: Certificates = field(default_factory=Certificates)
    """Client certificates; see Certificates."""
