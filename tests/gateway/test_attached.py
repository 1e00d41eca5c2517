"""An attached provider: passed through under our name, counted, limited, and its failures told as ours."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from freehold.engines.upstream_fake import FakeUpstream
from freehold.gateway.bounds import Bounds
from freehold.gateway.provider import _take_usage
from freehold.gateway.spend import Tally
from freehold.spec.ids import now
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import Most
from tests.gateway.conftest import Site, listening

Ask = Any


@pytest.fixture
def fake(site: Site) -> FakeUpstream:
    """A provider with a key, attached as `chat`, and the gateway up."""
    fake, url = site.upstream(key="sk-theirs")
    site.attached(url, secret="sk-theirs", price_in="0.5", price_out="2")
    return fake


@pytest.fixture
def client(site: Site, fake: FakeUpstream) -> Iterator[openai.OpenAI]:
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up(Bounds(linger=0.05, drain=5, ship=2, silence=2, connect=2, response=200_000))
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def say(client: openai.OpenAI, words: str, **options: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": words}]
    return client.chat.completions.with_raw_response.create(model="chat", messages=messages, **options)


def streamed(client: openai.OpenAI, words: str, **options: Any) -> list[Any]:
    messages: list[Any] = [{"role": "user", "content": words}]
    return list(client.chat.completions.create(model="chat", messages=messages, stream=True, **options))


def test_an_answer_passes_through_under_the_services_name(
    site: Site, client: openai.OpenAI, fake: FakeUpstream
) -> None:
    raw = say(client, "good day", temperature=0.3, metadata={"subject": "anna-k", "team": "a"})
    answer = raw.parse()
    assert answer.choices[0].message.content == "You said: good day"
    assert answer.model == "chat"
    (heard,) = fake.heard
    assert heard.body["model"] == "fake-1"
    assert heard.body["temperature"] == 0.3
    assert heard.body["metadata"] == {"team": "a"}, "who it is about stays here"
    assert "anna-k" not in json.dumps(heard.headers)
    assert heard.headers["authorization"] == "Bearer sk-theirs"
    end = site.closed(raw.headers["x-freehold-answer"]).close
    assert (end.tokens_in, end.tokens_out, end.estimated) == (2, 4, False)
    assert Decimal(end.cost) == Decimal("0.009")


def test_a_stream_passes_through_piece_by_piece_and_is_counted(
    site: Site, client: openai.OpenAI, fake: FakeUpstream
) -> None:
    chunks = streamed(client, "one two three")
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "You said: one two three"
    assert {c.model for c in chunks} == {"chat"}
    assert all(c.usage is None for c in chunks), "the caller did not ask for usage"
    assert fake.heard[0].body["stream_options"] == {"include_usage": True}
    end = site.control.wait(lambda: [r for r in site.control.records if hasattr(r, "close")])[0].close
    assert (end.ending, end.tokens_out, end.estimated) == ("answered", 5, False)
    assert streamed(client, "x", stream_options={"include_usage": True})[-1].usage is not None


def test_tools_pass_through_both_ways(client: openai.OpenAI, fake: FakeUpstream) -> None:
    tool: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    answer = say(client, "where is my claim", tools=[tool], tool_choice="auto").parse()
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "look_up"
    assert fake.heard[0].body["tools"] == [tool]
    chunks = streamed(client, "where is my claim", tools=[tool])
    assert any(c.choices[0].delta.tool_calls for c in chunks)
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}
    say(client, "x", response_format=form)
    assert fake.heard[-1].body["response_format"] == form


@pytest.mark.parametrize("said", [{"prompt_tokens": 10**12}, {"prompt_tokens": -1}, {}, 7])
def test_usage_that_cannot_be_is_not_believed(said: object) -> None:
    tally = Tally(tokens_in=3, estimated=True)
    assert not _take_usage({"usage": said}, tally)
    assert (tally.tokens_in, tally.estimated) == (3, True)


def test_usage_that_is_not_said_is_estimated_and_marked(site: Site, client: openai.OpenAI) -> None:
    raw = say(client, "good day to you [no-usage]")
    end = site.closed(raw.headers["x-freehold-answer"]).close
    assert end.estimated
    assert end.tokens_in > 5
    assert end.tokens_out > 5
    streamed(client, "good day to you [no-usage]")


@pytest.mark.parametrize("words", ["[delay 3] x", "[status 504] x", "[hang-up] x", "[garbage] x"])
def test_what_a_provider_may_have_done_is_settled_as_what_was_reserved(
    site: Site, client: openai.OpenAI, words: str
) -> None:
    with pytest.raises(openai.APIStatusError) as failed:
        say(client, words, max_tokens=70)
    end = site.closed(failed.value.response.headers["x-freehold-answer"]).close
    assert (end.ending, end.tokens_out, end.estimated) == ("failed", 70, True)
    assert Decimal(end.cost) == (end.tokens_in * Decimal("0.5") + 70 * 2) / 1000


def test_a_stream_that_falls_silent_is_settled_as_reserved(site: Site, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError):
        streamed(client, "[pause 3] a b c", max_tokens=70)
    end = site.control.wait(lambda: [r for r in site.control.records if hasattr(r, "close")])[0].close
    assert (end.reason, end.tokens_out, end.estimated) == ("upstream-slow", 70, True)


def test_a_caller_who_leaves_before_the_answer_pays_what_was_reserved(
    site: Site, client: openai.OpenAI, fake: FakeUpstream
) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "[delay 1.5] x"}], "max_tokens": 70}
    with closing(HTTPConnection(site.url.removeprefix("http://"))) as line:
        headers = {"authorization": f"Bearer {client.api_key}"}
        line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        site.until(lambda: bool(fake.heard))
    end = site.control.wait(lambda: [r for r in site.control.records if hasattr(r, "close")])[0].close
    assert (end.ending, end.tokens_out, end.estimated) == ("cut off", 70, True)


@pytest.mark.parametrize(("words", "times"), [("[status 503]", 2), ("[status 429]", 1), ("[status 500]", 1)])
def test_what_was_refused_unread_is_asked_once_more_and_nothing_else_is(
    site: Site, client: openai.OpenAI, fake: FakeUpstream, words: str, times: int
) -> None:
    """The fake's 429 wants to be asked in 7 s, which is too long to wait with a caller."""
    with pytest.raises(openai.APIStatusError) as failed:
        say(client, words)
    assert len(fake.heard) == times
    end = site.closed(failed.value.response.headers["x-freehold-answer"]).close
    assert (end.tokens_in, end.tokens_out, end.cost) == (0, 0, "0")


def test_the_providers_refusal_of_our_key_is_not_the_callers_401(site: Site, client: openai.OpenAI) -> None:
    for status in (401, 403):
        with pytest.raises(openai.InternalServerError) as refused:
            say(client, f"[status {status}]")
        assert (refused.value.status_code, refused.value.code) == (502, "upstream_refused")
    end = site.closed(refused.value.response.headers["x-freehold-answer"]).close
    assert (end.ending, end.reason, end.cost) == ("failed", "upstream-refused", "0")


def test_a_busy_provider_is_429_with_its_own_wait(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as busy:
        say(client, "[status 429]")
    assert busy.value.response.headers["retry-after"] == "7"


def test_what_the_provider_finds_wrong_with_the_request_reaches_the_caller(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="as you wish: 422"):
        say(client, "[status 422]")


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        ("[status 500]", 502, "upstream_failed"),
        ("[status 404]", 502, "upstream_failed"),
        ("[redirect]", 502, "upstream_failed"),
        ("[garbage]", 502, "upstream_broke"),
        ("[hang-up]", 502, "upstream_broke"),
        ("[delay 3]", 504, "upstream_slow"),
    ],
)
def test_each_way_of_failing_has_its_word(
    site: Site, client: openai.OpenAI, words: str, status: int, code: str
) -> None:
    with pytest.raises(openai.APIStatusError) as failed:
        say(client, words)
    assert (failed.value.status_code, failed.value.code) == (status, code)
    end = site.closed(failed.value.response.headers["x-freehold-answer"]).close
    assert (end.ending, end.reason) == ("failed", code.replace("_", "-"))


def test_a_provider_that_cannot_be_reached_is_told(site: Site, http: httpx.Client) -> None:
    site.attached(site.nobody())
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
    away = http.post(f"{site.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
    assert (away.status_code, away.json()["error"]["code"]) == (502, "upstream_away")


def test_a_provider_whose_certificate_nobody_vouches_for_gets_no_word(
    site: Site, http: httpx.Client, tmp_path: Path
) -> None:
    received: list[bytes] = []
    listener, url = listening()

    def stand() -> None:
        with (
            suppress(OSError),
            listener.accept()[0] as plain,
            _self_signed(tmp_path).wrap_socket(plain, server_side=True) as secret,
        ):
            received.append(secret.recv(1000))

    standing = threading.Thread(target=stand)
    standing.start()
    site.attached(url.replace("http:", "https:"))
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
    refused = http.post(
        f"{site.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
    )
    standing.join(10)
    listener.close()
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_away")
    assert received in ([], [b""])


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=7,
        not_valid_before=begin,
        not_valid_after=begin + dt.timedelta(days=36_500),
        extensions=[
            x509.Extension(
                x509.SubjectAlternativeName.oid,
                critical=False,
                value=x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            )
        ],
    ).sign(key, hashes.SHA256())
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_a_proxy_of_the_shell_carries_nothing_away(
    site: Site, fake: FakeUpstream, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    key = site.key(purpose="claims-handling")
    site.publish()
    site.up()
    body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
    answer = http.post(
        f"{site.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 200
    assert len(fake.heard) == 1


def test_a_stream_that_breaks_off_is_no_complete_answer(site: Site, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError, match="broke off"):
        streamed(client, "one two three four [hang-up]")
    end = site.control.wait(lambda: [r for r in site.control.records if hasattr(r, "close")])[0]
    assert (end.close.ending, end.close.reason) == ("failed", "upstream-broke")
    assert b'"content":"two ' in site.words(end).response, "what the caller saw is kept"


def test_an_answer_larger_than_allowed_is_cut_off(site: Site, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as failed:
        say(client, "x" * 250_000)
    assert failed.value.code == "upstream_broke"


def test_a_caller_that_hangs_up_stops_the_provider_and_is_recorded(
    site: Site, client: openai.OpenAI, fake: FakeUpstream
) -> None:
    words = " ".join(["word"] * 200)
    stream = client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": f"{words} [pause 0.02]"}], stream=True
    )
    for n, _chunk in enumerate(stream):
        if n == 5:
            break
    stream.response.close()
    end = site.control.wait(lambda: [r for r in site.control.records if hasattr(r, "close")])[0]
    assert (end.close.ending, end.close.reason, end.close.status) == ("cut off", "caller-gone", 499)
    assert 0 < end.close.tokens_out < 150
    site.control.wait(lambda: fake.cut_off == 1 or site.control.changed.wait(0.05))


def test_an_ended_contract_is_not_called(site: Site, client: openai.OpenAI, fake: FakeUpstream) -> None:
    route = site.services["chat"].routes[0]
    ended = replace(route, target=replace(route.target, contract_until=now() - 1))
    site.change("chat", routes=(ended,))
    site.publish()
    with pytest.raises(openai.InternalServerError) as refused:
        say(client, "x")
    assert (refused.value.status_code, refused.value.code) == (503, "contract_ended")
    assert not fake.heard
    assert site.closed(refused.value.response.headers["x-freehold-answer"]).close.ending == "denied"


def test_restricted_words_do_not_leave_whatever_was_agreed(
    site: Site, client: openai.OpenAI, fake: FakeUpstream
) -> None:
    route = site.services["chat"].routes[0]
    agreed = replace(route.target, region="eu", contract_until=now() + 10**12)
    site.change("chat", sensitivity=int(Sensitivity.RESTRICTED), routes=(replace(route, target=agreed),))
    site.publish()
    with pytest.raises(openai.PermissionDeniedError) as refused:
        say(client, "x")
    assert refused.value.code == "stays_inside"
    assert "whatever a contract says" in str(refused.value)
    assert not fake.heard
    close = site.closed(refused.value.response.headers["x-freehold-answer"]).close
    assert (close.ending, close.reason) == ("denied", "stays-inside")
    inside = replace(route, target=replace(agreed, inside=True))
    site.change("chat", routes=(inside,))
    site.publish()
    say(client, "x")
    assert len(fake.heard) == 1


def test_a_day_s_budget_holds_over_a_restart(site: Site, client: openai.OpenAI, fake: FakeUpstream) -> None:
    # a request may cost its bytes × 0.0005 + 10 tokens × 0.002 at worst: about 0.07
    site.change("chat", most=Most(spend="0.1"))
    site.publish()
    first = site.closed(say(client, "good day", max_tokens=10).headers["x-freehold-answer"]).close
    assert Decimal(first.cost) == Decimal("0.009")
    for _ in range(4):  # what was reserved and not used came back each time
        say(client, "good day", max_tokens=10)
    with pytest.raises(openai.RateLimitError) as used_up:
        say(client, "good day", max_tokens=10)
    assert used_up.value.code == "budget_used_up"
    asked = len(fake.heard)
    site.down()
    site.up()
    with pytest.raises(openai.RateLimitError):
        say(client, "good day", max_tokens=10)
    assert len(fake.heard) == asked


def test_where_money_is_limited_the_most_tokens_are_said_upstream(
    site: Site, client: openai.OpenAI, fake: FakeUpstream
) -> None:
    say(client, "x")
    assert "max_tokens" not in fake.heard[-1].body
    site.change("chat", most=Most(spend="1000"))
    site.publish()
    say(client, "x")
    assert fake.heard[-1].body["max_tokens"] == 4096


def test_an_attached_service_is_not_asked_by_the_inference_protocol(
    site: Site, client: openai.OpenAI, http: httpx.Client
) -> None:
    refused = http.post(
        f"{site.url}/v2/models/chat/infer",
        json={"inputs": []},
        headers={"authorization": f"Bearer {client.api_key}"},
    )
    assert refused.status_code == 400
    assert "/v1/chat/completions" in refused.json()["error"]
