"""One request from who asks to its record: every way in, every way out."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from typing import Any

import httpx
import pytest

from freehold.gateway.answering import EngineFailed
from freehold.gateway.bounds import Bounds
from freehold.gateway.classifier_chat import _content
from freehold.spec.ids import new_id, now
from freehold.spec.keys import KeyText
from freehold.spec.snapshot import REBUILT, Most, Withdrawal
from tests.gateway.conftest import COLUMNS, QUICK, Site, hmac_of


@pytest.fixture
def ask(site: Site, http: httpx.Client) -> Any:
    """Ask in chat; fields replace those of a plain question."""

    def asked(key: str | None, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        signed = {"authorization": f"Bearer {key}"} if key else {}
        body = {
            "model": "triage",
            "messages": [{"role": "user", "content": "water in the kitchen"}],
            **fields,
        }
        return http.post(f"{site.url}/v1/chat/completions", json=body, headers={**signed, **(headers or {})})

    return asked


@pytest.fixture
def key(site: Site) -> str:
    """A key with a default purpose; the service `triage` stands and is served."""
    key = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    site.up()
    return key


def error(answer: httpx.Response) -> dict[str, Any]:
    said: dict[str, Any] = answer.json()["error"]
    assert set(said) == {"message", "type", "param", "code"}
    return said


# -- answered -----------------------------------------------------------------------------------------


def test_a_classifier_answers_a_chat_and_the_record_says_so(site: Site, key: str, ask: Any) -> None:
    answer = ask(key, headers={"x-request-id": "7" * 32, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert '"class":' in said["choices"][0]["message"]["content"]
    assert said["model"] == "triage"
    end = site.closed(answer.headers["x-freehold-answer"])
    assert (end.close.ending, end.close.status, end.close.reason) == ("answered", 200, "ok")
    began = site.begun(answer.headers["x-freehold-answer"]).intent
    assert (began.service, began.purpose, began.snapshot) == ("triage", "claims-handling", 1)
    assert (began.request_id, began.trace) == ("7" * 32, "a" * 32)
    assert began.release
    assert began.serving_digest


def test_a_chat_says_when_the_text_was_longer_than_the_model_reads() -> None:
    outputs = [{"name": "class", "data": ["water"]}, {"name": "confidence", "data": [0.5]}]
    whole = {"class": "water", "confidence": 0.5}
    assert json.loads(_content({"outputs": outputs})) == whole
    cut = {"outputs": outputs, "parameters": {"rows_cut": 1, "read_tokens": 64}}
    assert json.loads(_content(cut)) == {**whole, "cut": True}
    with pytest.raises(EngineFailed):
        _content({"outputs": outputs, "parameters": 7})


def test_words_are_sealed_to_control_and_match_their_commitments(site: Site, key: str, ask: Any) -> None:
    answer = ask(key)
    end = site.closed(answer.headers["x-freehold-answer"])
    words = site.words(end)
    assert words.response == answer.content
    assert b"water in the kitchen" in words.request
    committed = hmac.new(bytes.fromhex(words.salt), words.response, hashlib.sha256).hexdigest()
    assert end.close.response == f"hmac-sha256:{committed}"
    for path in site.home.serving.rglob("*"):
        if path.is_file():
            assert b"water in the kitchen" not in path.read_bytes(), f"in clear in {path.name}"


def test_a_stream_ends_with_done_and_brings_usage_when_asked(site: Site, key: str, ask: Any) -> None:
    answer = ask(key, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert '"usage":' in events[-2]
    assert '"finish_reason":"stop"' in events[-3]
    assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "answered"


def test_a_tabular_service_reads_a_row_written_as_json(site: Site, ask: Any) -> None:
    key = site.key(purpose="claims-handling")
    site.own("scorer", COLUMNS)
    site.publish()
    site.up()
    row = '{"age": 71, "claims": 2, "member": true}'
    answer = ask(key, model="scorer", messages=[{"role": "user", "content": row}])
    assert answer.status_code == 200, answer.text
    refused = ask(key, model="scorer", messages=[{"role": "user", "content": "an old member"}])
    assert refused.status_code == 400
    assert '"age"' in error(refused)["message"]


def test_a_sandbox_marks_every_answer_and_every_record(site: Site, ask: Any) -> None:
    key = site.key(purpose="claims-handling")
    site.own(tier="sandbox")
    site.publish()
    site.up()
    answer = ask(key)
    assert answer.headers["x-freehold-tier"] == "sandbox"
    assert site.begun(answer.headers["x-freehold-answer"]).intent.sandbox
    assert ask(key, headers={"x-freehold-purpose": "marketing"}).headers["x-freehold-tier"] == "sandbox"


def test_models_lists_what_the_key_may_ask(site: Site, http: httpx.Client) -> None:
    wide, narrow = site.key(), site.key(services=("triage",))
    other = site.key(project="people")
    site.own()
    site.own("second")
    site.publish()
    site.up()

    def listed(key: str) -> list[str]:
        answer = http.get(f"{site.url}/v1/models", headers={"authorization": f"Bearer {key}"})
        return [model["id"] for model in answer.json()["data"]]

    assert (listed(wide), listed(narrow), listed(other)) == (["triage", "second"], ["triage"], [])
    one = http.get(f"{site.url}/v1/models/second", headers={"authorization": f"Bearer {narrow}"})
    assert one.status_code == 404


# -- who ------------------------------------------------------------------------------------------------


def test_a_key_that_is_missing_wrong_or_late_is_401_each_with_its_word(site: Site, ask: Any) -> None:
    late = site.key(purpose="claims-handling", expires_at=now() - 1)
    good = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    site.up()
    forged = good[:-2] + ("AA" if not good.endswith("AA") else "BB")
    unknown = KeyText.new("serving", new_id("key")).text
    codes = [error(ask(k))["code"] for k in (None, forged, unknown, "sk-something", late)]
    assert codes == ["key_missing", "key_void", "key_void", "key_void", "key_expired"]
    assert ask(None).status_code == 401
    assert ask(None).headers["www-authenticate"].startswith("Bearer")


def test_a_control_key_is_told_its_zone_and_not_whether_it_exists(key: str, ask: Any) -> None:
    refused = ask(KeyText.new("control", new_id("key")).text)
    assert refused.status_code == 401
    assert error(refused)["code"] == "key_of_other_zone"
    assert "fhs_" in error(refused)["message"]


def test_nothing_is_recorded_of_a_stranger(site: Site, key: str, ask: Any) -> None:
    stranger = ask(None)
    assert "x-freehold-answer" not in stranger.headers
    site.closed(ask(key).headers["x-freehold-answer"])
    assert len(site.control.records) == 2


def test_a_service_of_another_project_and_one_that_is_not_there_look_alike(site: Site, ask: Any) -> None:
    key = site.key(purpose="claims-handling")
    site.own()
    site.own("payroll", project="people")
    site.publish()
    site.up()
    theirs, nobodys = ask(key, model="payroll"), ask(key, model="nothing")
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.text.replace("payroll", "nothing") == nobodys.text
    assert "`triage`" in error(theirs)["message"]


# -- may they -------------------------------------------------------------------------------------------


def test_without_a_purpose_the_header_is_named(site: Site, ask: Any) -> None:
    key = site.key()
    site.own()
    site.publish()
    site.up()
    refused = ask(key)
    assert refused.status_code == 400
    assert "X-Freehold-Purpose" in error(refused)["message"]
    assert ask(key, headers={"X-Freehold-Purpose": "claims-handling"}).status_code == 200
    assert ask(key, metadata={"purpose": "claims-handling"}).status_code == 200


def test_another_purpose_is_refused_with_a_hint_and_recorded_as_denied(
    site: Site, key: str, ask: Any
) -> None:
    refused = ask(key, headers={"X-Freehold-Purpose": "marketing"})
    assert refused.status_code == 403
    assert "ask with purpose claims-handling" in error(refused)["message"]
    end = site.closed(refused.headers["x-freehold-answer"])
    assert (end.close.ending, end.close.reason, end.close.status) == ("denied", "purpose-refused", 403)
    assert end.words is None, "a refused request leaves no words"
    assert site.begun(end.close.answer).intent.purpose == "marketing"


def test_header_and_metadata_that_disagree_are_refused(key: str, ask: Any) -> None:
    refused = ask(key, headers={"X-Freehold-Purpose": "marketing"}, metadata={"purpose": "claims-handling"})
    assert (refused.status_code, error(refused)["code"]) == (400, "said_twice")


def test_a_person_is_recorded_as_hmac_only(site: Site, key: str, ask: Any) -> None:
    answer = ask(key, headers={"X-Freehold-Subject": "anna-k"})
    began = site.begun(answer.headers["x-freehold-answer"]).intent
    assert began.subject == hmac_of("anna-k")


def test_withdrawn_consent_counts_from_the_next_snapshot_on(site: Site, key: str, ask: Any) -> None:
    about = {"X-Freehold-Subject": "anna-k"}
    assert ask(key, headers=about).status_code == 200
    subject = hmac_of("anna-k")
    site.withdrawals.append(Withdrawal(project="claims", subject=subject, purpose="claims-handling"))
    site.publish()
    refused = ask(key, headers=about)
    assert (refused.status_code, error(refused)["code"]) == (403, "consent_withdrawn")
    assert "anna" not in refused.text
    assert ask(key, headers={"X-Freehold-Subject": "ben-o"}).status_code == 200


def test_the_record_of_what_is_refused_names_the_person_whom_the_request_named(
    site: Site, key: str, ask: Any
) -> None:
    """Who repeats it is counted, and not everybody who asks with the same key."""
    about = {"X-Freehold-Subject": "anna-k"}
    subject = hmac_of("anna-k")
    site.withdrawals.append(Withdrawal(project="claims", subject=subject, purpose="claims-handling"))
    site.publish()
    refused = [
        ask(key, headers=about),
        ask(key, headers={**about, "X-Freehold-Purpose": "marketing"}),
        ask(key, headers={"X-Freehold-Purpose": "marketing"}),
    ]
    assert [answer.status_code for answer in refused] == [403] * 3
    named = [site.begun(answer.headers["x-freehold-answer"]).intent.subject for answer in refused]
    assert named == [subject, subject, None]


def test_services_say_whether_a_request_must_name_a_person(site: Site, ask: Any) -> None:
    key = site.key(purpose="claims-handling")
    site.own(subject="required")
    site.own("anonymous", subject="none")
    site.publish()
    site.up()
    missing = ask(key)
    assert (missing.status_code, error(missing)["code"]) == (400, "subject_missing")
    assert "X-Freehold-Subject" in error(missing)["message"]
    unwanted = ask(key, model="anonymous", metadata={"subject": "anna-k"})
    assert (unwanted.status_code, error(unwanted)["code"]) == (400, "subject_unwanted")


def test_a_stopped_service_refuses_and_a_resumed_one_answers(site: Site, key: str, ask: Any) -> None:
    site.change("triage", state="stopped", because="stopped by its operators")
    site.publish()
    refused = ask(key)
    assert (refused.status_code, error(refused)["code"]) == (503, "service_stopped")
    assert site.closed(refused.headers["x-freehold-answer"]).close.ending == "denied"
    site.change("triage", state="live", because="")
    site.publish()
    assert ask(key).status_code == 200


def test_without_news_from_control_a_service_is_served_only_so_long(site: Site, key: str, ask: Any) -> None:
    site.change("triage", stale_for=0)
    site.publish()
    refused = ask(key)
    assert (refused.status_code, error(refused)["code"]) == (503, "rules_stale")


def test_more_requests_a_minute_than_allowed_are_told_when_to_come_back(
    site: Site, key: str, ask: Any
) -> None:
    site.change("triage", most=Most(requests=2))
    site.publish()
    assert [ask(key).status_code for _ in range(3)] == [200, 200, 429]
    refused = ask(key)
    assert error(refused)["type"] == "rate_limit_error"
    assert "x-freehold-answer" not in refused.headers, "it is not recorded, so nobody looks for it"
    assert 1 <= int(refused.headers["retry-after"]) <= 61


def test_an_engine_that_is_not_there_is_503_and_recorded_as_failed(site: Site, ask: Any) -> None:
    key = site.key(purpose="claims-handling")
    service = site.own()
    route = service.routes[0]
    missing = {"name": "gone", "serving_digest": "sha256:" + "9" * 64}
    site.change("triage", routes=(type(route)(**{**_fields(route), "target": _changed(route, missing)}),))
    site.publish()
    site.up()
    refused = ask(key)
    assert (refused.status_code, error(refused)["code"]) == (503, "engine_not_ready")
    assert site.closed(refused.headers["x-freehold-answer"]).close.ending == "failed"


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _changed(route: Any, change: dict[str, Any]) -> Any:
    return type(route.target)(**{**_fields(route.target), **change})


def test_two_services_with_the_same_model_share_its_engine(site: Site, key: str, ask: Any) -> None:
    route = site.services["triage"].routes[0]
    twin = type(route)(release="rel_twin", weight=10_000, target=_changed(route, {"name": "twin-model"}))
    site.services["twin"] = type(site.services["triage"])(
        **{**_fields(site.services["triage"]), "name": "twin", "routes": (twin,)}
    )
    site.publish()
    assert ask(key, model="twin").status_code == 200
    assert ask(key).status_code == 200


def test_new_routes_count_when_their_engine_is_ready_and_the_old_ones_until_then(
    site: Site, key: str, ask: Any
) -> None:
    before = site.services["triage"].routes
    coming = _changed(before[0], {"name": "next", "serving_digest": "sha256:" + "7" * 64})
    site.change("triage", routes=(type(before[0])(release="rel_next", weight=10_000, target=coming),))
    site.publish()
    answer = ask(key)
    assert answer.status_code == 200
    assert site.begun(answer.headers["x-freehold-answer"]).intent.release == before[0].release
    ready = site.engine("next-model")
    site.change("triage", routes=(type(before[0])(release="rel_ready", weight=10_000, target=ready),))
    site.publish()
    answer = ask(key)
    assert site.begun(answer.headers["x-freehold-answer"]).intent.release == "rel_ready"


# -- who is forgotten --------------------------------------------------------------------------------


def test_a_route_to_a_revoked_model_is_never_served_although_its_engine_still_answers(
    site: Site, key: str, ask: Any
) -> None:
    assert ask(key).status_code == 200
    site.revoked.append(site.services["triage"].routes[0].target.serving_digest)
    site.publish()
    refused = ask(key)
    assert (refused.status_code, error(refused)["code"]) == (503, "engine_not_ready")


def test_while_the_next_engine_starts_a_revoked_model_does_not_answer_for_it(
    site: Site, key: str, ask: Any
) -> None:
    """Other routes stay in force until the next engine is ready: these do not."""
    before = site.services["triage"].routes
    coming = _changed(before[0], {"name": "next", "serving_digest": "sha256:" + "7" * 64})
    site.change("triage", routes=(type(before[0])(release="rel_next", weight=10_000, target=coming),))
    site.publish()
    assert ask(key).status_code == 200
    site.revoked.append(before[0].target.serving_digest)
    site.publish()
    assert ask(key).status_code == 503


def test_a_model_that_is_kept_for_a_while_answers_until_that_moment(site: Site, key: str, ask: Any) -> None:
    (route,) = site.services["triage"].routes
    site.change("triage", routes=(type(route)(**{**_fields(route), "until": now() + 60_000_000}),))
    site.publish()
    assert ask(key).status_code == 200
    site.change("triage", routes=(type(route)(**{**_fields(route), "until": now() - 1}),))
    site.publish()
    deadline = time.monotonic() + 10
    while (answer := ask(key)).status_code == 200:  # routes come in force at the next look at engines
        assert time.monotonic() < deadline
    assert error(answer)["code"] == "kept_no_longer"
    assert "forgotten" in error(answer)["message"]


def test_who_asks_a_service_that_waits_for_its_rebuilt_model_is_told_so(
    site: Site, key: str, ask: Any
) -> None:
    site.change("triage", state="stopped", because=REBUILT, routes=())
    site.publish()
    refused = ask(key)
    assert (refused.status_code, error(refused)["code"]) == (503, "service_stopped")
    assert "the rebuilt one is not approved yet" in error(refused)["message"]
    assert "resume" not in error(refused)["message"]


# -- what is asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status"),
    [(r"a\u0000b", 400), (r"\\\u0000", 400), (r"a\\u0000b", 200), (r"tab\u0009 and u0000", 200)],
)
def test_a_text_that_some_would_read_only_half_is_refused(
    site: Site, key: str, http: httpx.Client, content: str, status: int
) -> None:
    said = {"model": "triage", "messages": [{"role": "user", "content": "HERE"}]}
    body = json.dumps(said).replace("HERE", content)
    headers = {"authorization": f"Bearer {key}", "x-freehold-purpose": "claims-handling"}
    answer = http.post(f"{site.url}/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert status == 200 or error(answer)["code"] == "zero_in_text"


def test_a_body_that_is_no_json_or_names_no_service_is_400(site: Site, key: str, http: httpx.Client) -> None:
    url, headers = f"{site.url}/v1/chat/completions", {"authorization": f"Bearer {key}"}
    for body, code in ((b"{", "not_json"), (b"[1]", "not_json"), (b"{}", "field_wrong"), (b"", "not_json")):
        refused = http.post(url, content=body, headers=headers)
        assert (refused.status_code, error(refused)["code"]) == (400, code)
    deep = http.post(url, content=b'{"model":' + b"[" * 100_000, headers=headers)
    assert (deep.status_code, error(deep)["code"]) == (400, "not_json")


def test_a_field_that_would_do_nothing_is_refused_by_name(key: str, ask: Any) -> None:
    for field, value in {"temperature": 0.7, "tools": [{}], "n": 2, "stop": "x", "invented": 1}.items():
        refused = ask(key, **{field: value})
        assert refused.status_code == 400
        assert error(refused)["param"] == field
        assert f"`{field}`" in error(refused)["message"]


def test_fields_whose_promise_holds_anyway_are_taken(key: str, ask: Any) -> None:
    holds = {
        "temperature": 0,
        "n": 1,
        "seed": 7,
        "store": False,
        "user": "u1",
        "max_tokens": 256,
        "tools": None,
        "response_format": {"type": "json_object"},
    }
    assert ask(key, **holds).status_code == 200


def test_messages_a_classifier_cannot_read_are_told(key: str, ask: Any) -> None:
    for messages in (
        [],
        "water",
        [{"role": "assistant", "content": "hi"}],
        [{"role": "user", "content": " "}],
    ):
        refused = ask(key, messages=messages)
        assert (refused.status_code, error(refused)["code"]) == (400, "message_unusable")
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    assert ask(key, messages=picture).status_code == 400
    parts = [{"role": "user", "content": [{"type": "text", "text": "water"}]}]
    assert ask(key, messages=parts).status_code == 200


def test_a_header_that_decides_and_came_twice_is_refused(site: Site, key: str, http: httpx.Client) -> None:
    headers = [
        ("authorization", f"Bearer {key}"),
        ("x-freehold-purpose", "claims-handling"),
        ("x-freehold-purpose", "marketing"),
    ]
    refused = http.post(f"{site.url}/v1/chat/completions", content=b"{}", headers=headers)
    assert (refused.status_code, error(refused)["code"]) == (400, "header_twice")


def test_a_body_too_large_is_refused_before_it_is_read(site: Site, http: httpx.Client) -> None:
    key = site.key(purpose="claims-handling")
    site.own()
    site.publish()
    site.up(Bounds(body=1000, linger=0.05, drain=5, ship=2))
    headers = {"authorization": f"Bearer {key}"}
    url = f"{site.url}/v1/chat/completions"
    announced = http.post(url, content=b"x" * 2000, headers=headers)
    assert (announced.status_code, error(announced)["code"]) == (413, "body_too_large")
    chunked = http.post(url, content=iter([b"x" * 600, b"x" * 600]), headers=headers)
    assert (chunked.status_code, error(chunked)["code"]) == (413, "body_too_large")


def test_a_compressed_body_is_refused(site: Site, key: str, http: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {key}", "content-encoding": "gzip"}
    refused = http.post(f"{site.url}/v1/chat/completions", content=b"{}", headers=headers)
    assert (refused.status_code, error(refused)["code"]) == (415, "body_encoded")


def test_a_path_that_is_not_there_is_told_in_each_surfaces_shape(
    site: Site, key: str, http: httpx.Client
) -> None:
    assert error(http.post(f"{site.url}/v1/nothing"))["code"] == "no_such_path"
    assert isinstance(http.get(f"{site.url}/v2/nothing").json()["error"], str)
    assert http.get(f"{site.url}/elsewhere").json()["error"]["code"] == "no-such-path"


def test_before_the_first_snapshot_nothing_is_decided(site: Site, http: httpx.Client) -> None:
    site.up()
    assert http.get(f"{site.url}/v2/health/live").status_code == 200
    assert http.get(f"{site.url}/v2/health/ready").status_code == 503
    assert "silence_seconds" in http.get(f"{site.url}/metrics").text
    refused = http.post(f"{site.url}/v1/chat/completions", json={})
    assert (refused.status_code, error(refused)["code"]) == (503, "no_rules")


def test_metrics_count_endings_and_name_nobody(site: Site, key: str, ask: Any, http: httpx.Client) -> None:
    site.closed(ask(key).headers["x-freehold-answer"])
    text = http.get(f"{site.url}/metrics").text
    assert re.search(r'^freehold_gateway_answers_total\{ending="answered",gateway="spl_\w+"\} 1$', text, re.M)
    assert "triage" not in text


def test_a_restart_goes_on_with_the_rules_it_had_although_control_is_away(
    site: Site, key: str, ask: Any
) -> None:
    site.down()
    envelope, site.control.envelope = site.control.envelope, None
    site.control.away = True
    site.up(QUICK)
    answer = ask(key)
    assert answer.status_code == 200
    site.control.away, site.control.envelope = False, envelope
    assert site.closed(answer.headers["x-freehold-answer"]).close.ending == "answered"
