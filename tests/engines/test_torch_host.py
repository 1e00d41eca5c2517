"""Models come and go on one base while others are answered, and no answer comes from a wrong one."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import needs
import pytest
from hosting import client, write_rules
from started import module

pytest.importorskip("torch", reason=needs.TRAIN)

import aiohttp
import torch
import writers
from writers import Zone, asks

from freehold.engines import identity, parity, places
from freehold.engines.host import read_public
from freehold.engines.package import about_of
from freehold.engines.torch_engine import SharedBase
from freehold.engines.torch_host import TorchHost, main
from freehold.errors import Tampered
from freehold.spec.model import Manifest

torch.set_num_threads(1)  # nothing here is large enough for two

QUESTIONS = ("burst pipe in the kitchen", "a stolen bicycle", "wet", "Überschwemmung 水 🌊")
MOST = 3


@dataclass(frozen=True)
class World:
    """A zone, models for it with their evidence, and what each answers."""

    zone: Zone
    shared: SharedBase
    files: list[dict[str, bytes]]
    manifests: list[Manifest]
    evidence: list[dict[str, Any]]

    def lay(self, files: dict[str, bytes], like: int, **how: Any) -> Manifest:
        """Lay other files with the evidence of the model `like`."""
        return self.zone.lay(files, self.evidence[like], **how)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("w")
    base = writers.base_files(root)
    shared = SharedBase.read(base)
    files = [writers.model_files(root, base, seed) for seed in range(1, 7)]
    zone = Zone.make(root / "fh", base)
    evidence = [evidence_of(shared, one) for one in files]
    manifests = [zone.lay(one, said) for one, said in zip(files, evidence, strict=True)]
    yield World(zone, shared, files, manifests, evidence)
    shared.close()


def evidence_of(shared: SharedBase, files: dict[str, bytes]) -> dict[str, Any]:
    """As an evaluation would write it."""
    generator = shared.open(about_of(files), files)
    return parity.evidence(generator, writers.manifest_of(files))


@pytest.fixture(scope="module")
def host(world: World) -> Iterator[World]:
    """The host of that zone, running in a thread of this process."""
    leave, loop = asyncio.Event(), asyncio.new_event_loop()
    zone = world.zone
    running = TorchHost(
        zone.home, zone.digest, SharedBase.read(zone.base), read_public(zone.home.release_pub)
    )
    thread = threading.Thread(target=lambda: loop.run_until_complete(running.run(leave, lambda: None)))
    thread.start()
    yield world
    loop.call_soon_threadsafe(leave.set)
    thread.join(30)
    loop.close()
    assert not list(zone.home.run.glob("e-*.sock"))


def until(true: Callable[[], Any], within: float = 30) -> None:
    """Poll: across threads and processes there is nothing to await."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def serve(world: World, *manifests: Manifest) -> None:
    """Want exactly these, and wait until it is so."""
    world.zone.want(*manifests)
    until(
        lambda: all(world.zone.state(m).get("state") in ("running", "refused", "failed") for m in manifests)
    )
    wanted = {world.zone.socket(m).stem for m in manifests}
    until(lambda: {path.stem for path in world.zone.home.run.glob("e-*")} <= wanted)


def test_each_model_answers_on_its_own_socket_as_it_does_alone(host: World) -> None:
    serve(host, *host.manifests[:3])
    for number in range(3):
        (expected,) = host.shared.open(about_of(host.files[number]), host.files[number]).complete(
            asks("wet"), 8
        )
        with client(host.zone.socket(host.manifests[number])) as http:
            asked = {"model": "letters", "messages": asks("wet")[0], "max_tokens": 8}
            said = http.post("/v1/chat/completions", json=asked).json()
            assert said["choices"][0]["message"]["content"] == expected.text
            assert said["usage"]["completion_tokens"] == len(expected.tokens)
            assert http.get("/v2/health/ready").status_code == 200


def test_a_socket_answers_for_its_own_model_only(host: World) -> None:
    serve(host, *host.manifests[:2])
    with client(host.zone.socket(host.manifests[0])) as http:
        asked = {"model": host.manifests[1].serving_digest, "messages": asks("wet")[0]}
        assert http.post("/v1/chat/completions", json=asked).status_code == 404


def test_a_model_that_is_wanted_no_longer_goes_and_leaves_nothing(host: World) -> None:
    serve(host, *host.manifests[:2])
    serve(host, host.manifests[1])
    assert not host.zone.socket(host.manifests[0]).exists()
    assert host.zone.state(host.manifests[0]) == {}
    assert host.zone.state(host.manifests[1])["state"] == "running"


def test_an_answer_under_way_is_finished_when_its_model_goes(host: World) -> None:
    serve(host, host.manifests[0])
    asked = {"model": "letters", "messages": asks("wet")[0], "max_tokens": 100, "stream": True}
    with (
        client(host.zone.socket(host.manifests[0])) as http,
        http.stream("POST", "/v1/chat/completions", json=asked) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        host.zone.want()
        assert list(lines)[-2] == "data: [DONE]"
    until(lambda: host.zone.state(host.manifests[0]) == {})


def wrong(world: World, plant: str) -> Manifest:
    """A model that was signed although it is not what was evaluated (model 0); each in its own way."""
    zone, files = world.zone, dict(world.files[0])
    change: dict[str, bytes] = {}
    features: dict[str, Any] = {}
    if plant == "template":
        change = {"chat_template.jinja": files["chat_template.jinja"].replace(b"<|assistant|>", b"<|user|>")}
    if plant == "tokenizer":
        change = {"tokenizer_config.json": files["tokenizer_config.json"].replace(b"128", b"129")}
    if plant == "adapter":
        other = writers.model_files(zone.home.root, zone.base, 99)
        change = {name: other[name] for name in files if name.startswith("adapter/")}
    if plant == "end token":
        features = {"end_tokens": []}
    changed = writers.model_files(zone.home.root, zone.base, 1, change=change, features=features)
    assert changed != files
    return world.lay(changed, 0)


@pytest.mark.parametrize("plant", ["template", "tokenizer", "adapter", "end token"])
def test_a_signed_model_that_is_not_what_was_evaluated_never_gets_a_socket(host: World, plant: str) -> None:
    planted = wrong(host, plant)
    serve(host, planted, host.manifests[2])
    assert host.zone.state(planted)["state"] == "refused"
    assert host.zone.state(planted)["because"].startswith(f"{plant}: ")
    assert not host.zone.socket(planted).exists()
    assert host.zone.state(host.manifests[2])["state"] == "running"  # the others are none the worse


def test_a_revoked_model_never_gets_a_socket(host: World) -> None:
    serve(host)
    zone, gone = host.zone, host.manifests[1]
    write_rules(places.rules_path(zone.home), zone.key, [gone.serving_digest])
    serve(host, gone, host.manifests[2])
    said = zone.state(gone)
    write_rules(places.rules_path(zone.home), zone.key)
    assert (said["state"], said["because"]) == ("refused", "it learned from somebody who was forgotten")
    assert not zone.socket(gone).exists()
    assert zone.state(host.manifests[2])["state"] == "running"


def test_another_version_of_the_engine_refuses_and_says_so(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(host)
    monkeypatch.setattr(identity, "WRITING", "2")
    serve(host, host.manifests[0])
    assert host.zone.state(host.manifests[0])["state"] == "refused"
    assert "writing: approved 1, here 2" in host.zone.state(host.manifests[0])["because"]


def test_weights_that_compute_otherwise_are_found_by_the_probes(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every digest holds; only the answers tell."""
    serve(host)
    real = parity.evidence(host.shared.open(about_of(host.files[3]), host.files[3]), host.manifests[3])
    probe = dict(real["probes"][4])
    probe["logprobs"] = [str(float(probe["logprobs"][0]) - 0.01), *probe["logprobs"][1:]]
    told = {**real, "probes": [*real["probes"][:4], probe, *real["probes"][5:]]}
    host.zone.lay(host.files[3], told)
    serve(host, host.manifests[3])
    said = host.zone.state(host.manifests[3])
    host.zone.lay(host.files[3], host.evidence[3])
    assert said["state"] == "refused"
    assert said["because"].startswith("answers: probe 5 of 8 is off by 1.0e-02 at token 1")


def damage_byte(folder: Path) -> None:
    path = folder / "files" / "adapter" / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def remove_folder(folder: Path) -> None:
    for path in sorted((folder / "files").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "files").rmdir()


def remove_evidence(folder: Path) -> None:
    (folder / "evidence.json").unlink()


def swap_evidence(folder: Path) -> None:
    (folder / "evidence.json").write_bytes((folder / "envelope.json").read_bytes())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_byte, "has another digest than was signed"),
        (remove_folder, "is not there"),
        (remove_evidence, "its signed evidence is missing"),
        (swap_evidence, "the envelope holds"),
    ],
)
def test_what_does_not_verify_is_refused(host: World, damage: Callable[[Path], None], says: str) -> None:
    from freehold.engines.places import model_folder

    serve(host)
    damage(model_folder(host.zone.home, host.manifests[4].serving_digest).parent)
    serve(host, host.manifests[4])
    said = host.zone.state(host.manifests[4])
    host.zone.lay(host.files[4], host.evidence[4])
    assert said["state"] == "refused"
    assert says in said["because"]


# -- no answer from a wrong adapter -------------------------------------------------------------------


@pytest.mark.parametrize(
    "requests", [2_000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_no_answer_comes_from_a_wrong_adapter_while_they_come_and_go(host: World, requests: int) -> None:
    expected = []
    for files in host.files:
        generator = host.shared.open(about_of(files), files)
        expected.append([said.text for said in generator.complete(asks(*QUESTIONS), MOST)])
    for question in range(len(QUESTIONS)):
        assert len({one[question] for one in expected}) == len(expected), "the answers tell adapters apart"
    seen = asyncio.run(_storm(host, expected, requests))
    assert seen == set(range(len(expected)))


async def _storm(host: World, expected: list[list[str]], answers: int) -> set[int]:
    """Ask until there are as many answers, each of them right; which models gave some."""
    draw = random.Random(5)
    up = set(range(4))
    host.zone.want(*(host.manifests[n] for n in up))
    right: list[int] = []

    async def ask_on() -> None:
        sessions: dict[int, aiohttp.ClientSession] = {}
        while len(right) < answers:
            number, question = draw.choice(sorted(up)), draw.randrange(len(QUESTIONS))
            if number not in sessions:
                connector = aiohttp.UnixConnector(str(host.zone.socket(host.manifests[number])))
                sessions[number] = aiohttp.ClientSession(connector=connector)
            said = await _ask(sessions[number], QUESTIONS[question])
            if said is None:  # it is going, or not there yet
                await asyncio.sleep(0.005)
                continue
            assert said == expected[number][question]
            right.append(number)
        for session in sessions.values():
            await session.close()

    async def change_on() -> None:
        while len(right) < answers:
            await asyncio.sleep(0.1)
            if len(up) > 3:
                up.discard(draw.choice(sorted(up)))
            else:
                up.add(draw.choice([n for n in range(len(expected)) if n not in up]))
            host.zone.want(*(host.manifests[n] for n in up))

    await asyncio.gather(change_on(), *(ask_on() for _ in range(16)))
    return set(right)


async def _ask(session: aiohttp.ClientSession, question: str) -> str | None:
    """The answer; None when the model is not there, or going."""
    asked = {"model": "letters", "messages": asks(question)[0], "max_tokens": MOST}
    try:
        async with session.post("http://engine/v1/chat/completions", json=asked) as response:
            if response.status == 503:
                return None
            said = await response.json()
            assert response.status == 200, said
            return str(said["choices"][0]["message"]["content"])
    except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        return None


# -- the process --------------------------------------------------------------------------------------


def test_the_process_serves_what_is_wanted_and_leaves_in_good_order(world: World, tmp_path: Path) -> None:
    zone = Zone.make(tmp_path / "fh", world.zone.base)
    manifest = zone.lay(world.files[0], world.evidence[0])
    zone.want(manifest)
    command = [*module("freehold.engines.torch_host"), "--home", str(zone.home.root)]
    with subprocess.Popen([*command, "--base", zone.digest], cwd=zone.home.run) as process:
        try:
            until(lambda: zone.socket(manifest).exists() or process.poll() is not None, 90)
            until(lambda: zone.state(manifest)["state"] == "running", 10)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert not zone.socket(manifest).exists()


def test_a_changed_base_ends_the_process_with_exit_code_8(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zone = Zone.make(
        tmp_path / "fh", {**world.zone.base, "config.json": world.zone.base["config.json"] + b" "}
    )
    from freehold.engines.places import base_folder

    base_folder(zone.home, zone.digest).parent.rename(base_folder(zone.home, world.zone.digest).parent)
    assert main(["--home", str(zone.home.root), "--base", world.zone.digest]) == Tampered.exit_code
    assert "why:  weights: registered as" in capsys.readouterr().err


def test_a_base_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tmp_path), "--base", "sha256:" + "1" * 64]) == 9
    assert "is not there" in capsys.readouterr().err
