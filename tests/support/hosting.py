"""Signed models and engine processes for tests."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from started import module

from freehold.engines import parity
from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_bytes, about_of, manifest_bytes, manifest_of
from freehold.errors import Failure
from freehold.spec.ids import canonical
from freehold.spec.model import MANIFEST_TYPE, About, Manifest
from freehold.spec.snapshot import PAYLOAD_TYPE, Column, Snapshot
from freehold.store.signing import sign


@dataclass(frozen=True)
class Signed:
    """A model's folder, its signed manifest and the key that signed it, as files."""

    folder: Path
    envelope: Path
    public: Path
    manifest: Manifest
    evidence: Path
    rules: Path


def write_signed(
    root: Path,
    files: Mapping[str, bytes],
    *,
    engine: str = "onnxruntime",
    key: Ed25519PrivateKey | None = None,
    change: Mapping[str, Any] | None = None,
) -> Signed:
    """Write and sign a model; `change` replaces fields of the manifest before it is signed."""
    folder = root / "model"
    folder.mkdir(parents=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    about = about_of(files, run="run_1")
    manifest = manifest_of(folder, model="mdl_1", name="triage", version=3, about=about, engine=engine)
    if change:
        fields = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
        manifest = Manifest(**{**fields, **change})
    key = key or Ed25519PrivateKey.generate()
    envelope = sign(key, MANIFEST_TYPE, manifest_bytes(manifest))
    (root / "model.dsse.json").write_text(json.dumps(envelope.as_json()))
    (root / "release.pub").write_bytes(key.public_key().public_bytes_raw())
    evidence = root / "evidence.dsse.json"
    write_evidence(evidence, manifest, files, key)
    rules = write_rules(root / "rules.dsse.json", key)
    return Signed(folder, root / "model.dsse.json", root / "release.pub", manifest, evidence, rules)


def write_rules(path: Path, key: Ed25519PrivateKey, revoked: Sequence[str] = ()) -> Path:
    """A signed snapshot that revokes these digests, as the supervisor lays it for engines."""
    snapshot = Snapshot(
        ix=1, entry="ent_1", issued_at=0, origin="freehold.local/t", spool_key="", revoked=tuple(revoked)
    )
    signed = sign(key, PAYLOAD_TYPE, canonical(snapshot.as_json()))
    path.write_text(json.dumps(signed.as_json()))
    return path


def write_evidence(
    path: Path, manifest: Manifest, files: Mapping[str, bytes], key: Ed25519PrivateKey
) -> None:
    """As an evaluation with this very engine would; none for the fake, or what cannot be loaded."""
    if not manifest.engine.startswith("onnxruntime"):
        return
    with contextlib.suppress(Failure):
        engine = OnnxEngine.load(manifest.about, files)
        said = parity.payload(
            manifest.serving_digest, "sha256:" + "0" * 64, parity.evidence(engine, manifest)
        )
        path.write_text(json.dumps(sign(key, parity.EVIDENCE_TYPE, said).as_json()))


def fake_files(inputs: Sequence[Column], classes: Sequence[str] = ("a", "b", "c")) -> dict[str, bytes]:
    """A model folder for the fake engine."""
    about = About(
        task="classify" if len(inputs) == 1 else "tabular",
        trainer="linear",
        inputs=tuple(inputs),
        classes=tuple(classes),
        data="claims@1",
        data_digest="sha256:" + "1" * 64,
        run="",
    )
    return {"about.json": about_bytes(about)}


def host_command(signed: Signed, socket: Path) -> list[str]:
    """How an engine process is started."""
    return [*module("freehold.engines.host"), *host_arguments(signed, socket)]


def host_arguments(signed: Signed, socket: Path) -> list[str]:
    """What it is told."""
    return [
        "--model", str(signed.folder), "--envelope", str(signed.envelope), "--evidence", str(signed.evidence),
        "--release-pub", str(signed.public), "--rules", str(signed.rules), "--socket", str(socket),
    ]  # fmt: skip


@contextmanager
def running(signed: Signed, socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An engine process that is ready; ended at the end."""
    process = subprocess.Popen(host_command(signed, socket), stderr=subprocess.PIPE)
    try:
        await_socket(process, socket)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(20)
        if process.stderr:
            process.stderr.close()


def await_socket(process: subprocess.Popen[bytes], socket: Path, within: float = 30) -> None:
    """Wait until the socket is there: the engine makes it when it can answer."""
    end = time.monotonic() + within
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"the engine did not start: {_said(process)}")
        time.sleep(0.01)


def _said(process: subprocess.Popen[bytes]) -> str:
    if process.stderr and select.select([process.stderr], [], [], 0)[0]:
        return os.read(process.stderr.fileno(), 4000).decode()
    return ""


def client(socket: Path) -> httpx.Client:
    """HTTP over the Unix socket."""
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://engine", timeout=30)


def tensor(name: str, datatype: str, values: Sequence[Any]) -> dict[str, Any]:
    """One input of a request."""
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": list(values)}
