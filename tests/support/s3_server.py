"""A real S3 server for tests: rclone (MIT) serving a folder, with signatures checked.

rclone comes as a wheel, so that it installs wherever the tests do. It takes what S3 clients send: PUT and
multipart uploads, ranges, paged lists, deletes in bulk, signature version 4.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar
from urllib.parse import quote

import pytest
from ports import free_port

BUCKETS = 60
KEY, SECRET = "freehold", "a-secret-of-the-tests"


def rclone() -> str:
    """Where it is; the reason of the skip is what FREEHOLD_REQUIRE names."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("rclone", path=os.pathsep.join((beside, os.environ["PATH"])))
    if found is None:
        pytest.skip("rclone is not installed here: no S3 server to test against")
    return found


class S3Server:
    """Runs while the block does; each folder below `root` is a bucket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.newest = root
        self._buckets = [root / f"bucket-{number}" for number in range(BUCKETS)]
        for bucket in self._buckets:  # the server looks for them once
            bucket.mkdir(parents=True)

    def __enter__(self) -> S3Server:
        self.port = free_port()
        self._log = (self.root.parent / "rclone.log").open("wb")
        self._start()
        return self

    def _start(self) -> None:
        command = [rclone(), "serve", "s3", "--addr", f"127.0.0.1:{self.port}"]
        command += ["--auth-key", f"{KEY},{SECRET}", "--config", "/dev/null"]
        command += [str(self.root)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self.root.parent / "rclone.log").read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop()
        self._log.close()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens there."""
        self._stop()
        try:
            yield
        finally:
            self._start()

    def new_bucket(self, prefix: str) -> str:
        """A bucket of its own, as one line of freehold.yaml names it."""
        self.newest = self._buckets.pop(0)
        return f"s3://{self.newest.name}/{prefix}?endpoint={quote(f'http://127.0.0.1:{self.port}', safe='')}"

    credentials: ClassVar = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    """As AWS's own tools take them."""

    def let_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The credentials, for this process."""
        for name, value in self.credentials.items():
            monkeypatch.setenv(name, value)
