"""Control reads the keys of identity providers and the CA of client certificates, again and again.

From files, and from addresses only where freehold.yaml names one: gateways never ask anybody. What cannot
be read leaves the keys that were read last, and `freehold status` says so.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from freehold.control.looking import Looking
from freehold.errors import Failure, Unavailable
from freehold.identity.jwks import KeysUnusable, read_keys
from freehold.release.callers import declare, known_keys, unusable
from freehold.release.views import declared
from freehold.spec.callers import Callers, Tokens
from freehold.spec.config import Tls
from freehold.spec.snapshot import TokenKey
from freehold.store.ground import Ground
from freehold.tls import ends_at, read_ca, trusting

EVERY = 60.0
"""Seconds between two looks at files."""
ASK = 5
"""An address is asked at every fifth look."""
PATIENCE = 10.0
"""Seconds an identity provider has to answer."""
LARGEST = 1 << 20
"""Bytes of a JWKS."""

SOON = dt.timedelta(days=14)
"""A certificate of ours that ends within these is worth a word."""
_NOBODY = "`callers:` grants something in `{project}`, which does not exist or counts money otherwise"

_log = logging.getLogger("freehold.control")


class IssuerAway(Unavailable):
    """the keys of `{issuer}` cannot be fetched"""


@dataclass(slots=True)
class Trusted:
    """How the last look went. Written by the thread that looks, alone."""

    because: tuple[str, ...] = ()
    """What could not be read, a sentence each."""


@dataclass(slots=True, kw_only=True)
class Trusting(Looking):
    """The thread that looks. `start` and `stop` it with control."""

    name = "callers"
    leaves = PATIENCE + 5

    ground: Ground
    callers: Callers
    trusted: Trusted
    leads: Callable[[], bool] = lambda: True
    every: float = EVERY
    _fetched: dict[str, tuple[TokenKey, ...]] = field(default_factory=dict)
    """What addresses answered last."""
    _looks: int = 0

    def once(self) -> None:
        """One look; what changed is published in one transaction with its entry."""
        because: list[str] = []
        keys = {issuer.issuer: self._keys(issuer, because) for issuer in self.callers.tokens}
        ca = self._ca(because)
        with self.ground.db.write() as tx:
            declare(tx, self.ground, callers=self.callers, keys=keys, ca=ca)
        with self.ground.db.read() as conn:
            because += [_NOBODY.format(project=name) for name in unusable(conn)]
        self._looks += 1
        for sentence in because:
            if sentence not in self.trusted.because:
                _log.error("%s", sentence)
        self.trusted.because = tuple(because)

    def _keys(self, issuer: Tokens, because: list[str]) -> tuple[TokenKey, ...]:
        """An issuer's keys as they are now, else as they were read last."""
        try:
            return self._read(issuer)
        except Failure as failure:
            because.append(f"{failure.what}: {failure.why}; those read last go on")
        with self.ground.db.read() as conn:
            return known_keys(conn, issuer.issuer)

    def _read(self, issuer: Tokens) -> tuple[TokenKey, ...]:
        if issuer.keys.startswith("/"):
            return read_keys(_of_file(issuer), issuer=issuer.issuer, allowed=issuer.algorithms)
        if issuer.issuer not in self._fetched or self._looks % ASK == 0:
            self._fetched.pop(issuer.issuer, None)  # an address that fails is asked again at the next look
            text = _of_address(issuer)
            self._fetched[issuer.issuer] = read_keys(text, issuer=issuer.issuer, allowed=issuer.algorithms)
        return self._fetched[issuer.issuer]

    def _ca(self, because: list[str]) -> str:
        path = self.callers.certificates.ca
        if not path:
            return ""
        try:
            return read_ca(Path(path))
        except Failure as failure:
            because.append(f"{failure.what}: {failure.why}; the one read last goes on")
        with self.ground.db.read() as conn:
            return str(declared(conn)["ca"])

    def _run(self) -> None:
        while True:
            if self.leads():
                self._attempt()
            if self._over.wait(self.every):
                return

    def _attempt(self) -> None:
        try:
            self.once()
        except Exception as error:  # the thread must outlive a database that is away for a moment
            self.trusted.because = (f"who may ask could not be read again: {type(error).__name__}",)
            _log.error("%s", self.trusted.because[0])


def ending(shown: Tls, at: int) -> list[str]:
    """That the certificate shown here ends soon, or has ended."""
    if not shown.certificate:
        return []
    try:
        ends = ends_at(Path(shown.certificate))
    except Failure as failure:
        return [f"{failure.what}: {failure.why}"]
    left = ends - dt.datetime.fromtimestamp(at / 1_000_000, dt.UTC)
    said = f"on {ends:%Y-%m-%d}: put a renewed one into `{shown.certificate}`"
    return [f"the certificate shown here ends {said}"] if left < SOON else []


def _of_file(issuer: Tokens) -> bytes:
    try:
        with open(issuer.keys, "rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise KeysUnusable(issuer=issuer.issuer, why=f"`{issuer.keys}`: {error.strerror}") from error


def _of_address(issuer: Tokens) -> bytes:
    """What the address answers: at once, itself, and not too much of it."""
    known = trusting(issuer.ca) if issuer.keys.startswith("https://") else True
    try:
        with (
            httpx.Client(timeout=PATIENCE, trust_env=False, verify=known) as http,
            http.stream("GET", issuer.keys) as answer,
        ):
            if answer.status_code != 200:
                raise IssuerAway(issuer=issuer.issuer, why=f"it answered {answer.status_code}")
            text = b""
            for piece in answer.iter_bytes():
                text += piece
                if len(text) > LARGEST:
                    raise IssuerAway(issuer=issuer.issuer, why=f"it has more than {LARGEST:,} bytes")
            return text
    except httpx.HTTPError as error:
        raise IssuerAway(issuer=issuer.issuer, why=type(error).__name__) from error
