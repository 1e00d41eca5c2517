"""TLS as both sides of our connections speak it: which certificate is shown, and whom a client trusts.

A context that follows its files is made again when they changed, for the next connection; those that
stand go on by the old one. So a renewed certificate needs no restart, and one that cannot be used changes
nothing but the log.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import ssl
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.errors import BadInput

_log = logging.getLogger("freehold.tls")

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only; all of TLS 1.3 is."""
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: of a pinned certificate, only that it is that very one counts."""
_LONGEST_NAME = 120
"""Characters of a certificate's name that are told."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)


class CertificateUnusable(BadInput):
    """the certificate `{path}` cannot be used"""


class PrivateKeyUnusable(BadInput):
    """the private key `{path}` cannot be used"""


class CaUnusable(BadInput):
    """the CA file `{path}` cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The files of a certificate and its private key (PEM)."""

    certificate: Path
    key: Path

    def folders(self) -> tuple[Path, ...]:
        """The folders whoever reads them again must be able to read: a renewal puts new files there."""
        files = (self.certificate, self.key)
        return tuple(dict.fromkeys(f for path in files for f in (path.parent, path.resolve().parent)))

    def stamp(self) -> Hashable:
        """Changes when one of the files does."""
        return tuple(_stamp(path) for path in (self.certificate, self.key))


class Following(ssl.SSLContext):
    """A context that is made again when `stamp` changes; while that fails, the one before goes on."""

    def __new__(cls, make: Callable[[], ssl.SSLContext], stamp: Callable[[], Hashable]) -> Following:
        """An outer shell: what connections speak by is the context made last."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, make: Callable[[], ssl.SSLContext], stamp: Callable[[], Hashable]) -> None:
        self._make, self._stamp = make, stamp
        self._seen, self._made = stamp(), make()

    def current(self) -> ssl.SSLContext:
        """The context for a connection that begins now."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp  # what fails is tried again when something changes again
            try:
                self._made = self._make()
            except BadInput as failure:
                _log.error("%s: %s; the one before goes on", failure.what, failure.why)
        return self._made

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        """For asyncio and uvloop, on both sides."""
        return self.current().wrap_bio(*given, **named)

    def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:
        """For httpx."""
        return self.current().wrap_socket(*given, **named)


class Serving(ssl.SSLContext):
    """The context of a listener; `ca` is whose client certificates it has verified."""

    ca: str = ""


def serving(pair: Pair, ca: Callable[[], str] = lambda: "") -> Following:
    """What a listener speaks by. With a `ca` (PEM) it asks callers for a certificate; none is a good answer.

    Raises CertificateUnusable, PrivateKeyUnusable.
    """
    return Following(lambda: _serving(pair, ca()), lambda: (pair.stamp(), ca()))


def _serving(pair: Pair, ca: str) -> Serving:
    _check_key(pair.key)
    _check_dates(pair.certificate, _read(pair.certificate, CertificateUnusable))
    context = Serving(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(pair.certificate, pair.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise _no_pair(pair, error) from error
    if ca:
        context.load_verify_locations(cadata=ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # who resumes would not be looked at again
        context.ca = ca
    return context


def _no_pair(pair: Pair, error: Exception) -> BadInput:
    if "KEY_VALUES_MISMATCH" in str(error):
        return PrivateKeyUnusable(
            path=pair.key,
            why=f"it is not the key of `{pair.certificate}`",
            hint="name the key that the certificate was asked for with",
        )
    return CertificateUnusable(
        path=pair.certificate,
        why=f"it and `{pair.key}` do not load: {getattr(error, 'reason', None) or error}",
        hint="both are PEM files, the host's own certificate first",
    )


def _check_key(path: Path) -> None:
    text = _read(path, PrivateKeyUnusable)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise PrivateKeyUnusable(
            path=path, why=f"others may read it: its mode is {mode:04o}", hint=f"chmod 600 {path}"
        )
    if "PRIVATE KEY" not in text:
        raise PrivateKeyUnusable(path=path, why="there is no private key in it", hint="it is a PEM file")
    if "ENCRYPTED" in text:
        raise PrivateKeyUnusable(
            path=path, why="it takes a password, and nobody is there to type it", hint="store it without one"
        )


def _check_dates(path: Path, text: str) -> None:
    from cryptography import x509

    try:
        own = x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise CertificateUnusable(
            path=path, why="there is no certificate in it", hint="it is a PEM file"
        ) from error
    now = dt.datetime.now(dt.UTC)
    if own.not_valid_after_utc <= now:
        raise CertificateUnusable(
            path=path, why=f"it expired on {own.not_valid_after_utc:%Y-%m-%d}", hint="renew it"
        )
    if own.not_valid_before_utc > now:
        why = f"it is not valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise CertificateUnusable(path=path, why=why, hint="look at this machine's clock")


def ends_at(path: Path) -> dt.datetime:
    """When the certificate in a file expires. Raises CertificateUnusable."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise CertificateUnusable(path=path, why="it cannot be read") from error


# -- clients ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom a client takes for control, or for a gateway."""

    ca: str = ""
    """A file of CA certificates; empty: the ones this machine trusts."""
    pin: str = ""
    """On the machine itself: the file of the certificate that is shown, whatever name it is for."""

    def context(self) -> ssl.SSLContext:
        """What a client speaks by. Raises CaUnusable, CertificateUnusable."""
        return pinned(Path(self.pin)) if self.pin else trusting_as_said(self.ca)

    def arguments(self) -> list[str]:
        """As `freehold.app` takes it."""
        said = {"--control-pin": self.pin, "--control-ca": self.ca}
        return [word for name, value in said.items() if value for word in (name, value)]

    def folders(self) -> tuple[Path, ...]:
        """The folders it reads again and again."""
        return (Path(self.pin).parent, Path(self.pin).resolve().parent) if self.pin else ()


HERE = Trust()


def trusting_as_said(ca: str = "") -> ssl.SSLContext:
    """For clients of ours: the CAs in a file, else in `FREEHOLD_CA`, else this machine's.

    Raises CaUnusable.
    """
    return trusting(ca or os.environ.get("FREEHOLD_CA", ""))


def trusting(ca: str = "") -> ssl.SSLContext:
    """A client's context: this machine's CAs, or those in a file alone. Raises CaUnusable."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise CaUnusable(
            path=ca,
            why=getattr(error, "reason", None) or error.strerror or str(error),
            hint="it is a PEM file with the certificate of the CA",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def pinned(certificate: Path) -> Following:
    """Trust in whoever shows the very certificate in this file, or the one that stood there before.

    For the parts of one machine: control's certificate is for its public name, and they reach it under
    another. The one before counts too, because control goes on by it when the new one cannot be used.
    """
    kept: list[str] = []

    def make() -> ssl.SSLContext:
        found = _PEM.search(_read(certificate, CertificateUnusable))
        if found is None:
            raise CertificateUnusable(path=certificate, why="there is no certificate in it")
        kept[:] = [*kept[-1:], found[0]]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        context.load_verify_locations(cadata="\n".join(dict.fromkeys(kept)))
        return context

    return Following(make, lambda: _stamp(certificate))


def vouched_for(certificates: str) -> ssl.SSLContext:
    """A client's context for who these certificates (PEM) alone vouch for; empty: this machine's CAs do.

    A CA's own, one in between, or the server's; whatever this machine trusts beside counts for nothing.
    """
    context = ssl.create_default_context(cadata=certificates or None)
    if certificates:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def read_ca(path: Path) -> str:
    """The certificates in a CA file, as text. Raises CaUnusable."""
    return checked_ca(_read(path, CaUnusable), str(path))


def checked_ca(said: str, path: str) -> str:
    """The certificates in a text, and nothing else of it; `path` is what it is called. Raises CaUnusable."""
    text = "\n".join(_PEM.findall(said))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise CaUnusable(path=path, why="there is no certificate in it", hint="it is a PEM file") from error
    return text


def named_in(ca: str) -> list[tuple[str, int | None]]:
    """Of each certificate in a text its name and until when it is valid, microseconds UTC; none where the
    text that was taken for one says neither."""
    return [_named(one) for one in _PEM.findall(ca)]


def _named(certificate: str) -> tuple[str, int | None]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
        until = int(read.not_valid_after_utc.timestamp()) * 1_000_000
        common = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(common[0].value) if common else read.subject.rfc4514_string()
    except ValueError:
        return "a certificate", None
    return name[:_LONGEST_NAME] or "a certificate without a name", until


def _read(path: Path, failure: type[BadInput]) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise failure(
            path=path, why=error.strerror or str(error), hint="name a file that this user may read"
        ) from error


def _stamp(path: Path) -> Hashable:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
