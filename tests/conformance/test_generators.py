"""What every generator must do, asked over its Unix socket in its own process.

A new engine adds a line to `GENERATORS`; a third party's runs this file with its own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import needs
import pytest
import writers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosting import await_socket, client, host_command, write_signed
from started import module

from freehold.spec.model import Manifest

QUESTIONS = ("water in the kitchen", "Überschwemmung 水 🌊", "a stolen bicycle", "x")
GENERATORS = ("fake", "torch")


@dataclass(frozen=True)
class Running:
    """A generator under test."""

    manifest: Manifest
    socket: Path
    http: httpx.Client
    process: subprocess.Popen[bytes]

    def ask(self, question: str = QUESTIONS[0], **fields: Any) -> httpx.Response:
        messages = [{"role": "user", "content": question}]
        body = {"model": self.manifest.name, "messages": messages, "max_tokens": 12, **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def go_on(self, prompt: str, **fields: Any) -> httpx.Response:
        body = {"model": self.manifest.name, "prompt": prompt, "max_tokens": 12, **fields}
        return self.http.post("/v1/completions", json=body)

    def text(self, question: str = QUESTIONS[0], **fields: Any) -> str:
        answer = self.ask(question, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])


def start_fake(root: Path) -> tuple[Manifest, Path, list[str]]:
    base = writers.base_files(root)
    files = {"about.json": writers.model_files(root, base, 1)["about.json"]}
    signed = write_signed(root / "m", files, engine="fake")
    return signed.manifest, root / "e.sock", host_command(signed, root / "e.sock")


def start_torch(root: Path) -> tuple[Manifest, Path, list[str]]:
    from freehold.engines import parity
    from freehold.engines.package import about_of
    from freehold.engines.torch_engine import TorchGenerator

    base = writers.base_files(root)
    files = writers.model_files(root, base, 1, features={"end_tokens": [1, 300]})
    zone = writers.Zone.make(root / "fh", base)
    generator = TorchGenerator.load(about_of(files), files, base)
    manifest = zone.lay(files, parity.evidence(generator, writers.manifest_of(files)))
    generator.close()
    zone.want(manifest)
    command = module("freehold.engines.torch_host")
    return manifest, zone.socket(manifest), [*command, "--home", str(zone.home.root), "--base", zone.digest]


@contextmanager
def running(command: list[str], socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        await_socket(process, socket, within=90)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        if process.stderr:
            process.stderr.close()


@pytest.fixture(scope="module", params=GENERATORS)
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if request.param == "torch" and find_spec("torch") is None:
        pytest.skip(needs.TRAIN)
    start = {"fake": start_fake, "torch": start_torch}[request.param]
    manifest, socket, command = start(tmp_path_factory.mktemp(request.param))
    with running(command, socket) as process, client(socket) as http:
        yield Running(manifest, socket, http, process)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, which says that it is whole."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_it_is_live_and_ready_once_it_can_be_reached(generator: Running) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{generator.manifest.name}/ready"):
        assert generator.http.get(path).status_code == 200


def test_it_says_which_digest_it_serves(generator: Running) -> None:
    for name in (generator.manifest.name, generator.manifest.serving_digest):
        said = generator.http.get(f"/v2/models/{name}").json()
        assert said["parameters"]["serving_digest"] == generator.manifest.serving_digest
    listed = generator.http.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == [generator.manifest.name]


def test_an_answer_has_the_shape_of_a_chat_completion(generator: Running) -> None:
    said = generator.ask().json()
    assert said["object"] == "chat.completion"
    assert said["choices"][0]["message"]["role"] == "assistant"
    assert said["choices"][0]["finish_reason"] in ("stop", "length")
    used = said["usage"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    assert 0 < used["completion_tokens"] <= 12


def test_greedy_is_what_happens_when_nothing_is_said_and_always_the_same(generator: Running) -> None:
    assert generator.text() == generator.text() == generator.text(temperature=0)


def test_many_callers_at_once_get_their_own_answers(generator: Running) -> None:
    expected = [generator.text(question) for question in QUESTIONS]

    def ask(number: int) -> bool:
        place = number % len(QUESTIONS)
        return generator.text(QUESTIONS[place]) == expected[place]

    with ThreadPoolExecutor(12) as callers:
        assert all(callers.map(ask, range(48)))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_stream_is_the_whole_answer_in_whole_characters(generator: Running, question: str) -> None:
    chunks = events(generator.ask(question, stream=True))
    told = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert told == generator.text(question)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] is None for chunk in chunks].count(False) == 1


def test_a_stream_ends_with_what_was_used_when_that_is_asked_for(generator: Running) -> None:
    chunks = events(generator.ask(stream=True, stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == generator.ask().json()["usage"]


def test_at_most_as_many_tokens_as_asked(generator: Running) -> None:
    said = generator.ask(max_tokens=2).json()
    assert said["usage"]["completion_tokens"] == 2
    assert said["choices"][0]["finish_reason"] == "length"


def test_a_stop_sequence_is_not_told_whole_or_streamed(generator: Running) -> None:
    whole = generator.text(max_tokens=24)
    stop = whole[3:6]
    said = generator.ask(max_tokens=24, stop=["never there", stop]).json()
    assert said["choices"][0]["message"]["content"] == whole[: whole.index(stop)]
    assert said["choices"][0]["finish_reason"] == "stop"
    chunks = events(generator.ask(max_tokens=24, stop=stop, stream=True))
    told = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert told == whole[: whole.index(stop)]


def test_a_seed_gives_the_same_words_again_and_another_one_others(generator: Running) -> None:
    drawn = {seed: generator.text(temperature=1.2, seed=seed, max_tokens=24) for seed in (1, 2, 3)}
    for seed, text in drawn.items():
        assert generator.text(temperature=1.2, seed=seed, max_tokens=24) == text
    assert len(set(drawn.values())) == 3


def test_a_seed_holds_among_others(generator: Running) -> None:
    alone = generator.text(temperature=1.2, seed=9, max_tokens=24)

    def ask(number: int) -> str:
        if number % 3:
            return generator.text(QUESTIONS[number % 4], temperature=1.0, max_tokens=5 + number)
        return generator.text(temperature=1.2, seed=9, max_tokens=24)

    with ThreadPoolExecutor(12) as callers:
        said = list(callers.map(ask, range(24)))
    assert set(said[::3]) == {alone}


def test_log_probabilities_stand_beside_every_token(generator: Running) -> None:
    said = generator.ask(logprobs=True, top_logprobs=2).json()["choices"][0]
    told = said["logprobs"]["content"]
    assert (
        b"".join(bytes(token["bytes"]) for token in told).decode("utf-8", "replace")
        == said["message"]["content"]
    )
    for token in told:
        assert token["logprob"] <= 0
        assert len(token["top_logprobs"]) == 2
        assert token["top_logprobs"][0]["logprob"] >= token["top_logprobs"][1]["logprob"]
        assert token["logprob"] <= token["top_logprobs"][0]["logprob"]  # greedy, or a tie
    streamed = events(generator.ask(logprobs=True, top_logprobs=2, stream=True))
    pieces = [c["choices"][0]["logprobs"] for c in streamed]
    assert [token for piece in pieces if piece for token in piece["content"]] == told


def test_a_text_is_gone_on_from(generator: Running) -> None:
    said = generator.go_on("the water", logprobs=1).json()
    assert said["object"] == "text_completion"
    told = said["choices"][0]["logprobs"]
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["text_offset"])
    chunks = events(generator.go_on("the water", stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == said["choices"][0]["text"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n": 3}, "n"), ({"tools": [{}]}, "tools"), ({"top_k": 3}, "top_k"), ({"stop": [""]}, "stop"),
        ({"temperature": 9}, "temperature"), ({"messages": []}, "messages"),
        ({"logit_bias": {"3": 1}}, "logit_bias"),
        ({"max_tokens": 0}, "max_tokens"), ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_its_name(
    generator: Running, fields: dict[str, Any], named: str
) -> None:
    answer = generator.ask(**fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == named


def test_a_prompt_that_does_not_fit_is_told_so(generator: Running) -> None:
    answer = generator.ask("long " * 600)
    assert answer.status_code == 400
    assert "the model reads 128" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_request_is_refused_as_such(generator: Running, body: bytes) -> None:
    answer = generator.http.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert "the body is not" in answer.json()["error"]["message"]


def test_an_error_never_repeats_what_was_said(generator: Running) -> None:
    answer = generator.ask(messages=[{"role": "anna-kowalska", "content": "anna-kowalska"}])
    assert answer.status_code == 400
    assert "kowalska" not in answer.text


def test_another_model_or_path_is_not_found(generator: Running) -> None:
    assert generator.ask(model="other").status_code == 404
    for path in ("/v2/models/other", "/v1/embeddings", "/"):
        assert generator.http.get(path).status_code == 404


def test_a_body_beyond_the_limit_is_refused_before_it_is_read_whole(generator: Running) -> None:
    assert generator.http.post("/v1/chat/completions", content=b"x" * (5 << 20)).status_code == 413


def test_who_hangs_up_takes_nobodys_place(generator: Running) -> None:
    for _ in range(40):
        with (
            client(generator.socket) as http,
            http.stream(
                "POST",
                "/v1/chat/completions",
                json={
                    "model": generator.manifest.name,
                    "messages": [{"role": "user", "content": "x"}],
                    "stream": True,
                    "max_tokens": 90,
                },
            ) as stream,
        ):
            next(stream.iter_lines())
    began = time.monotonic()
    assert generator.text()
    assert time.monotonic() - began < 20


def test_a_terminated_engine_ends_well_and_takes_its_socket_with_it(tmp_path: Path) -> None:
    _, socket, command = start_fake(tmp_path)
    with running(command, socket) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not socket.exists()


def test_a_generator_of_another_key_is_refused(tmp_path: Path) -> None:
    _, _, command = start_fake(tmp_path)
    (tmp_path / "m" / "release.pub").write_bytes(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 8
