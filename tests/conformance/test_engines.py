"""What every engine must do, asked over its Unix socket in its own process.

A new engine adds a line to `MODELS`; a third party's runs this file with its own.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from bases import tuned_classifier
from hosting import Signed, client, fake_files, running, tensor, write_signed
from learning import inbox, loans, model_files, service, train
from starlette.testclient import TestClient

from freehold.engines import oip
from freehold.engines.fake import FakeEngine
from freehold.engines.host import Host, open_engine, read_envelope, read_public
from freehold.engines.package import about_of, read_verified
from freehold.engines.protocol import CannotAnswer, EngineClosed, ModelUnreadable
from freehold.spec.snapshot import Column

TEXT = (Column(name="text", datatype="BYTES"),)
COLUMNS = (
    Column(name="income", datatype="FP64"),
    Column(name="years", datatype="INT64"),
    Column(name="home", datatype="BYTES"),
    Column(name="owner", datatype="BOOL"),
)
ROWS: dict[str, list[dict[str, Any]]] = {
    "text": [
        {"text": "burst pipe in the kitchen"},
        {"text": "Überschwemmung 水 🌊 عربى"},
        {"text": ""},
        {"text": "rear collision"},
    ],
    "columns": [
        {"income": 41.5, "years": 3, "home": "flat", "owner": True},
        {"income": 12.0, "years": 0, "home": "houseboat", "owner": False},
        {"income": None, "years": 30, "home": "", "owner": True},
    ],
}
MODELS = ("onnx text", "tuned text", "onnx columns", "onnx trees", "fake text", "fake columns")


@dataclass(frozen=True)
class Running:
    """An engine under test."""

    kind: str
    signed: Signed
    http: httpx.Client

    @property
    def inputs(self) -> tuple[Column, ...]:
        return self.signed.manifest.about.inputs

    @property
    def rows(self) -> list[dict[str, Any]]:
        return ROWS["text" if self.kind.endswith("text") else "columns"]

    def body(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"inputs": [tensor(c.name, c.datatype, [row[c.name] for row in rows]) for c in self.inputs]}

    def ask(self, body: Any) -> httpx.Response:
        return self.http.post("/v2/models/triage/infer", json=body)

    def answers(self, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        response = self.ask(self.body(rows))
        assert response.status_code == 200, response.text
        return {output["name"]: output["data"] for output in response.json()["outputs"]}


def make(kind: str, root: Path) -> Signed:
    """A signed model of this kind."""
    if kind.startswith("fake"):
        return write_signed(root, fake_files(TEXT if kind == "fake text" else COLUMNS), engine="fake")
    if kind == "onnx text":
        return write_signed(root, model_files(train(root / "job", service(), inbox())))
    if kind == "tuned text":
        texts = [row["text"] for row in ROWS["text"]]
        return write_signed(root, tuned_classifier(root.parent / "base", texts))
    trainer = "boosting" if kind == "onnx trees" else "linear"
    asked = service(task="tabular", trainer=trainer, features=tuple(c.name for c in COLUMNS))
    return write_signed(root, model_files(train(root / "job", asked, loans())))


@pytest.fixture(scope="module", params=MODELS)
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Signed]:
    return request.param, make(request.param, tmp_path_factory.mktemp("engine") / "m")


@pytest.fixture(scope="module")
def engine(signed: tuple[str, Signed], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    kind, model = signed
    socket = tmp_path_factory.mktemp("s") / "e.sock"
    with running(model, socket), client(socket) as http:
        yield Running(kind, model, http)


def test_it_is_live_and_ready_once_it_can_be_reached(engine: Running) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/triage/ready"):
        assert engine.http.get(path).status_code == 200
    assert engine.http.get("/v2").json()["name"] == "freehold-engine"


def test_metadata_names_inputs_outputs_and_the_digest_it_serves(engine: Running) -> None:
    for path in ("/v2/models/triage", "/v2/models/triage/versions/3"):
        said = engine.http.get(path).json()
        assert [(i["name"], i["datatype"]) for i in said["inputs"]] == [
            (c.name, c.datatype) for c in engine.inputs
        ]
        assert [o["name"] for o in said["outputs"]] == ["class", "confidence", "probabilities"]
        assert said["parameters"]["serving_digest"] == engine.signed.manifest.serving_digest


def test_an_answer_has_a_class_its_confidence_and_all_probabilities(engine: Running) -> None:
    said = engine.answers(engine.rows)
    classes = engine.signed.manifest.about.classes
    for row in range(len(engine.rows)):
        chances = said["probabilities"][row * len(classes) : (row + 1) * len(classes)]
        assert abs(sum(chances) - 1) < 1e-9
        assert said["confidence"][row] == max(chances)
        assert said["class"][row] == classes[chances.index(max(chances))]


def test_a_batch_is_bit_for_bit_what_its_rows_are_one_by_one(engine: Running) -> None:
    rows = engine.rows * 20
    together = engine.answers(rows)
    alone = [engine.answers([row]) for row in rows]
    for name in ("class", "confidence", "probabilities"):
        assert together[name] == [value for one in alone for value in one[name]]


def test_many_callers_at_once_get_their_own_answers(engine: Running) -> None:
    expected = [engine.answers([row]) for row in engine.rows]

    def ask(number: int) -> bool:
        place = number % len(engine.rows)
        return engine.answers([engine.rows[place]]) == expected[place]

    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(ask, range(120)))


def test_the_request_id_comes_back_and_outputs_can_be_chosen(engine: Running) -> None:
    body = {**engine.body(engine.rows[:1]), "id": "q-1", "outputs": [{"name": "class"}]}
    said = engine.ask(body).json()
    assert said["id"] == "q-1"
    assert [output["name"] for output in said["outputs"]] == ["class"]


def test_shapes_of_one_and_two_dimensions_mean_the_same(engine: Running) -> None:
    body = engine.body(engine.rows[:2])
    for one in body["inputs"]:
        one["shape"] = [2, 1]
        one["data"] = [[value] for value in one["data"]]
    flat = engine.answers(engine.rows[:2])
    assert {o["name"]: o["data"] for o in engine.ask(body).json()["outputs"]} == flat


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body: body["inputs"][0].update(name="colour"), "is missing"),
        (lambda body: body["inputs"].append(tensor("colour", "BYTES", ["red"])), "`colour` is no input"),
        (lambda body: body["inputs"].append(body["inputs"][0]), "given twice"),
        (lambda body: body["inputs"][0].update(datatype="FP16"), "the request says FP16"),
        (lambda body: body["inputs"][0].update(shape=[5]), "its shape says 5"),
        (lambda body: body["inputs"][0].update(shape=[1, 2]), "neither [rows] nor [rows, 1]"),
        (lambda body: body["inputs"][0].update(shape="one"), "neither [rows] nor [rows, 1]"),
        (lambda body: body["inputs"][0].update(shape=[0], data=[]), "neither [rows] nor [rows, 1]"),
        (lambda body: body["inputs"][0].update(shape=[10**9]), "rows at once"),
        (lambda body: body["inputs"][0].update(data=[{"a": 1}]), "one of its values is none"),
        (lambda body: body["inputs"][0].pop("data"), "has no `data`"),
        (lambda body: body["inputs"][0].pop("name"), "has no `name`"),
        (lambda body: body.update(inputs=[]), "must be a list"),
        (lambda body: body.update(temperature=1), "`temperature` is no field"),
        (lambda body: body.update(outputs=[{"name": "logits"}]), "`logits` is no output"),
        (lambda body: body.update(id=7), "`id` must be text"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong_with_it(engine: Running, change: Any, says: str) -> None:
    body = engine.body(engine.rows[:1])
    change(body)
    response = engine.ask(body)
    assert response.status_code == 400
    assert says in response.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": NaN}', b"\xff", b"[" * 100_000])
def test_what_is_no_request_is_refused_as_such(engine: Running, body: bytes) -> None:
    response = engine.http.post("/v2/models/triage/infer", content=body)
    assert response.status_code == 400
    assert "the body is not" in response.json()["error"]


def test_an_error_never_repeats_a_value(engine: Running) -> None:
    body = engine.body(engine.rows[:1])
    body["inputs"][0]["data"] = [{"anna-kowalska": 1}]
    assert "kowalska" not in engine.ask(body).text


def test_another_model_version_or_path_is_not_found(engine: Running) -> None:
    for path in ("/v2/models/other", "/v2/models/triage/versions/4", "/v1/models", "/"):
        response = engine.http.get(path)
        assert response.status_code == 404
        assert "there is no" in response.json()["error"]


def test_a_body_beyond_the_limit_is_refused_before_it_is_read_whole(engine: Running) -> None:
    response = engine.http.post("/v2/models/triage/infer", content=b"x" * (17 * 1024 * 1024))
    assert response.status_code == 413


def test_a_very_long_text_is_answered_and_says_how_much_was_read(engine: Running) -> None:
    name = "text" if engine.kind.endswith("text") else "home"
    response = engine.ask(engine.body([{**engine.rows[0], name: "burst pipe " * 50_000}]))
    assert response.status_code == 200
    read = {"onnx text": {"read_characters": 20_000}, "tuned text": {"read_tokens": 16}}
    if engine.kind in read:
        assert response.json()["parameters"] == {"rows_cut": 1, **read[engine.kind]}


def test_what_nobody_thought_of_is_told_in_the_protocol_s_shape_and_without_its_words(
    signed: tuple[str, Signed], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, model = signed
    package = read_verified(model.folder, read_envelope(model.envelope), read_public(model.public))
    monkeypatch.setattr(oip, "metadata", lambda *_: {}["anna-kowalska"])
    host = Host(package, open_engine(package))
    response = TestClient(host).get("/v2/models/triage")
    assert response.status_code == 500
    assert response.json() == {"error": "the engine broke at this request: KeyError"}
    assert "kowalska" not in capsys.readouterr().err


def test_a_closed_engine_says_so(signed: tuple[str, Signed]) -> None:
    kind, model = signed
    package = read_verified(model.folder, read_envelope(model.envelope), read_public(model.public))
    loaded = open_engine(package)
    rows = ROWS["text" if kind.endswith("text") else "columns"]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert len(loaded.infer(columns).classes) == len(rows)
    with pytest.raises(CannotAnswer):
        loaded.infer({})
    loaded.close()
    loaded.close()
    with pytest.raises(EngineClosed):
        loaded.infer(columns)


def test_a_terminated_engine_ends_well_and_takes_its_socket_with_it(
    signed: tuple[str, Signed], tmp_path: Path
) -> None:
    socket = tmp_path / "e.sock"
    with running(signed[1], socket) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not socket.exists()


def test_a_fake_without_classes_does_not_load() -> None:
    about = fake_files(TEXT, classes=())
    with pytest.raises(ModelUnreadable):
        FakeEngine.load(about_of(about), about)
