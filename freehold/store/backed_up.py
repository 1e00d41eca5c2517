"""What a backup is: files, and one signed statement that names them all.

::

    freehold.db        rows, as they were at one moment
    keyring.db         the content keys, wrapped by the epoch key of that moment
    keys.sealed        signing keys, border keys, freehold.yaml; sealed under a key of the keyring
    ledger/checkpoint  what was signed at that moment
    blobs/ab/cdef…     sealed objects, each under its own digest
    MANIFEST.json      the statement, its signature, and the digest and size of every file; comes last

The epoch key is in no backup. Without it a backup opens nothing, and neither does one from before a
forgetting with the epoch key of after it: that takes the keyring of after it, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from freehold.errors import Tampered
from freehold.spec.ids import canonical, digest, digest_bytes
from freehold.store.home import Home
from freehold.store.signing import Envelope, sign, verify

FORMAT = 1
TOP = "freehold-backup"
"""The folder that every file of a tar lies in."""
MANIFEST = "MANIFEST.json"
DATABASE = "freehold.db"
KEYRING = "keyring.db"
SEALED = "keys.sealed"
CHECKPOINT = "ledger/checkpoint"
BLOBS = "blobs/"
SEALED_BY = "installation/keys"
"""The key of the keyring that seals the installation's own keys."""

_PAYLOAD = "application/vnd.freehold.backup+json"


class BackupBroken(Tampered):
    """the backup `{name}` is not whole"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is signed: of which installation, of when, and the digest of the list of files."""

    backup: str
    origin: str
    at: int
    """Microseconds UTC: the moment that its rows show."""
    version: str
    schema: str
    entries: int
    """How many entries of the ledger were signed in it."""
    root: str
    """Their root, hex."""
    files: str
    """The digest of the list of files."""
    count: int
    bytes: int
    format: int = FORMAT

    def digest(self) -> str:
        """What an entry cites."""
        return digest_bytes(canonical(asdict(self)))

    @classmethod
    def read(cls, said: Any) -> Statement:
        """From JSON. Raises BackupBroken when it has not that shape or is of another format."""
        kinds = {one.name: str if one.type == "str" else int for one in fields(cls)}
        if not isinstance(said, dict) or said.get("format") != FORMAT or said.keys() != kinds.keys():
            raise BackupBroken(name=MANIFEST, why="its statement is not of a format this release reads")
        if any(type(said[name]) is not kind for name, kind in kinds.items()):
            raise BackupBroken(name=MANIFEST, why="its statement is not of a format this release reads")
        return cls(**said)


def seal_place(backup: str) -> bytes:
    """What the sealed keys are bound to."""
    return f"backup:{backup}".encode()


def own_files(home: Home) -> dict[str, str]:
    """The files beside database, keyring and objects that make an installation what it is: path to path.

    By their place below the home folder. The epoch key is not among them.
    """
    there = (
        home.ledger_key, home.release_key, home.release_pub, home.spool_key, home.gateway_key,
        home.gateway_pub, home.gateway_border, home.worker_border, home.config,
    )  # fmt: skip
    return {path.relative_to(home.root).as_posix(): str(path) for path in there}


def manifest(statement: Statement, files: Mapping[str, Mapping[str, Any]], key: Ed25519PrivateKey) -> bytes:
    """The last file: signed over the statement, which holds the digest of the list."""
    said = asdict(statement)
    (signature,) = sign(key, _PAYLOAD, canonical(said)).as_json()["signatures"]
    whole = {"statement": said, "signature": signature, "files": dict(files)}
    return json.dumps(whole, indent=2, sort_keys=True).encode() + b"\n"


def files_digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest of the list of files."""
    return digest({path: dict(about) for path, about in files.items()})


def read_manifest(data: bytes) -> tuple[Statement, Mapping[str, Any], dict[str, dict[str, Any]]]:
    """Statement, signature and list of files; the list is the one that the statement names.

    Raises BackupBroken. Whose signature it is has to be checked with `check_signature`.
    """
    try:
        said = json.loads(data)
        signature, files = said["signature"], said["files"]
        listed = files_digest(files)
        statement = Statement.read(said["statement"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupBroken(name=MANIFEST, why="it cannot be read") from error
    if statement.files != listed:
        raise BackupBroken(name=MANIFEST, why="its list of files is not the one that was signed")
    return statement, signature, files


def check_signature(statement: Statement, signature: Mapping[str, Any], public: Ed25519PublicKey) -> None:
    """Raise SignatureWrong unless the installation itself signed this statement."""
    shape = {"payloadType": _PAYLOAD, "payload": "", "signatures": [signature]}
    envelope = Envelope.from_json(shape)
    whole = Envelope(_PAYLOAD, canonical(asdict(statement)), envelope.keyid, envelope.signature)
    verify(public, whole, _PAYLOAD)
