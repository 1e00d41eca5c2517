"""Asking, and following an answer, as people type it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from receivers import Quiet, listening

from freehold.cli.tree import render
from freehold.ledger.record import record
from freehold.spec.ids import new_id
from freehold.spec.principal import SYSTEM
from freehold.spec.tree import Tree
from freehold.store import tables

Reply = tuple[int, dict[str, str], bytes]


class Gateway:
    """Speaks as a gateway does, as far as `freehold ask` listens."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.replies: list[Reply] = []

    def answers(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {f"x-freehold-{name}": value for name, value in headers.items()}
        self.replies.append((status, named, data))

    def chats(self, content: str, **headers: str) -> None:
        self.answers(200, {"choices": [{"message": {"content": content}}]}, **headers)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    said = Gateway()

    class Answer(Quiet):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            said.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, data = said.replies.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _any

    with listening(Answer) as said.url:
        yield said


@pytest.fixture
def ask(freehold: Any, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(*words: str) -> Any:
        monkeypatch.setenv("FREEHOLD_GATEWAY", gateway.url)
        monkeypatch.setenv("FREEHOLD_SERVING_KEY", "fhs_x_y")
        return freehold("ask", *words)

    return run


# -- ask --------------------------------------------------------------------------------------------


def test_a_classifier_says_class_and_confidence_and_the_answers_id(
    ask: Callable[..., Any], gateway: Gateway
) -> None:
    gateway.chats('{"class":"property","confidence":0.9312}', answer="ans_1", tier="sandbox")
    said = ask("claims-triage", "water in the kitchen", "--purpose", "claims-handling", "--subject", "jörg")
    assert said.out == "property  0.93\nans_1 · sandbox\n"
    path, headers, body = gateway.got[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer fhs_x_y"
    assert headers["x-freehold-purpose"] == "claims-handling"
    assert headers["x-freehold-subject"].encode("latin-1").decode() == "jörg"
    assert json.loads(body)["messages"] == [{"role": "user", "content": "water in the kitchen"}]


def test_the_gateways_address_may_end_as_other_clients_want_it(
    freehold: Any, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.chats("fine", answer="ans_1")
    monkeypatch.setenv("FREEHOLD_SERVING_KEY", "fhs_x_y")
    said = freehold("ask", "claims-chat", "hi", "--gateway", f"{gateway.url}/v1/")
    assert (said.code, gateway.got[0][0]) == (0, "/v1/chat/completions")


def test_json_has_the_same_words(ask: Callable[..., Any], gateway: Gateway) -> None:
    gateway.chats('{"class":"property","confidence":0.93}', answer="ans_1")
    assert json.loads(ask("claims-triage", "water", "--json").out) == {
        "answer": "ans_1",
        "class": "property",
        "confidence": 0.93,
    }


def test_a_text_that_happens_to_be_json_stays_text(ask: Callable[..., Any], gateway: Gateway) -> None:
    gateway.chats('{"hello": 1}', answer="ans_1")
    assert ask("claims-chat", "hi").out == '{"hello": 1}\nans_1\n'


def test_a_question_may_come_from_standard_input(
    ask: Callable[..., Any], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe"))
    gateway.chats("fine", answer="ans_1")
    assert ask("claims-chat", "-").code == 0
    assert json.loads(gateway.got[0][2])["messages"][0]["content"] == "from a pipe"


def test_what_is_no_text_is_not_asked(
    ask: Callable[..., Any], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\x89PNG\xff"), encoding="utf-8"))
    said = ask("claims-chat", "-")
    assert (said.code, gateway.got) == (2, [])
    assert said.err.startswith(
        "freehold: `-` is no text\n  why:  it holds bytes that are not UTF-8\n  hint: "
    )


def test_a_stream_is_printed_as_it_comes(ask: Callable[..., Any], gateway: Gateway) -> None:
    chunks = [{"choices": [{"delta": {"content": word}}]} for word in ("Hel", "lo")]
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
    gateway.answers(200, "".join(events).encode(), answer="ans_1")
    assert ask("claims-chat", "hi", "--stream").out == "Hello\nans_1\n"
    assert json.loads(gateway.got[0][2])["stream"] is True


def test_a_stream_that_is_cut_off_is_told_so(ask: Callable[..., Any], gateway: Gateway) -> None:
    event = {"choices": [{"delta": {"content": "Hel"}}]}
    gateway.answers(200, f"data: {json.dumps(event)}\n\n".encode(), answer="ans_1")
    said = ask("claims-chat", "hi", "--stream")
    assert said.code == 9
    assert "the answer was cut off" in said.err
    assert "ans_1" in said.err


def test_columns_are_sent_in_the_datatypes_the_service_declares(
    ask: Callable[..., Any], gateway: Gateway
) -> None:
    columns = [("radius", "FP64"), ("age", "INT64"), ("smoker", "BOOL"), ("name", "BYTES")]
    gateway.answers(200, {"inputs": [{"name": n, "datatype": d, "shape": [-1]} for n, d in columns]})
    outputs = [{"name": "class", "data": ["benign"]}, {"name": "confidence", "data": [0.987]}]
    gateway.answers(200, {"outputs": outputs}, answer="ans_2")
    inputs = ("radius=12.5", "age=40", "smoker=false", "name=a=b")
    said = ask("tumours", *(word for text in inputs for word in ("--input", text)))
    assert said.out == "benign  0.99\nans_2\n"
    sent = json.loads(gateway.got[1][2])["inputs"]
    assert [(t["name"], t["data"]) for t in sent] == [
        ("radius", [12.5]),
        ("age", [40]),
        ("smoker", [False]),
        ("name", ["a=b"]),
    ]


def test_an_answer_says_in_which_columns_its_row_is_unlike_those_of_training(
    ask: Callable[..., Any], gateway: Gateway
) -> None:
    gateway.answers(200, {"inputs": [{"name": "age", "datatype": "INT64", "shape": [-1]}]})
    outputs = [{"name": "class", "data": ["benign"]}, {"name": "confidence", "data": [0.987]}]
    outside = {"outside_domain": {"age": 1}}
    gateway.answers(200, {"outputs": outputs, "parameters": outside}, answer="ans_2")
    note = "outside what the model was trained on: `age`"
    assert ask("tumours", "--input", "age=400").out == f"benign  0.99\n{note}\nans_2\n"
    gateway.chats('{"class": "benign", "confidence": 0.987, "outside_domain": ["age"]}', answer="ans_3")
    assert ask("tumours", '{"age": 400}').out == f"benign  0.99\n{note}\nans_3\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("radius", "it is written `name=value`"),
        ("radios=1", "there is no such column"),
        ("radius=big", "no number"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(
    ask: Callable[..., Any], gateway: Gateway, text: str, why: str
) -> None:
    gateway.answers(200, {"inputs": [{"name": "radius", "datatype": "FP64", "shape": [-1]}]})
    said = ask("tumours", "--input", text)
    assert said.code == 2
    assert why in said.err


def test_a_refusal_of_the_gateway_is_told_in_three_lines_with_its_exit_code(
    ask: Callable[..., Any], gateway: Gateway
) -> None:
    message = "no purpose was given: every answer is for something (hint: send `X-Freehold-Purpose`)"
    for status, code in ((400, 2), (403, 4), (404, 3), (429, 10), (503, 9), (500, 1)):
        gateway.answers(status, {"error": {"message": message}}, reason="purpose-missing")
        said = ask("claims-triage", "water")
        assert said.code == code
        assert said.err == (
            "freehold: no purpose was given\n"
            "  why:  every answer is for something\n"
            "  hint: send `X-Freehold-Purpose`\n"
        )
    gateway.answers(400, {"error": {"message": message}}, reason="purpose-missing", answer="ans_1")
    assert ask("claims-triage", "water").err.endswith("`X-Freehold-Purpose`; its record is ans_1\n")


def test_the_v2_surface_tells_its_refusals_too(ask: Callable[..., Any], gateway: Gateway) -> None:
    gateway.answers(404, {"error": "there is no service `x`"}, reason="no-service")
    said = ask("x", "--input", "a=1")
    assert (said.code, said.err) == (3, "freehold: there is no service `x`\n")


PAGE = b"<html>welcome</html>"


@pytest.mark.parametrize("words", [("water",), ("water", "--stream"), ("--input", "text=water")])
@pytest.mark.parametrize("reply", [(200, PAGE), (502, PAGE), (404, {"error": {"what": "no such path"}})])
def test_something_else_that_answers_is_not_taken_for_the_gateway(
    ask: Callable[..., Any], gateway: Gateway, words: tuple[str, ...], reply: tuple[int, Any]
) -> None:
    gateway.answers(*reply)
    said = ask("claims-triage", *words)
    path = "/v2/models/claims-triage" if "--input" in words else "/v1/chat/completions"
    assert (said.code, said.out) == (9, "")
    assert said.err.startswith(f"freehold: `{gateway.url}` does not answer as the gateway does\n  why:  ")
    assert f"{path} was answered {reply[0]}, and not in its words\n  hint: FREEHOLD_GATEWAY" in said.err


def test_without_a_key_a_question_or_a_gateway_nothing_is_asked(
    freehold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_GATEWAY", "http://127.0.0.1:1")
    monkeypatch.delenv("FREEHOLD_SERVING_KEY", raising=False)
    nobody = freehold("ask", "claims-triage", "water")
    assert (nobody.code, "FREEHOLD_SERVING_KEY" in nobody.err) == (4, True)
    monkeypatch.setenv("FREEHOLD_SERVING_KEY", "fhs_x_y")
    nothing = freehold("ask", "claims-triage")
    assert (nothing.code, "there is nothing to ask" in nothing.err) == (2, True)
    away = freehold("ask", "claims-triage", "water")
    assert (away.code, "does not answer" in away.err) == (9, True)


# -- why, impact, answer ----------------------------------------------------------------------------


@pytest.fixture
def trainer(house: Any) -> str:
    headers = house.person("tim@example.org", "claims/trainer")[1]
    return str(headers["authorization"]).removeprefix("Bearer ")


@pytest.fixture
def record_one(house: Any) -> Callable[..., str]:
    def make(**more: Any) -> str:
        answer = new_id("ans")
        with house.parts.ground.db.write() as tx:
            values = {
                "id": answer,
                "project": "claims",
                "service": "claims-triage",
                "key": "key_x",
                "purpose": "claims-handling",
                "ending": "denied",
                "reason": "service-unknown",
                "status": 404,
                "sandbox": False,
                "snapshot": 1,
                "request": "hmac-sha256:" + "1" * 64,
                "tokens_in": 0,
                "tokens_out": 0,
                "estimated": False,
                "cost": "0",
                "spool": "spl_1",
                "sequence": 1,
                "at": tx.at,
                "closed_at": tx.at,
            } | more
            tx.execute(tables.answers.insert().values(values))
            names = ("service", "key", "purpose", "request", "snapshot")
            detail = {"answer": answer, **{name: values[name] for name in names}}
            record(tx, "answer.intent", by=SYSTEM, object=answer, project="claims", detail=detail)
        return answer

    return make


def test_why_prints_a_tree(freehold: Any, trainer: str, record_one: Callable[..., str]) -> None:
    answer = record_one()
    said = freehold("why", answer, key=trainer)
    assert said.out == (
        f"answer {answer} · denied (service-unknown) for claims-handling\n"
        "└─ service claims-triage · unknown here\n"
    )
    facts = freehold("why", answer, "--facts", key=trainer).out
    assert "│  purpose: claims-handling" in facts
    assert json.loads(freehold("why", answer, "--json", key=trainer).out)["ref"] == answer


def test_what_was_answered_here_is_what_a_plan_begins_with(
    freehold: Any, trainer: str, record_one: Callable[..., str]
) -> None:
    now = 1_793_000_000_000_000
    for minute in range(0, 60, 10):
        ending = "denied" if minute == 30 else "answered"
        at = now + minute * 60_000_000
        record_one(ending=ending, tokens_in=900, tokens_out=100, at=at, closed_at=at)
    asked = ("size", "--from", "records=claims-triage", "--model", "llama-3-8b", "--json")
    told = json.loads(freehold(*asked, key=trainer).out)
    assert told["workload"]["serve"]["requests_a_day"] == pytest.approx(5 / (50 / 1440 * 5 / 4), rel=0.01)
    assert told["workload"]["serve"]["tokens_in"] == 900
    asked_today = next(section for section in told["sections"] if section["name"] == "asked")
    labels = {figure["name"]: figure["label"] for figure in asked_today["figures"]}
    assert labels == {  # of less than a day: what a day would hold is not measured
        "requests": "estimated",
        "tokens of a request": "measured",
        "tokens of an answer": "measured",
    }
    took = next(section for section in told["sections"] if section["name"] == "taken")
    assert [(row["model"], row["answers"]) for row in took["tables"][0]["rows"]] == [
        ("none", "6"),  # nobody here ever served them
        ("all of them", "6"),
    ]


def test_why_of_nothing_is_not_found(freehold: Any, trainer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.control.lineage.PATIENCE", 0.05)
    said = freehold("why", "ans_none", key=trainer)
    assert said.code == 3
    assert "x-freehold-answer" in said.err
    assert freehold("why", "ans/../none", key=trainer).code == 3


def test_impact_needs_a_version_and_finds_nothing_where_nothing_is(freehold: Any, trainer: str) -> None:
    assert freehold("impact", "claims", key=trainer).code == 2
    assert freehold("impact", "claims@1", key=trainer).code == 3
    assert freehold("impact", "claims@1", "--project", "motor", key=trainer).code == 3


def test_a_person_need_not_stand_in_the_history(
    freehold: Any, trainer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("anna-k\n"))
    said = freehold("impact", "claims@1", "--subject", "-", key=trainer)
    assert said.code == 3
    assert "anna-k" not in said.err


def test_answers_are_listed_and_shown(freehold: Any, trainer: str, record_one: Callable[..., str]) -> None:
    first, second = record_one(), record_one(ending=None, closed_at=None, reason="", status=None)
    listed = freehold("answer", key=trainer).out
    assert first in listed
    assert "under way" in listed
    assert second not in freehold("answer", "--ending", "denied", key=trainer).out
    assert f"more: --after {max(first, second)}" in freehold("answer", "--limit", "1", key=trainer).out
    (*_, rest) = freehold("answer", "--after", max(first, second), key=trainer).out.splitlines()
    assert rest.startswith(min(first, second))
    shown = freehold("answer", first, key=trainer).out
    assert "answer.intent at not yet" in shown
    words = json.loads(freehold("answer", first, "--words", "--json", key=trainer).out)
    assert (words["answered"], words["request"]) == (None, "hmac-sha256:" + "1" * 64)
    assert freehold("answer", "--ending", "nonsense", key=trainer).code == 2


# -- the tree as text -------------------------------------------------------------------------------


def test_answers_about_one_person_are_listed_by_what_their_records_carry(
    freehold: Any, trainer: str, record_one: Callable[..., str]
) -> None:
    about, other = record_one(subject="1" * 64), record_one()
    listed = freehold("answer", "--subject", "1" * 64, key=trainer).out
    assert about in listed
    assert other not in listed


def test_a_tree_is_drawn_with_holes_and_the_ids_of_answers() -> None:
    many = Tree(
        kind="answers",
        ref="release=rel_1",
        label="3 answers",
        facts={"count": 3, "ids": ["ans_a"], "more": 2},
    )
    gone = Tree(kind="row", ref="claims@1#2", label="basis consent", hole="forgotten")
    inner = Tree(kind="release", ref="rel_1", label="live", facts={"weight": 10_000}, children=(many,))
    tree = Tree(kind="data", ref="claims@1", facts={"rows": 2}, children=(gone, inner)).as_json()
    assert render(tree) == "\n".join(
        [
            "data claims@1",
            "├─ row claims@1#2 · basis consent [forgotten]",
            "└─ release rel_1 · live",
            "   └─ answers · 3 answers",
            "      ├─ ans_a",
            "      └─ … 2 more: `freehold answer --release=rel_1 --after=ans_a`",
        ]
    )
    assert "│  rows: 2" in render(tree, facts=True)
