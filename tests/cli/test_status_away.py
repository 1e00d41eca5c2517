"""`freehold status` while control is away: the gateway is asked how it fares."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar
from unittest.mock import patch

import pytest

from freehold.cli.main import main

NOBODY = "http://127.0.0.1:9"


class _Gateway(BaseHTTPRequestHandler):
    told: ClassVar[Any]
    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        body = self.told if isinstance(self.told, bytes) else json.dumps(self.told).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        pass


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Gateway]]:
    """Something that answers as a gateway does, and no control."""
    server = HTTPServer(("127.0.0.1", 0), _Gateway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("FREEHOLD_URL", NOBODY)
    monkeypatch.setenv("FREEHOLD_KEY", "fhc_01jd_" + "x" * 43)
    monkeypatch.setenv("FREEHOLD_GATEWAY", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(_Gateway, "status", 200)
    _Gateway.told = {"snapshot": 7, "records": {"waiting": 3, "late": 0}, "troubles": []}
    yield _Gateway
    server.shutdown()
    thread.join()
    server.server_close()


def status(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with patch.object(sys, "argv", ["freehold", "status", *words]), pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_gateway_tells_since_when_what_is_lost_and_what_to_do(
    gateway: type[_Gateway], capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.told["troubles"] = [
        {
            "part": "control",
            "since": 1_800_000_000_000_000,
            "what": "control is not heard",
            "why": "ClientConnectorError",
            "lost": "nothing is lost",
            "hint": "see that control runs",
        }
    ]
    code, out, err = status(capsys)
    assert code == 9
    assert "answers by snapshot 7" in out
    assert "  wrong: control is not heard since 2027-01-15 08:00:00 UTC: Client" in out
    assert "3 record(s) wait for control" in out
    assert "control at `http://127.0.0.1:9` does not answer" in err


def test_nothing_wrong_at_the_gateway_is_said_too(
    gateway: type[_Gateway], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing is wrong there" in status(capsys)[1]
    assert status(capsys, "--json")[1] == ""


@pytest.mark.usefixtures("gateway")
def test_a_gateway_that_is_away_as_well_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FREEHOLD_GATEWAY", NOBODY)
    code, out, _ = status(capsys)
    assert (code, out) == (9, f"the gateway at {NOBODY} does not answer either\n")


KEYS = ("fhc_01jd_" + "x" * 43, "fhc_" + "0" * 26 + "_" + "x" * 43)
"""One that has not the shape of a key of ours; one that has, with which the ledger is looked at first."""


@pytest.mark.parametrize("key", KEYS, ids=["shapeless", "a key"])
@pytest.mark.parametrize(
    ("status_", "body"),
    [
        (200, b"<html>welcome</html>"),
        (404, b"<html>not here</html>"),
        (404, {"error": {"message": "there is no path `/api/status` here", "code": "no_such_path"}}),
        (404, {"error": {"what": "there is nothing at `GET /api/status`", "code": "no-such-path"}}),
    ],
)
def test_another_server_is_not_taken_for_control(
    gateway: type[_Gateway],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    status_: int,
    body: Any,
) -> None:
    url = os.environ["FREEHOLD_GATEWAY"]
    monkeypatch.setenv("FREEHOLD_URL", url)
    monkeypatch.setenv("FREEHOLD_KEY", key)
    monkeypatch.setattr(gateway, "status", status_)
    gateway.told = body
    code, out, err = status(capsys)
    assert (code, out) == (9, "")
    assert err.startswith(f"freehold: `{url}` does not answer as control does\n  why:  ")
    assert "\n  hint: FREEHOLD_URL or `--url` names control" in err


@pytest.mark.usefixtures("gateway")
def test_a_gateway_whose_address_is_none_is_said_to_be_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FREEHOLD_GATEWAY", "http://127.0.0.1:nothing")
    assert status(capsys)[1] == "the gateway at http://127.0.0.1:nothing does not answer either\n"


@pytest.mark.parametrize("code", ["no-such-path", "not-found"])
def test_a_gateway_in_controls_place_is_no_changed_history_and_a_ledger_withheld_is(
    gateway: type[_Gateway], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    monkeypatch.setenv("FREEHOLD_URL", os.environ["FREEHOLD_GATEWAY"])
    monkeypatch.setenv("FREEHOLD_KEY", KEYS[1])
    monkeypatch.setattr(
        "freehold.client._read", lambda _path: "some.where+12345678+key"
    )  # it was seen before
    monkeypatch.setattr(gateway, "status", 404)
    gateway.told = {"error": {"what": "there is none", "code": code, "exit": 3}}
    ended, _, err = status(capsys)
    assert ended == {"no-such-path": 9, "not-found": 8}[code]
    assert ("a history that does not hold" in err) is (ended == 8)
