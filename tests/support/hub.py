"""A hub on this machine: as much of its HTTP as the real client asks of it, over a local folder."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch
from urllib.parse import unquote, urlparse

from huggingface_hub import constants

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """Its address, and what it was asked."""

    address: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Hub]:
    """The model `name` (ORG/NAME) with the files of `folder`."""
    hub = Hub("")

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(False)

        def do_GET(self) -> None:
            self._answer(True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            status, data, headers = _look(name, folder, path)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

    with _online(), ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _online() -> Iterator[None]:
    """A tuning that ran in this process before has told the client to reach nobody (`train.tuning`)."""
    said = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    with patch.object(constants, "HF_HUB_OFFLINE", False), patch.dict(os.environ, said, clear=True):
        yield


def _look(name: str, folder: Path, path: str) -> tuple[int, bytes, dict[str, str]]:
    files = {f.relative_to(folder).as_posix(): f for f in sorted(folder.rglob("*")) if f.is_file()}
    api = f"/api/models/{name}"
    if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
        said = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files], "private": False}
        return 200, json.dumps(said).encode(), {"Content-Type": "application/json"}
    if path == f"{api}/tree/{COMMIT}":
        tree = [
            {"type": "file", "path": n, "size": f.stat().st_size, "oid": _sha1(f)} for n, f in files.items()
        ]
        return 200, json.dumps(tree).encode(), {"Content-Type": "application/json"}
    prefix = f"/{name}/resolve/{COMMIT}/"
    if path.startswith(prefix) and path.removeprefix(prefix) in files:
        data = files[path.removeprefix(prefix)].read_bytes()
        return 200, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
    code = "RevisionNotFound" if path.startswith(f"{api}/revision/") else "RepoNotFound"
    return 404, b"{}", {"X-Error-Code": code}


def _sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
