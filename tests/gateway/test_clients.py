"""The same request through the clients people have: `openai`, `tritonclient[http]`, `curl`."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import openai
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.gateway.conftest import CLASSES, COLUMNS, Site

WORDS = "water in the kitchen"


@pytest.fixture
def key(site: Site) -> str:
    key = site.key(purpose="claims-handling")
    site.own()
    site.own("scorer", COLUMNS)
    site.publish()
    site.up()
    return key


def openai_client(site: Site, key: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0, **options)


@pytest.fixture
def server(site: Site, key: str) -> Any:
    with triton.InferenceServerClient(site.url.removeprefix("http://")) as client:
        yield client


def _words(values: list[str]) -> triton.InferInput:
    tensor = triton.InferInput("text", [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=np.object_))
    return tensor


def test_all_three_get_the_same_class(site: Site, key: str, server: Any) -> None:
    with openai_client(site, key) as client:
        chat = client.chat.completions.create(model="triage", messages=[{"role": "user", "content": WORDS}])
    by_chat = json.loads(chat.choices[0].message.content or "")["class"]
    headers = {"authorization": f"Bearer {key}"}
    inferred = server.infer("triage", [_words([WORDS])], headers=headers)
    by_triton = inferred.as_numpy("class")[0].decode()
    assert by_chat == by_triton == _by_curl(site, key)
    assert by_chat in CLASSES


def _by_curl(site: Site, key: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("this machine has no curl")
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [WORDS]}
    said = subprocess.run(
        [
            *("curl", "-sS", f"{site.url}/v2/models/triage/infer"),
            *("-H", f"Authorization: Bearer {key}", "-H", "X-Freehold-Purpose: claims-handling"),
            *("-d", json.dumps({"inputs": [tensor]})),
        ],
        capture_output=True,
        check=True,
        timeout=20,
    )
    outputs = {output["name"]: output["data"] for output in json.loads(said.stdout)["outputs"]}
    word: str = outputs["class"][0]
    return word


# -- openai ---------------------------------------------------------------------------------------------


def test_openai_streams_with_usage_in_the_last_chunk(site: Site, key: str) -> None:
    with openai_client(site, key) as client:
        chunks = list(
            client.chat.completions.create(
                model="triage",
                messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": WORDS}],
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"X-Freehold-Subject": "anna-k"},
            )
        )
    content = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert json.loads(content)["confidence"] > 0.5
    assert chunks[-1].usage is not None
    assert not chunks[-1].choices


def test_openai_reads_purpose_and_person_from_metadata(site: Site, key: str) -> None:
    with openai_client(site, key) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="triage",
            messages=[{"role": "user", "content": WORDS}],
            metadata={"purpose": "claims-handling", "subject": "anna-k"},
        )
    assert site.begun(raw.headers["x-freehold-answer"]).intent.subject


def test_openai_raises_its_own_errors(site: Site, key: str) -> None:
    ask: dict[str, Any] = {"model": "triage", "messages": [{"role": "user", "content": WORDS}]}
    with openai_client(site, key) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(**{**ask, "model": "nothing"})
        assert missing.value.code == "service_unknown"
        with pytest.raises(openai.BadRequestError) as useless:
            client.chat.completions.create(**ask, temperature=1.5)
        assert useless.value.param == "temperature"
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(**ask, extra_headers={"X-Freehold-Purpose": "marketing"})
        assert [model.id for model in client.models.list()] == ["triage", "scorer"]
    with openai_client(site, "fhs_wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(**ask)


# -- tritonclient ---------------------------------------------------------------------------------------


def test_triton_finds_the_server_and_the_model(site: Site, key: str, server: Any) -> None:
    headers = {"authorization": f"Bearer {key}"}
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.get_server_metadata()["name"] == "freehold"
    assert server.is_model_ready("triage", headers=headers)
    described = server.get_model_metadata("scorer", headers=headers)
    assert [tensor["name"] for tensor in described["inputs"]] == ["age", "claims", "member"]
    with pytest.raises(InferenceServerException):
        server.get_model_metadata("scorer")


def test_triton_sends_binary_tensors_and_gets_binary_back(site: Site, key: str, server: Any) -> None:
    headers = {"authorization": f"Bearer {key}"}
    rows = {
        "age": (np.array([71.0, np.nan, 30.5]), "FP64"),
        "claims": (np.array([2, 0, 1], dtype=np.int64), "INT64"),
        "member": (np.array([True, False, True]), "BOOL"),
    }
    inputs = []
    for name, (values, datatype) in rows.items():
        tensor = triton.InferInput(name, [3], datatype)
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    result = server.infer("scorer", inputs, headers=headers, request_id="r7")
    assert result.get_response()["id"] == "r7"
    assert result.get_response()["model_name"] == "scorer"
    assert result.as_numpy("probabilities").shape == (3, len(CLASSES))
    assert set(result.as_numpy("class")) <= {name.encode() for name in CLASSES}


def test_triton_json_and_binary_agree_and_outputs_can_be_chosen(site: Site, key: str, server: Any) -> None:
    headers = {"authorization": f"Bearer {key}"}
    plain = triton.InferInput("text", [2, 1], "BYTES")
    plain.set_data_from_numpy(np.array([["a"], ["b"]], dtype=np.object_), binary_data=False)
    wanted = [triton.InferRequestedOutput("confidence", binary_data=False)]
    by_json = server.infer("triage", [plain], outputs=wanted, headers=headers)
    by_bytes = server.infer("triage", [_words(["a", "b"])], headers=headers)
    assert by_json.as_numpy("class") is None
    assert by_json.as_numpy("confidence").tolist() == by_bytes.as_numpy("confidence").tolist()


def test_triton_narrow_numbers_widen_and_wrong_ones_are_told(site: Site, key: str, server: Any) -> None:
    headers = {"authorization": f"Bearer {key}"}

    def ask(age: Any, datatype: str) -> Any:
        tensors = [triton.InferInput("age", [1], datatype), triton.InferInput("claims", [1], "INT64")]
        tensors[0].set_data_from_numpy(age)
        tensors[1].set_data_from_numpy(np.array([1], dtype=np.int64))
        tensors.append(triton.InferInput("member", [1], "BOOL"))
        tensors[2].set_data_from_numpy(np.array([True]))
        return server.infer("scorer", tensors, headers=headers)

    assert ask(np.array([71.5], dtype=np.float32), "FP32").as_numpy("class").shape == (1,)
    with pytest.raises(InferenceServerException, match="`age`"):
        ask(np.array(["old"], dtype=np.object_), "BYTES")


def test_triton_options_that_nothing_acts_on_are_refused(site: Site, key: str, server: Any) -> None:
    headers = {"authorization": f"Bearer {key}"}
    with pytest.raises(InferenceServerException, match=r"parameters\.priority"):
        server.infer("triage", [_words(["a"])], headers=headers, priority=3)
    bare = site.key()
    site.publish()
    with pytest.raises(InferenceServerException, match="X-Freehold-Purpose"):
        server.infer("triage", [_words(["a"])], headers={"authorization": f"Bearer {bare}"})
