"""Speaks HTTP to control; as thin as possible. CLI, worker and your own scripts use nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from freehold.errors import Told, Unavailable

DEFAULT_URL = "http://127.0.0.1:7400"


class ControlAway(Unavailable):
    """control at `{url}` does not answer"""


class Freehold:
    """A session with control.

    `key` is a control-zone key (`fhc_…`), else `FREEHOLD_KEY`; `url` else `FREEHOLD_URL`, else this
    machine. Every failure control tells is raised as `Told` with the same code and exit code.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, timeout: float = 60.0) -> None:
        self.url = (url or os.environ.get("FREEHOLD_URL") or DEFAULT_URL).rstrip("/")
        self._key = key or os.environ.get("FREEHOLD_KEY") or ""
        # trust_env off: a proxy variable of the shell must not carry our keys elsewhere
        self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def get(self, path: str, **query: Any) -> Any:
        """GET and read JSON."""
        return self._call("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """POST JSON and read JSON."""
        return self._call("POST", path, json=body, params={k: v for k, v in query.items() if v is not None})

    def delete(self, path: str) -> Any:
        """DELETE and read JSON."""
        return self._call("DELETE", path)

    def send(self, method: str, path: str, content: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Send raw bytes (a file, a chunk iterator) and read JSON."""
        return self._call(method, path, content=content, headers=dict(headers or {}))

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """A response whose body is read piece by piece."""
        with self._http.stream(method, path, headers=self._headers(), **options) as response:
            if response.status_code >= 400:
                response.read()
                raise _told(response)
            yield response

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._key}"} if self._key else {}

    def _call(self, method: str, path: str, **options: Any) -> Any:
        headers = {**self._headers(), **options.pop("headers", {})}
        try:
            response = self._http.request(method, path, headers=headers, **options)
        except httpx.TransportError as error:
            raise ControlAway(
                url=self.url, why=str(error) or type(error).__name__, hint="start it with `freehold up`"
            ) from error
        if response.status_code >= 400:
            raise _told(response)
        return response.json() if response.content else None

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Freehold:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _told(response: httpx.Response) -> Told:
    try:
        told = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        told = {"what": f"control answered {response.status_code}", "why": response.text[:200]}
    return Told(told, response.status_code)
