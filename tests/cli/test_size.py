"""`freehold size`: from a file, from what is there, side by side, as JSON and as a page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from started import FREEHOLD

WORK = """\
model: llama-3-8b
serve: {requests_a_day: 20000, tokens_in: 900, tokens_out: 250, first_token_ms: 1500}
"""
TRACE = "at,tokens_in,tokens_out\n" + "".join(
    f"{second},{100 + second % 7},{20}\n" for second in range(0, 600, 2)
)


def size(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    command = [*FREEHOLD, "size", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work.yaml").write_text(WORK)
    (tmp_path / "other.yaml").write_text(WORK.replace("llama-3-8b", "qwen3-14b"))
    (tmp_path / "trace.csv").write_text(TRACE)
    return tmp_path


def test_a_plan_is_told_with_ranges_labels_and_what_nobody_confirmed(folder: Path) -> None:
    ran = size("work.yaml", "--html", "plan.html", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    for word in ("to serve", "range", "derived", "estimated", "nobody confirmed yet", "older than 90 days"):
        assert word in ran.stdout
    assert (folder / "plan.html").read_text().startswith("<!doctype html>")


def test_a_trace_and_a_models_name_are_enough_and_a_file_keeps_its_objectives(folder: Path) -> None:
    alone = json.loads(size("--from", "trace.csv", "--model", "llama-3-8b", "--json", cwd=folder).stdout)
    assert alone["workload"]["serve"]["requests_a_day"] == pytest.approx(43_200, rel=0.01)
    waits = next(section for section in alone["sections"] if section["name"] == "waiting")
    assert waits["figures"][0]["name"].startswith("trace.csv:")
    both = json.loads(size("work.yaml", "--from", "trace.csv", "--json", cwd=folder).stdout)
    assert both["workload"]["serve"]["first_token_ms"] == 1500
    assert both["workload"]["serve"]["tokens_out"] == 20


def test_two_files_side_by_side(folder: Path) -> None:
    (folder / "more.yaml").write_text(WORK.replace("20000", "40000"))
    ran = size("--compare", "work.yaml", "more.yaml", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    (line,) = [line for line in ran.stdout.splitlines() if "answers at the peak" in line]
    assert line.split()[-1] == "2"
    assert re.search(r"answers at the peak +\S+ a second \([\d.]+ to [\d.]+\)", line), line


def test_several_files_are_added_up_and_each_is_told_by_its_name(folder: Path) -> None:
    ran = size("work.yaml", "other.yaml", "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert list(told["plans"]) == ["work.yaml", "other.yaml"]
    kept = [
        next(f["value"] for s in plan["sections"] for f in s["figures"] if f["name"] == "to be kept")
        for plan in told["plans"].values()
    ]
    both = next(f for f in told["together"]["figures"] if f["name"] == "to be kept")
    assert both["value"] == pytest.approx(sum(kept))


def test_energy_is_written_as_it_is_disclosed(folder: Path) -> None:
    ran = size("work.yaml", "--disclosure", "energy.json", "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    written = json.loads((folder / "energy.json").read_text())
    assert written == json.loads(ran.stdout)["disclosure"]
    assert written["method"]
    assert written["scope"]


def test_facts_of_several_files_take_the_place_of_ours_the_last_one_wins(folder: Path) -> None:
    for name, value in (("one", 9), ("two", 8)):
        said = f"{{value: {value}, label: measured, as_of: 2026-11-01, source: {name}}}"
        (folder / f"{name}.yaml").write_text(f"device.l4.rent: {said}\n")
    ran = size("work.yaml", "--facts", "one.yaml", "--facts", "two.yaml", "--json", cwd=folder)
    facts = {fact["name"]: fact for fact in json.loads(ran.stdout)["facts"]}
    assert facts["device.l4.rent"]["source"] == "two"


ANSWERS = {"request_success": 100.0, "latency_seconds_sum": 150.0, "num_requests_running": 8.0}
"""An hour: 100 requests, 10,000 tokens, 15 ms from one to the next."""


DEVICES = {("a", "0", "chat"): 30.0, ("a", "1", "chat"): 12.0, ("b", "0", "research"): 0.0}
"""Per cent of the time, by host, number and namespace; in one hour all of them are 20 busier."""


WORKS_FOR: dict[str, dict[str, str]] = {
    "a0": {"workload_type": "Inference", "duty": "serve"},
    "a1": {"phase": "Running", "duty": "other"},
    "b0": {"phase": "Running", "workload_type": "fine-tuning"},
}
"""What a device works for: by a label that is looked at, and by one of the house's own."""


def busy(labels: tuple[str, str, str], each: float) -> dict[str, object]:
    host, number, team = labels
    metric = {"Hostname": host, "gpu": number, "modelName": "NVIDIA H100 80GB HBM3", "namespace": team}
    metric |= WORKS_FOR[host + number]
    values = [[1_730_419_200 + 3600 * hour, str(each + 20 * (hour == 7))] for hour in range(48)]
    return {"metric": metric, "values": values}


class _Prometheus(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        each = next((n for word, n in ANSWERS.items() if word in self.path), 10_000.0)
        values = [[1_730_419_200 + 3600 * hour, str(each)] for hour in range(48)]
        result = [] if "prefix_cache" in self.path else [{"metric": {}, "values": values}]
        if "DCGM" in self.path:
            result = [busy(labels, share) for labels, share in DEVICES.items()]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def prometheus() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_prometheus_that_watches_engines_is_asked(folder: Path) -> None:
    with prometheus() as url:
        ran = size("--from", f"prometheus={url}", "--model", "llama-3-8b", "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    serve = json.loads(ran.stdout)["workload"]["serve"]
    assert serve["requests_a_day"] == pytest.approx(2400)
    assert serve["tokens_in"] == 100
    assert len(serve["curve"]) == 24


def test_engines_that_are_watched_tell_how_near_their_device_comes_to_the_roofline(folder: Path) -> None:
    (folder / "work.yaml").write_text("model: qwen3-14b\ndevice: h100\n")
    with prometheus() as url:
        ran = size("work.yaml", "--from", f"prometheus={url}", "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    fact = {fact["name"]: fact for fact in told["facts"]}["device.h100.decode_efficiency.8"]
    roof = 14.8e9 / 3.35e12 + 8 * 150 * 163_840 / 3.35e12
    assert fact["value"] == pytest.approx(roof / 0.015, rel=1e-6)
    assert "15 ms a token, 8 rows on 1 x h100" in fact["source"]
    asked = next(section for section in told["sections"] if section["name"] == "asked")
    assert any("15 ms a token" in note for note in asked["notes"])


def test_devices_that_are_watched_are_told_with_what_idles_and_how_many_would_do(folder: Path) -> None:
    (folder / "work.yaml").write_text("model: qwen3-14b\ndevice: h100\n")
    with prometheus() as url:
        ran = size("work.yaml", "--from", f"prometheus={url}", "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    told = next(part for part in json.loads(ran.stdout)["sections"] if part["name"] == "busy")
    figures = {figure["name"]: figure for figure in told["figures"]}
    mean = (30 + 12 + 0) / 3 + 20 / 48
    assert figures["busy"]["value"] == pytest.approx(mean)
    assert figures["busy"]["label"] == "measured"
    assert figures["would do"]["value"] == 2, "(50 + 32 + 20) % in the busiest hour, at 65 % each"
    assert figures["idling costs"]["value"] == pytest.approx((1 - mean / 100) * 3 * 2.95 * 8760)
    teams, phases, devices = told["tables"]
    assert [(row["team"], row["devices"], row["busy"]) for row in teams["rows"]] == [
        ("chat", 2, "21%"),
        ("research", 1, "0%"),
    ]
    assert [(row["phase"], row["devices"], row["busy"]) for row in phases["rows"]] == [
        ("inference", 1, "30%"),
        ("training", 1, "0%"),
        ("not told", 1, "12%"),
    ]
    assert (devices["rows"][0]["device"], devices["rows"][0]["phase"]) == ("b/0", "training")
    assert any("less than the 15% said to be usual" in note for note in told["notes"])
    assert any("2 of 3 carry the busiest hour" in note for note in told["notes"])


def test_the_label_that_says_training_or_inference_may_be_named(folder: Path) -> None:
    with prometheus() as url:
        words = ("--from", f"prometheus={url}", "--model", "llama-3-8b", "--json")
        ran = size(*words, "--phase", "duty", cwd=folder)
        unknown = size(*words, "--phase", "dutty", cwd=folder)
    told = next(part for part in json.loads(ran.stdout)["sections"] if part["name"] == "busy")
    _, phases, _ = told["tables"]
    assert [(row["phase"], row["devices"]) for row in phases["rows"]] == [("inference", 1), ("not told", 2)]
    assert unknown.returncode in (2, 3)
    assert "no device carries the label `dutty`" in unknown.stderr
    assert "duty" in unknown.stderr.partition("hint")[2]


def test_what_opens_a_prometheus_stands_in_no_plan(folder: Path) -> None:
    with prometheus() as url:
        login = url.replace("http://", "http://ann:hunter2@")
        ran = size("--from", f"prometheus={login}", "--model", "llama-3-8b", "--json", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "hunter2" not in ran.stdout + ran.stderr
    gone = size("--from", f"prometheus={login}", "--model", "llama-3-8b", cwd=folder)
    assert "does not answer" in gone.stderr
    assert "hunter2" not in gone.stdout + gone.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "nothing to plan"),
        (("--from", "nowhere.csv", "--model", "llama-3-8b"), "nowhere.csv"),
        (("--from", "trace.csv"), "no model is named"),
        (("--from", "trace.csv", "--model", "lama-3-8b"), "did you mean `llama-3-8b`?"),
        (("work.yaml", "--model", "llama-3-8b"), "two models"),
        (("--from", "work.yaml", "--model", "llama-3-8b"), "known columns"),
        (("--from", "prometheus=http://127.0.0.1:9", "--model", "llama-3-8b"), "does not answer"),
        (("work.yaml", "--compare", "work.yaml", "work.yaml"), "do not go together"),
        (("work.yaml", "--phase", "duty"), "--phase is of no use here"),
        (("work.yaml", "work.yaml"), "named twice"),
        (("work.yaml", "other.yaml", "--html", "page.html"), "several files are planned"),
        (("work.yaml", "--disclosure", "nowhere/energy.json"), "cannot be written"),
    ],
)
def test_what_cannot_be_planned_is_told(folder: Path, words: tuple[str, ...], says: str) -> None:
    ran = size(*words, cwd=folder)
    assert ran.returncode in (2, 3)
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
