"""Which engines have to run: read from the signed snapshots, with their models fetched and verified.

A thread asks control for news with the gateway's border key, exactly as a gateway does, and keeps a
list of the serving digests that routes name. Starting and ending processes is left to the main
thread, which asks for the list.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.client import Freehold
from freehold.engines.base_files import check_base
from freehold.engines.identity import name_of
from freehold.engines.package import load_verified, read_manifest
from freehold.engines.places import base_folder, model_folder, rules_path
from freehold.errors import Failure, Tampered
from freehold.spec.snapshot import PAYLOAD_TYPE
from freehold.store.home import Home, write_atomically
from freehold.store.signing import Envelope, verify

GRACE = 30.0
"""Seconds an engine stays after the last route that named it is gone: requests under way finish."""

_log = logging.getLogger(__name__)


class Wanted:
    """The serving digests that are to be served, each with its model in place."""

    def __init__(self, home: Home, control: str, trust: ssl.SSLContext | None = None) -> None:
        self._home = home
        self._control, self._trust = control, trust
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._named: frozenset[str] = frozenset()
        self._since_unnamed: dict[str, float] = {}
        self._problems: dict[str, tuple[str, str]] = {}
        self._bases: dict[str, str | None] = {}
        """Serving digest -> the digest of the base it needs beside its own files."""
        self._ix = 0
        self._told: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._loop, name="snapshots", daemon=True)

    def start(self, told: Callable[[], None]) -> None:
        """Ask from now on; begins with what the serving zone already has. `told` hears that there is news."""
        self._told = told
        self._read_kept()
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. Does not wait for a question that is under way."""
        self._stop.set()

    def now(self) -> frozenset[str]:
        """The digests that need an engine of their own: named by a route, or until lately, with a model
        in place."""
        return frozenset(digest for digest in self._in_place() if self._base_of(digest) is None)

    def on_bases(self) -> Mapping[str, frozenset[str]]:
        """The digests that are served on a base, by that base's digest, with both in place."""
        found: dict[str, set[str]] = {}
        for digest in self._in_place():
            base = self._base_of(digest)
            if base is not None and base_folder(self._home, base).is_dir():
                found.setdefault(base, set()).add(digest)
        return {base: frozenset(digests) for base, digests in found.items()}

    def _in_place(self) -> list[str]:
        at = time.monotonic()
        with self._lock:
            late = {d for d, since in self._since_unnamed.items() if at - since < GRACE}
            return [d for d in self._named | late if model_folder(self._home, d).is_dir()]

    def _base_of(self, digest: str) -> str | None:
        """What its manifest says, once it is here. The engine verifies it again."""
        if digest not in self._bases:
            self._bases[digest] = _base_in(model_folder(self._home, digest).parent / "envelope.json")
        return self._bases[digest]

    def problems(self) -> Mapping[str, tuple[str, str]]:
        """The digests that are named and whose model could not be fetched: state, and why."""
        with self._lock:
            return dict(self._problems)

    def forget(self, digest: str) -> None:
        """The engine is gone and nobody needs it: so is the model's copy here."""
        with self._lock:
            self._since_unnamed.pop(digest, None)
            if digest in self._named:
                return
            base = self._bases.pop(digest, None)
        shutil.rmtree(model_folder(self._home, digest).parent, ignore_errors=True)
        if base is not None and base not in self._bases.values():
            shutil.rmtree(base_folder(self._home, base).parent, ignore_errors=True)

    # -- news -------------------------------------------------------------------------------------

    def _loop(self) -> None:
        pause = 0.2
        while not self._stop.is_set():
            try:
                with Freehold(self._control, _border_key(self._home), ca=self._trust) as border:
                    self._listen(border)
            except (Failure, OSError) as failure:
                word = failure.code if isinstance(failure, Failure) else "the border key cannot be read"
                _log.warning("no news of routes: %s", word)
            self._stop.wait(pause)
            pause = min(pause * 2, 5.0) if self._ix == 0 else 0.5

    def _listen(self, border: Freehold) -> None:
        while not self._stop.is_set():
            answer = border.get("/border/snapshot", after=self._ix)
            if answer is not None:
                self._take(answer)
            self._fetch_missing(border)
            if answer is not None or self._problems:
                self._told()
            if self._problems:
                self._stop.wait(1.0)

    def _read_kept(self) -> None:
        """Engines can start before control does."""
        try:
            self._take(json.loads((self._home.snapshot / "current.json").read_text()))
        except (OSError, ValueError):
            return
        except Failure as failure:
            _log.warning("the kept snapshot is not used: %s", failure.code)

    def _verified(self, envelope: Mapping[str, Any]) -> Mapping[str, Any]:
        payload = verify(_pinned(self._home), Envelope.from_json(dict(envelope)), PAYLOAD_TYPE)
        snapshot: Mapping[str, Any] = json.loads(payload)
        return snapshot

    def _take(self, envelope: Mapping[str, Any]) -> None:
        """What it says from now on, laid where engines read it before anything is asked of them."""
        snapshot = self._verified(envelope)
        if int(snapshot["ix"]) <= self._ix:
            return
        write_atomically(rules_path(self._home), json.dumps(dict(envelope)).encode())
        revoked = frozenset(snapshot.get("revoked", ()))
        named = (
            frozenset(
                route["target"]["serving_digest"]
                for service in snapshot["services"]
                for route in (*service["routes"], service.get("shadow"))
                if route is not None and route["target"]["kind"] == "engine"
            )
            - revoked
        )
        with self._lock:
            at = time.monotonic()
            for digest in self._named - named:
                self._since_unnamed[digest] = at
            for digest in revoked:  # without grace: who was forgotten is not asked about once more
                self._since_unnamed.pop(digest, None)
            for digest in named:
                self._since_unnamed.pop(digest, None)
            self._named = named
            self._ix = int(snapshot["ix"])

    # -- models -----------------------------------------------------------------------------------

    def _fetch_missing(self, border: Freehold) -> None:
        for digest in self._named:
            try:
                if not model_folder(self._home, digest).is_dir():
                    self._fetch(border, digest)
                base = self._base_of(digest)
                if base is not None and not base_folder(self._home, base).is_dir():
                    self._fetch_base(border, base)
                self._note(digest, None)
            except Failure as failure:
                _log.warning("the model of %s cannot be fetched: %s", digest[:19], failure.code)
                state = "refused" if isinstance(failure, Tampered) else "failed"
                self._note(digest, (state, failure.why or failure.what))

    def _note(self, digest: str, problem: tuple[str, str] | None) -> None:
        with self._lock:
            if problem:
                self._problems[digest] = problem
            else:
                self._problems.pop(digest, None)

    def _fetch(self, border: Freehold, digest: str) -> None:
        """Fetch beside its place, verify, rename: what lies there is always a whole model."""
        target = model_folder(self._home, digest).parent
        arriving = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(arriving, ignore_errors=True)
        try:
            (arriving / "files").mkdir(parents=True, mode=0o700)
            told = border.get(f"/border/models/{digest}")
            for name in ("envelope", "evidence"):
                write_atomically(arriving / f"{name}.json", json.dumps(told[name]).encode())
            for entry in told["files"]:
                self._fetch_file(border, f"models/{digest}", entry["path"], arriving / "files")
            load_verified(arriving / "files", Envelope.from_json(told["envelope"]), _pinned(self._home))
            shutil.rmtree(target, ignore_errors=True)
            os.replace(arriving, target)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _fetch_base(self, border: Freehold, digest: str) -> None:
        """The same for a base, which is believed by its digest alone."""
        target = base_folder(self._home, digest).parent
        arriving = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(arriving, ignore_errors=True)
        try:
            (arriving / "files").mkdir(parents=True, mode=0o700)
            for entry in border.get(f"/border/bases/{digest}")["files"]:
                self._fetch_file(border, f"bases/{digest}", entry["path"], arriving / "files")
            check_base(arriving / "files", digest)
            os.replace(arriving, target)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _fetch_file(self, border: Freehold, what: str, path: str, folder: Path) -> None:
        target = (folder / path).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise Failure(why="a model file leads outside its folder")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (
            border.stream("GET", f"/border/{what}/files/{path}") as response,
            target.open("wb") as file,
        ):
            for piece in response.iter_bytes():
                file.write(piece)


def _base_in(envelope: Path) -> str | None:
    """The base that a signed manifest names; none for models that need none, or before it is here."""
    try:
        signed = Envelope.from_json(json.loads(envelope.read_bytes()))
        manifest = read_manifest(signed.payload)
    except (OSError, ValueError, Failure):
        return None
    base = manifest.about.features.get("base") if name_of(manifest) == "torch" else None
    return str(base) if base is not None else None


def _pinned(home: Home) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(home.release_pub.read_bytes())


def _border_key(home: Home) -> str:
    return home.gateway_border.read_text().strip()
