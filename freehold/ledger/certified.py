"""A certificate as a file, checked by whoever holds it: signature, digest, places in the ledger.

The file holds the signed certificate (a DSSE envelope), the key that signed it and a receipt of each
ledger entry it speaks of. The entry `certificate.issued` has the digest of the envelope: who trusts the
ledger's key needs no other.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.errors import BadInput, Tampered
from freehold.spec.ids import canonical, digest_bytes
from freehold.spec.notes import VerifierKey
from freehold.spec.receipt import Receipt
from freehold.store.signing import Envelope, verify

TYPE = "application/vnd.freehold.forgetting+json"
OF_PURGE = "application/vnd.freehold.purge+json"
ISSUED = "certificate.issued"


class NoCertificate(BadInput):
    """this is no certificate"""


class CertificateWrong(Tampered):
    """the certificate does not hold"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A certificate that holds."""

    said: Mapping[str, Any]
    """What it says."""
    signed: str
    """Digest of the envelope."""
    places: Mapping[str, int]
    """Kind of entry -> its place in the ledger."""
    origin: str
    """The ledger they are in."""


def certificate_file(envelope: str, signer: Ed25519PublicKey, receipts: Mapping[str, str]) -> dict[str, Any]:
    """The file's content."""
    return {
        "certificate": json.loads(envelope),
        "signer": base64.b64encode(signer.public_bytes_raw()).decode(),
        "receipts": dict(receipts),
    }


def check(text: str, key: VerifierKey) -> Certified:
    """Check a certificate's file under the ledger's key, without anything else.

    Raises NoCertificate for its shape, CertificateWrong, SignatureWrong, NoteWrong or ReceiptWrong for
    what does not hold.
    """
    try:
        file = json.loads(text)
        envelope, signer = file["certificate"], base64.b64decode(file["signer"], validate=True)
        receipts = {str(kind): Receipt.parse(said) for kind, said in file["receipts"].items()}
        public = Ed25519PublicKey.from_public_bytes(signer)
        read = Envelope.from_json(envelope)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise NoCertificate(
            why="it has not the shape of one", hint="`freehold forget --certificate FILE` writes it"
        ) from error
    kind = OF_PURGE if read.payload_type == OF_PURGE else TYPE
    said: dict[str, Any] = json.loads(verify(public, read, kind))
    signed = digest_bytes(canonical(envelope))
    entries = {kind: each.check(key) for kind, each in receipts.items()}
    _refuse_others(said, signed, {kind: body for kind, (_, body) in entries.items()}, receipts)
    return Certified(
        said=said,
        signed=signed,
        places={kind: each.ix for kind, each in receipts.items()},
        origin=entries[ISSUED][0].origin,
    )


def _refuse_others(
    said: Mapping[str, Any],
    signed: str,
    entries: Mapping[str, Mapping[str, Any]],
    receipts: Mapping[str, Receipt],
) -> None:
    """The receipts must be of the entries that are about this certificate."""
    issued = entries.get(ISSUED, {})
    if issued.get("kind") != ISSUED or issued.get("detail", {}).get("digest") != signed:
        raise CertificateWrong(why="the ledger's entry is about another certificate, or there is none")
    for kind, digest in said["entries"].items():
        there = receipts.get(kind)
        if there is None or digest_bytes(there.entry) != digest:
            raise CertificateWrong(why=f"its receipt of `{kind}` is missing, or of another entry")
