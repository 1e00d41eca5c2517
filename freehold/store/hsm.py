"""The epoch key wrapped by a hardware security module, over PKCS #11 (v2.40): any vendor's, or SoftHSM.

Each epoch has an AES-256 key of its own in the module, made there and never given out (sensitive, not
extractable). It seals the 32 bytes that wrap the keyring (AES-GCM), and the file `epoch.key` holds only
these sealed bytes and the name of the module's key. To destroy an epoch is to destroy its key in the
module: then every copy of the file is worthless, wherever it lies. A file that was copied, a backup and
a stolen disk open nothing without the module and its PIN.

A plain file from before is read once more: the next change of the epoch key leaves it behind.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freehold.errors import Unavailable
from freehold.spec.config import Hsm
from freehold.spec.ids import canonical
from freehold.store.epoch import BYTES, EpochKeyMissing, read_file, replace_secret
from freehold.store.home import sync_folder, write_atomically

LABEL = "freehold-epoch"
_NONCE = 12
_ONE_AT_A_TIME = threading.Lock()
"""A log-in holds for the whole process: two sessions would be in each other's way."""


class NoPkcs11(Unavailable):
    """an epoch key in a hardware security module needs the extra `hsm`"""


class HsmAway(Unavailable):
    """the token `{token}` cannot be used"""


class PinMissing(Unavailable):
    """the PIN cannot be read from `{path}`"""


class HsmEpoch:
    """The current epoch's sealed key in `path`, its opener in the module."""

    def __init__(self, path: Path, hsm: Hsm) -> None:
        self._path = path
        self._next = path.with_name(f"{path.name}.next")
        self._going = path.with_name(f"{path.name}.going")
        self._hsm = hsm

    @property
    def path(self) -> Path:
        return self._path

    def create(self) -> None:
        if not self._path.exists():
            self._new(self._path)

    def read(self) -> bytes:
        return self._open(self._path)

    def coming(self) -> bytes | None:
        return self._open(self._next) if self._next.exists() else None

    def unsettled(self) -> bool:
        return self._next.exists() or self._going.exists()

    def prepare(self) -> bytes:
        return self._new(self._next)

    def take_place(self) -> None:
        """The old file is noted before it loses its name: its key is destroyed even if we crash between."""
        if self._next.exists():
            before = read_file(self._path)
            if _is_plain(before):
                replace_secret(self._next, self._path)
            else:
                write_atomically(self._going, before)
                self._next.replace(self._path)
                sync_folder(self._path.parent)
        self.settle()

    def settle(self) -> None:
        """A key that never came is noted as going first: no crash leaves a next one that is no more."""
        self._let_go()
        if self._next.exists():
            self._next.replace(self._going)
            sync_folder(self._path.parent)
            self._let_go()

    def _let_go(self) -> None:
        if self._going.exists():
            self._destroy(self._going)
            self._going.unlink()

    # -- the file -------------------------------------------------------------------------------------

    def _new(self, path: Path) -> bytes:
        """A new key in the module, and a new epoch key sealed by it, durable in `path`."""
        epoch, name, nonce = os.urandom(BYTES), os.urandom(16), os.urandom(_NONCE)
        with self._session(rw=True) as session:
            sealed = _generated(session, name).encrypt(epoch, **_gcm(nonce, name))
        said = {"v": 1, "pkcs11": name.hex(), "nonce": _text(nonce), "sealed": _text(sealed)}
        write_atomically(path, canonical(said))
        return epoch

    def _open(self, path: Path) -> bytes:
        data = read_file(path)
        if _is_plain(data):
            return data  # a plain file, from before there was a module
        name, nonce, sealed = _said(path, data)
        with self._session() as session:
            found = _found(session, name)
            if found is None:
                raise EpochKeyMissing(
                    path=path,
                    why=f"the token `{self._hsm.token}` does not have its key",
                    hint="it went with its epoch, or this is another token: take the current epoch.key",
                )
            with self._telling():
                return bytes(found.decrypt(sealed, **_gcm(nonce, name)))

    def _destroy(self, path: Path) -> None:
        """Destroy the module's key that a file names, unless it names none or the current file does, too."""
        data = read_file(path)
        if _is_plain(data) or data == read_file(self._path):
            return
        name, _, _ = _said(path, data)
        with self._session(rw=True) as session:
            found = _found(session, name)
            if found is not None:
                found.destroy()

    # -- the module -----------------------------------------------------------------------------------

    @contextmanager
    def _session(self, *, rw: bool = False) -> Iterator[Any]:
        try:
            import pkcs11
        except ImportError as error:
            raise NoPkcs11(
                why="`python-pkcs11` is not installed", hint="pip install 'freehold[hsm]'"
            ) from error
        pin = self._pin()
        with _ONE_AT_A_TIME, self._telling():
            token = _token(pkcs11.lib(self._hsm.module), self._hsm.token)
            with token.open(rw=rw, user_pin=pin) as session:
                yield session

    def _pin(self) -> str:
        path = Path(self._hsm.pin_file)
        try:
            if path.stat().st_mode & 0o077:
                raise PinMissing(
                    path=path, why="others may read the file", hint=f"chmod 600 {self._hsm.pin_file}"
                )
            return path.read_text().strip()
        except OSError as error:
            raise PinMissing(path=path, why=error.strerror or "", hint="see `hsm.pin_file`") from error

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """The module's errors in our words: their names say what they are, their texts may say more."""
        from pkcs11.exceptions import PKCS11Error

        try:
            yield
        except (PKCS11Error, RuntimeError) as error:
            raise HsmAway(
                token=self._hsm.token,
                why=type(error).__name__,
                hint="see `hsm` in freehold.yaml: the library, the label of the token, the PIN",
            ) from error


def _token(library: Any, label: str) -> Any:
    """The token of that name; libraries see one that came later once they are begun anew."""
    from pkcs11.exceptions import NoSuchToken

    try:
        return library.get_token(token_label=label)
    except NoSuchToken:
        library.reinitialize()
        return library.get_token(token_label=label)


def _generated(session: Any, name: bytes) -> Any:
    from pkcs11 import Attribute, KeyType

    never_out = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
    return session.generate_key(
        KeyType.AES, 256, id=name, label=LABEL, store=True, template={**never_out, Attribute.PRIVATE: True}
    )


def _found(session: Any, name: bytes) -> Any:
    from pkcs11 import KeyType, ObjectClass
    from pkcs11.exceptions import NoSuchKey

    try:
        return session.get_key(object_class=ObjectClass.SECRET_KEY, key_type=KeyType.AES, id=name)
    except NoSuchKey:
        return None


def _gcm(nonce: bytes, name: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism

    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, name, 128)}


def _is_plain(data: bytes) -> bool:
    return len(data) == BYTES


def _said(path: Path, data: bytes) -> tuple[bytes, bytes, bytes]:
    """The name of the module's key, nonce, sealed bytes. Raises EpochKeyMissing."""
    try:
        said = json.loads(data)
        name = bytes.fromhex(said["pkcs11"])
        return name, base64.b64decode(said["nonce"]), base64.b64decode(said["sealed"])
    except (ValueError, KeyError, TypeError) as error:
        raise EpochKeyMissing(path=path, why="it is no epoch key") from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
