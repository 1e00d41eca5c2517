"""A certificate authority for the proofs: certificates that count, and some that only look so."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from freehold.spec.callers import CertificateGrant, Certificates
from freehold.tls import Pair

GRANTED = "a-program"
_DAY = dt.timedelta(days=1)
_HERE = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


class Authority:
    """It signs, and keeps what it signed as files; `file` is what others know it by."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        own = _begun("an-authority", "an-authority", self._key, 30 * _DAY)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def callers(self, project: str) -> Certificates:
        """What freehold.yaml would say of it."""
        grant = CertificateGrant(name=f"cn:{GRANTED}", project=project)
        return Certificates(ca=str(self.file), grants=(grant,))

    def host(self) -> Pair:
        """What the gateway shows."""
        return self._signed("host", "localhost", ExtendedKeyUsageOID.SERVER_AUTH)

    def caller(self) -> Pair:
        """One that counts."""
        return self._signed("caller", GRANTED, ExtendedKeyUsageOID.CLIENT_AUTH)

    def forged(self) -> Iterator[tuple[str, Pair]]:
        """Certificates that must not count: what is wrong with each, and its files."""
        client = ExtendedKeyUsageOID.CLIENT_AUTH
        yield "of another authority", Authority(self._folder / "other").caller()
        yield "over", self._signed("over", GRANTED, client, lasts=-_DAY)
        yield "for servers", self._signed("server", GRANTED, ExtendedKeyUsageOID.SERVER_AUTH)
        yield "granted nothing", self._signed("stranger", "a-stranger", client)

    def _signed(self, file: str, name: str, usage: x509.ObjectIdentifier, lasts: dt.timedelta = _DAY) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        begun = _begun(name, "an-authority", key, lasts)
        begun = begun.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        begun = begun.add_extension(x509.SubjectAlternativeName(_HERE), critical=False)
        pair = Pair(certificate=self._folder / f"{file}.crt", key=self._folder / f"{file}.key")
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        pair.certificate.write_bytes(begun.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return pair


def _begun(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, lasts: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    begun = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    begun = begun.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return begun.not_valid_before(min(now, now + lasts) - _DAY).not_valid_after(now + lasts)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
