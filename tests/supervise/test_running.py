"""The watch: what dies is started again, what leaves drains, and nothing outlives the supervisor."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from freehold.jobs import walls
from freehold.store.home import Home
from tests.installation import Installation, alive, wait_for
from tests.journeys.test_deliver import deliver
from tests.supervise.test_parts_alone import only


@pytest.fixture(scope="module")
def serving(installation: Installation) -> Installation:
    """An installation with a service that answers."""
    installation.add_people()
    installation.add_claims()
    deliver(installation)
    return installation


def test_each_process_survives_being_killed(serving: Installation) -> None:
    for name in sorted(serving.processes()):
        before = serving.processes()[name]["pid"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: _other(serving, name, before), 30, serving.tell)  # noqa: B023 – waited for here
    wait_for(lambda: ask(serving).status_code == 200, 20, serving.tell)


def _other(serving: Installation, name: str, before: int) -> bool:
    now = serving.processes().get(name)
    return bool(now and now["pid"] not in (None, before) and now["state"] == "running")


def test_a_rolling_restart_of_the_gateway_fails_no_request(serving: Installation) -> None:
    failed: list[str] = []
    over = threading.Event()

    def keep_asking() -> None:
        while not over.is_set():
            try:
                answer = ask(serving)
            except httpx.TransportError as error:
                failed.append(repr(error))
                continue
            if answer.status_code != 200:
                failed.append(answer.text)

    callers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(2):
            before = serving.processes()["gateway"]["pid"]
            os.kill(serving.pid, signal.SIGHUP)
            wait_for(lambda: _other(serving, "gateway", before), 30, serving.tell)  # noqa: B023 – waited for here
            wait_for(lambda: not alive(before), 30, serving.tell)  # noqa: B023 – waited for here
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert failed == []


def test_status_says_what_runs_and_that_nothing_is_wrong(serving: Installation) -> None:
    house = serving.json("operator", "status")
    assert {p["name"] for p in house["processes"]} >= {"control", "gateway", "worker-1"}
    assert all(p["state"] == "running" for p in house["processes"])
    assert house["services"][0]["model"] == "claims-triage@1"
    wait_for(lambda: "nothing is wrong" in serving.freehold("operator", "status"), 30, serving.tell)


def test_no_part_has_loaded_what_it_must_not_have(serving: Installation) -> None:
    """Read from the kernel: the gateway has no database driver, and nothing that serves has torch."""
    for name, one in serving.processes().items():
        loaded = Path(f"/proc/{one['pid']}/maps").read_text()
        assert "torch" not in loaded, name
        assert ("sqlite" in loaded) == (name == "control"), name
        assert "sklearn" not in loaded, name


def test_no_part_can_reach_what_is_not_its_own(serving: Installation) -> None:
    """Gateway and engines carry a filter and no privileges; engines have a network of their own."""
    control = os.readlink(f"/proc/{serving.processes()['control']['pid']}/ns/net")
    for name, one in serving.processes().items():
        said = Path(f"/proc/{one['pid']}/status").read_text()
        if name.startswith(("gateway", "engine")) and walls.offered().seccomp:
            assert "Seccomp:\t2" in said, name
            assert "CapEff:\t0000000000000000" in said, name
        if name.startswith("engine") and walls.offered().namespaces:
            assert os.readlink(f"/proc/{one['pid']}/ns/net") != control


def test_logs_hold_no_addresses_no_keys_and_no_words(serving: Installation) -> None:
    ask(serving)
    for path in serving.home.glob("log/*.log"):
        text = path.read_text()
        for secret in ("@example.org", "bumper", *serving.keys.values()):
            assert secret not in text, path.name


@pytest.fixture
def second(serving: Installation) -> Iterator[Installation]:
    """The same installation, for tests that stop it; it runs again afterwards."""
    yield serving
    if not alive(serving.pid):
        serving.start()


def test_a_changed_model_file_is_refused_at_the_next_start(second: Installation) -> None:
    second.stop()
    (model,) = second.home.glob("serving/models/*/files/model.onnx")
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    second.start_without_waiting()
    wait_for(lambda: "refused" in second.said_lately(), 60, second.tell)
    assert "model.onnx" in second.said_lately()
    wait_for(lambda: any("refused" in word for word in _wrong(second)), 20, second.tell)
    assert ask(second).status_code == 503
    second.stop()
    model.write_bytes(whole)
    second.start()
    wait_for(lambda: ask(second).status_code == 200, 30, second.tell)


def _wrong(serving: Installation) -> list[str]:
    return list(serving.json("operator", "status")["wrong"]) if serving.is_reachable() else []


def test_nothing_outlives_the_supervisor(second: Installation) -> None:
    second.kill()
    second.start()
    wait_for(lambda: ask(second).status_code == 200, 30, second.tell)
    assert second.freehold("auditor", "verify")


def test_a_gateway_and_engines_that_were_started_apart_answer_together(second: Installation) -> None:
    second.stop()
    home = Home(second.home)
    with only("control", home, "--port", "0"):
        url = json.loads(home.addresses("control").read_text())["control"]
        with only("engine", home, "--control-url", url) as engines:
            with only("gateway", home, "--gateway-port", "0", "--control-url", url):
                wait_for(lambda: ask(second, home.addresses("gateway")).status_code == 200, 30, second.tell)
            assert engines.poll() is None  # the model stays loaded while the gateway is replaced
            with only("gateway", home, "--gateway-port", "0", "--control-url", url):
                wait_for(lambda: ask(second, home.addresses("gateway")).status_code == 200, 30, second.tell)


def test_ctrl_c_drains_and_leaves_nothing_behind(second: Installation) -> None:
    pids = [one["pid"] for one in second.processes().values()]
    assert second.stop() == 0
    assert not any(alive(pid) for pid in pids)
    assert not (second.home / "control" / "addresses.json").exists()
    assert second.said_lately().rstrip().endswith("stopped")


def ask(serving: Installation, written: Path | None = None) -> httpx.Response:
    """A question to the gateway whose address was written down there, else to the installation's."""
    addresses = json.loads(written.read_text()) if written else serving.addresses
    return httpx.post(
        addresses["gateway"] + "/v1/chat/completions",
        headers={"authorization": f"Bearer {serving.keys['serving']}"},
        json={"model": "claims-triage", "messages": [{"role": "user", "content": "car bumper scratched"}]},
        trust_env=False,
        timeout=20,
    )
