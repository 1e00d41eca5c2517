"""A certificate authority for tests: certificates of hosts and callers, as files."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from freehold.tls import Pair

DAY = dt.timedelta(days=1)


class Authority:
    """It signs; `ca` is the file that others trust it by."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self._name = folder, _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = folder / f"{name}.pem"
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        own = _begun(self._name, self._name, self._key.public_key(), 3650 * DAY)
        own = own.add_extension(constraint, critical=True).add_extension(usage, critical=True)
        self.ca.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def host(self, name: str = "host", *, lasts: dt.timedelta = 90 * DAY, password: str = "") -> Pair:
        """A certificate for this machine; the same `name` again renews its files."""
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return self._signed(name, names, ExtendedKeyUsageOID.SERVER_AUTH, lasts, password)

    def caller(self, cn: str = "", *, uri: str = "", dns: str = "", lasts: dt.timedelta = DAY) -> Pair:
        """A client certificate."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)] if uri else []
        names += [x509.DNSName(dns)] if dns else []
        return self._signed(cn or "caller", names, ExtendedKeyUsageOID.CLIENT_AUTH, lasts, "")

    def _signed(
        self,
        name: str,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        lasts: dt.timedelta,
        password: str,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        begun = _begun(_name(name), self._name, key.public_key(), lasts)
        begun = begun.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            begun = begun.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pair = Pair(certificate=self.folder / f"{name}.crt", key=self.folder / f"{name}.key")
        sealed = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        _replace(pair.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
        _replace(pair.certificate, begun.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return pair


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    begun = begun.serial_number(x509.random_serial_number())
    return begun.not_valid_before(min(now, now + lasts) - DAY).not_valid_after(now + lasts)


def _replace(path: Path, data: bytes) -> None:
    """As renewals do it: a new file under the old name."""
    new = path.with_suffix(path.suffix + ".new")
    new.touch(mode=0o600)
    new.write_bytes(data)
    os.replace(new, path)
