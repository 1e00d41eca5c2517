"""Speaks HTTP to control; as thin as possible. CLI, worker and your own scripts use nothing else.

Before the first call of a person's key it looks at the ledger: the checkpoint must be signed by the
key seen at first, and continue the checkpoint seen last. So not even the administrator of the host can
rewrite history without the clients noticing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from freehold.errors import BadInput, Failure, NotSignedIn, Tampered, Told, Unavailable
from freehold.spec.asking import read_trace
from freehold.spec.keys import KeyText
from freehold.spec.merkle import ProofWrong, check_consistency
from freehold.spec.notes import NoteWrong, VerifierKey, read_checkpoint
from freehold.spec.receipt import Receipt, ReceiptWrong
from freehold.tls import trusting_as_said

DEFAULT_URL = "http://127.0.0.1:7400"
RESTORED = "installation.restored"
"""The kind of entry by which a ledger says that it went back."""


class ControlAway(Unavailable):
    """control at `{url}` does not answer"""


class NotControl(Unavailable):
    """`{url}` does not answer as control does"""


class NoAddress(BadInput):
    """`{said}` is no address of {whom}"""


class KeyMangled(NotSignedIn):
    """the key cannot be sent as it is"""


class HistoryChanged(Tampered):
    """control at `{url}` shows a history that does not hold"""


class HistoryRestored(HistoryChanged):
    """control at `{url}` was restored from a backup"""


class Freehold:
    """A session with control.

    `key` is a control-zone key (`fhc_…`), else `FREEHOLD_KEY`; `url` else `FREEHOLD_URL`, else this
    machine. An https control is known by the CA in the file `ca`, else `FREEHOLD_CA`, else by those this
    machine trusts; or by a context of your own. Every failure control tells is raised as `Told` with the
    same code and exit code. Raises CaUnusable, NoAddress, KeyMangled.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        ca: str | ssl.SSLContext | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.url = address(url or os.environ.get("FREEHOLD_URL") or DEFAULT_URL, "control")
        self._key = sendable((key or os.environ.get("FREEHOLD_KEY") or "").strip())
        # trust_env off: a proxy variable of the shell must not carry our keys elsewhere
        trust: ssl.SSLContext | bool = True
        if self.url.startswith("https://"):
            trust = ca if isinstance(ca, ssl.SSLContext) else trusting_as_said(ca or "")
        self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, verify=trust)
        # one command is one trace, the shell's own where it has one (OpenTelemetry's TRACEPARENT)
        self._trace = read_trace(os.environ.get("TRACEPARENT", "").encode()) or secrets.token_hex(16)
        self._looking = threading.Lock()
        self._looked = False

    def get(self, path: str, **query: Any) -> Any:
        """GET and read JSON."""
        return self._call("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """POST JSON and read JSON."""
        return self._call("POST", path, json=body, params={k: v for k, v in query.items() if v is not None})

    def delete(self, path: str) -> Any:
        """DELETE and read JSON."""
        return self._call("DELETE", path)

    def text(self, path: str) -> str:
        """GET and read text."""
        self._look()
        return self._response("GET", path).text

    def ledger_key(self) -> VerifierKey:
        """The key the ledger signs with: the one seen first, when this user has seen one."""
        self._look()
        known = KeyText.read(self._key)
        pinned = LastSeen(known.id).key if known else None
        return VerifierKey.parse(pinned or self.text("/ledger/key"))

    def send(
        self,
        method: str,
        path: str,
        content: Any,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Send raw bytes (a file, a chunk iterator) and read JSON; `timeout` where work follows the bytes."""
        patience = {} if timeout is None else {"timeout": timeout}
        return self._call(method, path, content=content, headers=dict(headers or {}), **patience)

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """A response whose body is read piece by piece."""
        self._look()
        try:
            with self._http.stream(method, path, headers=self._headers(), **options) as response:
                if response.status_code >= 400:
                    response.read()
                    raise _told(response)
                yield response
        except httpx.TransportError as error:
            raise self._away(error) from error

    def _headers(self) -> dict[str, str]:
        traced = {"traceparent": f"00-{self._trace}-{secrets.token_hex(8)}-01"}
        return traced | ({"authorization": f"Bearer {self._key}"} if self._key else {})

    def _call(self, method: str, path: str, **options: Any) -> Any:
        self._look()
        response = self._response(method, path, **options)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise _not_control(response) from error

    def _response(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self._headers(), **options.pop("headers", {})}
        try:
            response = self._http.request(method, path, headers=headers, **options)
        except httpx.TransportError as error:
            raise self._away(error) from error
        if response.status_code >= 400:
            raise _told(response)
        return response

    def _away(self, error: httpx.TransportError) -> ControlAway:
        why = str(error) or type(error).__name__
        unknown = "CERTIFICATE_VERIFY_FAILED" in why
        hint = "name its CA: `FREEHOLD_CA=FILE`, or `--ca FILE`" if unknown else "start it with `freehold up`"
        return ControlAway(url=self.url, why=why, hint=hint)

    def _look(self) -> None:
        """Once a session: the ledger must continue what this user saw last. Raises HistoryChanged."""
        key = KeyText.read(self._key)
        if self._looked or key is None or key.zone != "control":
            return
        with self._looking:
            if self._looked:
                return
            note = self._ledger("checkpoint")
            seen = LastSeen(key.id)
            if note is not None:
                self._compare(seen, note)
            elif seen.key is not None:  # a ledger that was there cannot be "not begun yet"
                raise HistoryChanged(
                    url=self.url,
                    why="it shows no ledger, and you have seen one there",
                    hint="ask who runs it: the ledger was removed or is withheld",
                )
            self._looked = True

    def _ledger(self, path: str) -> str | None:
        try:
            return self._response("GET", f"/ledger/{path}").text
        except Told as told:
            if told.status == 404:
                return None  # nothing was sequenced yet
            raise

    def _compare(self, seen: LastSeen, note: str) -> None:
        try:
            key = VerifierKey.parse(seen.key) if seen.key else self._shown()
            before = seen.by(key)
            now = read_checkpoint(note, key)
            if before == note:
                return
            if before is not None:
                old = read_checkpoint(before, key)
                check_consistency(old.size, now.size, old.root, now.root, self._proof(old.size, now.size))
        except (NoteWrong, ProofWrong) as error:
            self._tell_restored(seen)
            raise HistoryChanged(
                url=self.url,
                why=f"{error.what}: {error.why}",
                hint="ask who runs it: its ledger says nothing of a backup restored since you looked",
            ) from error
        seen.remember(key, note)

    def _shown(self) -> VerifierKey:
        """The ledger's key, as it is shown now. Raises NotControl where none is."""
        try:
            return VerifierKey.parse(self._ledger("key") or "")
        except NoteWrong as error:  # another server's page: nothing was seen of it that could have changed
            raise NotControl(url=self.url, why="it shows no key of a ledger", hint=_WHERE) from error

    def _tell_restored(self, seen: LastSeen) -> None:
        """Raise HistoryRestored when the ledger says that it went back since this user looked last."""
        with suppress(NoteWrong, ProofWrong, ReceiptWrong):
            key = VerifierKey.parse(seen.key or self._ledger("key") or "")
            before = read_checkpoint(seen.by(key) or "", key)
            for receipt in self._restorations():
                _, entry = receipt.check(key)
                if receipt.ix < before.size and entry["at"] > seen.at(key):
                    raise HistoryRestored(
                        url=self.url,
                        why=f"you saw {before.size} entries; after the first {receipt.ix} others came",
                        hint=f"when you know of it: `freehold verify --accept-restored {entry['id']}`",
                    )

    def _restorations(self) -> list[Receipt]:
        """The ledger's own word that it was restored, each with its proof; the newest first."""
        said = json.loads(self._ledger("restored") or "[]")
        return [Receipt.parse(text) for text in reversed(said)]

    def accept_restored(self, entry: str) -> int:
        """Go on from a ledger that was restored, because its user knows of it; the size it has now.

        Raises HistoryChanged when the ledger holds no such entry.
        """
        known = KeyText.read(self._key)
        seen = LastSeen(known.id if known else None)
        try:
            key = VerifierKey.parse(seen.key or self._ledger("key") or "")
            for receipt in self._restorations():
                checkpoint, body = receipt.check(key)
                if body["id"] == entry and body["kind"] == RESTORED:
                    seen.remember(key, receipt.checkpoint)
                    return checkpoint.size
        except (NoteWrong, ProofWrong, ReceiptWrong) as error:
            raise HistoryChanged(url=self.url, why=f"{error.what}: {error.why}") from error
        raise HistoryChanged(
            url=self.url,
            why=f"its ledger holds no entry `{entry[:80]}` about a restoration",
            hint="the id is in what `freehold restore` said, and in what a refused command says",
        )

    def _proof(self, old: int, new: int) -> list[bytes]:
        if not 0 < old < new:
            return []
        hashes = json.loads(self._ledger(f"consistency/{old}/{new}") or "[]")
        return [base64.b64decode(item) for item in hashes]

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Freehold:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_WHERE = "FREEHOLD_URL or `--url` names control, as `freehold up` shows it; the gateway is another address"


def address(said: str, whom: str) -> str:
    """Where `whom` is to be asked, without a slash at its end. Raises NoAddress."""
    url = said.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        right = False
    if not right:
        raise NoAddress(
            said=url[:200],
            whom=whom,
            why="it begins with `http://` or `https://`, and a host and its port follow",
            hint="such as http://127.0.0.1:7400; `freehold up` shows both, control's and the gateway's",
        )
    return url


def sendable(key: str) -> str:
    """`key`, when a header can hold it; what cannot be sent is not shown either. Raises KeyMangled."""
    if not is_sendable(key):
        raise KeyMangled(
            why="a key is one word of plain letters; here is a blank, a line's end or another sign in it",
            hint="give the key alone, as it was shown, or name the file it was written to with `--key-file`",
        )
    return key


def is_sendable(key: str) -> bool:
    """Whether a header can hold it: one word of plain letters, digits and signs."""
    return re.fullmatch(r"[!-~]*", key) is not None


def key_in(file: str | Path) -> str:
    """The key that `file` holds, alone. Raises KeyMangled."""
    return sendable(Path(file).read_text(encoding="utf-8", errors="replace").strip())


def _told(response: httpx.Response) -> Failure:
    """What control says went wrong; of what is not control, that it is not."""
    try:
        told = response.json()["error"]
        if "what" in told and told.get("code") != "no-such-path":  # which a gateway says of our paths
            return Told(told, response.status_code)
    except (ValueError, KeyError, TypeError):
        pass
    return _not_control(response)


def _not_control(response: httpx.Response) -> NotControl:
    url, why = strange(response)
    return NotControl(url=url, why=why, hint=_WHERE)


def strange(response: httpx.Response) -> tuple[str, str]:
    """Where somebody was asked whom it does not sound like, and what was asked."""
    asked = response.request
    url = str(asked.url.copy_with(path="/", query=None, fragment=None)).rstrip("/")
    return url, f"{asked.method} {asked.url.path} was answered {response.status_code}, and not in its words"


class LastSeen:
    """What this user saw of a ledger last, in `$XDG_STATE_HOME/freehold`, else `~/.local/state/freehold`.

    Two files: which ledger a key of ours belongs to, and that ledger's key and last checkpoint. A key is
    only ever good in one installation, so a ledger that changes its own key or name is noticed as well.
    Where the folder cannot be written, nothing is remembered and nothing else fails.
    """

    def __init__(self, key_id: str | None) -> None:
        """What was seen with this key of ours; without one, whichever was used."""
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self.folder = Path(state) / "freehold"
        self._pin = self.folder / "keys" / key_id if key_id else None
        self.key = _read(self._pin) if self._pin else None
        """The verifier key seen with this key of ours before, or none."""

    def by(self, key: VerifierKey) -> str | None:
        """The last checkpoint seen, signed by `key`; whichever of our keys was used then."""
        return _read(self._ledger(key))

    def at(self, key: VerifierKey) -> int:
        """When that was, microseconds UTC by this machine's clock; 0 when never."""
        try:
            return self._ledger(key).stat().st_mtime_ns // 1000
        except OSError:
            return 0

    def remember(self, key: VerifierKey, note: str) -> None:
        """Keep both for the next time."""
        with suppress(OSError):
            _write(self._ledger(key), note)
            if self._pin and self.key is None:
                _write(self._pin, str(key))

    def _ledger(self, key: VerifierKey) -> Path:
        return self.folder / "ledgers" / hashlib.sha256(str(key).encode()).hexdigest()[:32]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _write(path: Path, text: str) -> None:
    """Whole or not at all: two commands may write at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)
