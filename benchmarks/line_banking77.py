"""The whole line on BANKING77: from two files to governed answers, every station timed.

10,003 questions of bank customers in 77 classes to learn from, and the test file to judge by (Casanueva
et al., 2020, "Efficient Intent Detection with Dual Sentence Encoders"; CC BY 4.0). Each row gets a
subject and a basis of its own. Needs the data in the folder that FREEHOLD_TEST_DATA names:

    FREEHOLD_TEST_DATA=FOLDER python benchmarks/line_banking77.py

Every figure is measured in this run on this machine and written to benchmarks/results/.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))
from plot import Bar, bars

from freehold.demo.house import clean
from freehold.demo.stage import Stage
from freehold.demo.tell import Teller

RESULTS = Path(__file__).parent / "results"
TRAIN, TEST = "1_intents/banking77_train.csv", "1_intents/banking77_test.dev.csv"
TARGET = 0.908
"""What TF-IDF with a linear support-vector machine reaches on this test file."""
CALLERS = 8
SERVICE = """\
service: banking-intents
project: bank
owner: intents@example.org
purpose: customer-service
sensitivity: Confidential
tier: limited
regions: [eu]
subject: required
model:
  data: banking@1
  task: classify
  trainer: linear
  train: {held_out: 0, seed: 7}
gates:
  quality: {metric: accuracy, against: banking-test@1, value: 0.908}
approve:
  - role: model-risk
  - role: data-protection
"""


class Times:
    """Seconds by station."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def station(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began


def main() -> int:
    folder = os.environ.get("FREEHOLD_TEST_DATA", "")
    data = Path(folder)
    if not folder or not (data / TRAIN).exists():
        print(f"SKIPPED: no {TRAIN} below FREEHOLD_TEST_DATA={folder or '(not set)'}", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory(prefix="line-") as scratch:
        stage = Stage(Path(scratch) / "house", Teller(sys.stderr))
        stage.build()
        try:
            result = measure(stage, data)
        finally:
            clean(stage.folder)
    write(result)
    print(json.dumps(result, indent=2))
    return 0 if result["accuracy"]["through the gateway"] >= TARGET else 1


def measure(stage: Stage, data: Path) -> dict[str, Any]:
    """Walk the line; return every figure."""
    times = Times()
    with times.station("up"):
        stage.begin()
    people(stage)
    texts, labels = prepare(stage, data)
    for station, file in (("intake", "banking.csv"), ("intake of the test file", "banking-test.csv")):
        with times.station(station):
            add(stage, file)
    (stage.folder / "service.yaml").write_text(SERVICE)
    with times.station("plan"):
        stage.freehold("tina", "plan", "service.yaml")
    with times.station("train and evaluate"):
        stage.freehold("tina", "apply", "service.yaml", expect=7)
    runs = {run["kind"]: run for run in stage.freehold("tina", "runs", "list", "--json", quiet=True).json}
    approve(stage, times)
    asked = ask_all(stage, texts, labels, times)
    why(stage, asked["ids"], times)
    with times.station("verify"):
        entries = stage.freehold("ada", "verify", "--json", quiet=True).json["entries"]
    return figures(times, runs, asked, entries, len(texts), stage)


def people(stage: Stage) -> None:
    stage.freehold("admin", "project", "add", "bank")
    for who, role in (
        ("tina", "trainer"),
        ("mara", "model-risk"),
        ("paul", "data-protection"),
        ("ada", "auditor"),
    ):
        where = () if role == "auditor" else ("--project", "bank")
        words = ("people", "add", f"{who}@example.org", "--role", role, *where)
        stage.freehold("admin", *words, "--write-key", f"keys/{who}.key", quiet=True)


def prepare(stage: Stage, data: Path) -> tuple[list[str], list[str]]:
    """Give every row a subject and a consent; return the test file's texts and labels."""
    texts: list[str] = []
    labels: list[str] = []
    for source, name, letter in ((TRAIN, "banking.csv", "c"), (TEST, "banking-test.csv", "t")):
        with (data / source).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with (stage.folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["customer", "consent", "text", "category"])
            writer.writerows(
                [f"{letter}-{n:05}", "yes", r["text"], r["category"]] for n, r in enumerate(rows)
            )
        texts, labels = [r["text"] for r in rows], [r["category"] for r in rows]
    return texts, labels


def add(stage: Stage, file: str) -> None:
    stage.freehold(
        "tina",
        *("data", "add", file, "--project", "bank", "--purpose", "customer-service", "--basis", "consent"),
        *("--consent-from", "consent", "--subject", "customer", "--text", "text", "--target", "category"),
        *(
            "--sensitivity",
            "Confidential",
            "--owner",
            "intents@example.org",
            "--keep",
            "1y",
            "--region",
            "eu",
        ),
    )


def approve(stage: Stage, times: Times) -> None:
    """Two people; then until it answers."""
    for who in ("mara", "paul"):
        waiting = stage.freehold(who, "approve", "list", "--json", quiet=True).json
        mine = next(one["id"] for one in waiting if not one["not_you"])
        with times.station(f"approve ({who})"):
            stage.freehold(who, "approve", "give", mine, "--because", "measured")
    with times.station("release until it answers"):
        stage.freehold("tina", "apply", "service.yaml")


def ask_all(stage: Stage, texts: list[str], labels: list[str], times: Times) -> dict[str, Any]:
    """The whole test file through the gateway: one caller for latencies, several for the rest."""
    stage.freehold(
        *("admin", "keys", "create", "--project", "bank", "--purpose", "customer-service"),
        *("--write-key", "keys/ask.key"),
    )
    headers = {"authorization": f"Bearer {stage.key_file('ask').read_text().strip()}"}
    base = stage.env["FREEHOLD_GATEWAY"]
    with httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=60) as http:
        alone = [ask(http, n, text) for n, text in enumerate(texts[:300])]
        answers: list[Asked | None] = [None] * len(texts)
        with times.station(f"ask all, {CALLERS} callers"):
            crowd(lambda n: answers.__setitem__(n, ask(http, n, texts[n])), len(texts))
    right = sum(a is not None and a.said == label for a, label in zip(answers, labels, strict=True))
    return {
        "ids": [one.answer for one in alone[:40]],
        "alone": sorted(one.seconds for one in alone),
        "crowded": sorted(one.seconds for one in answers if one is not None),
        "accuracy": right / len(texts),
    }


class Asked:
    """One answer, and how long it took."""

    def __init__(self, answer: str, said: str, seconds: float) -> None:
        self.answer, self.said, self.seconds = answer, said, seconds


def ask(http: httpx.Client, number: int, text: str) -> Asked:
    began = time.perf_counter()
    response = http.post(
        "/v1/chat/completions",
        json={"model": "banking-intents", "messages": [{"role": "user", "content": text}]},
        headers={"x-freehold-subject": f"t-{number:05}"},
    )
    seconds = time.perf_counter() - began
    response.raise_for_status()
    said = json.loads(response.json()["choices"][0]["message"]["content"])["class"]
    return Asked(response.headers["x-freehold-answer"], said, seconds)


def crowd(work: Callable[[int], None], count: int) -> None:
    """Several callers share the questions."""
    todo = iter(range(count))
    lock = threading.Lock()

    def caller() -> None:
        while True:
            with lock:
                number = next(todo, None)
            if number is None:
                return
            work(number)

    callers = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()


def why(stage: Stage, answers: list[str], times: Times) -> None:
    """Over HTTP, as the command line asks it; the first only waits until the records have arrived."""
    headers = {"authorization": f"Bearer {stage.key_file('ada').read_text().strip()}"}
    url = stage.env["FREEHOLD_URL"]
    took = []
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as http:
        for answer in answers:
            began = time.perf_counter()
            http.get(f"/api/why/{answer}").raise_for_status()
            took.append(time.perf_counter() - began)
    times.seconds["why (median)"] = statistics.median(took)


def percentile(values: list[float], share: float) -> float:
    """Of sorted values, nearest rank."""
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def figures(
    times: Times, runs: dict[str, Any], asked: dict[str, Any], entries: int, count: int, stage: Stage
) -> dict[str, Any]:
    card = re.sub(r"\s+", " ", json.dumps(runs["evaluate"]["metrics"]))
    seconds: dict[str, float] = {}
    for name, value in times.seconds.items():
        seconds[name] = round(value, 4)
        if name == "train and evaluate":
            seconds |= {
                f"of it, the {kind} run": runs[kind]["wall_seconds"] for kind in ("train", "evaluate")
            }
    many = times.seconds[f"ask all, {CALLERS} callers"]
    return {
        "what": "BANKING77 through the whole line: linear model over TF-IDF, every answer recorded",
        "at": time.strftime("%Y-%m-%d"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load while measured": round(os.getloadavg()[0], 1),
        },
        "accuracy": {
            "through the gateway": round(asked["accuracy"], 4),
            "asked for": TARGET,
            "test rows": count,
            "card": json.loads(card),
        },
        "seconds": seconds,
        "training": {
            "cpu_seconds": runs["train"]["cpu_seconds"],
            "watt_hours (estimated)": runs["train"]["watt_hours"],
        },
        "ask": {
            "one caller p50 ms": round(1000 * percentile(asked["alone"], 0.50), 2),
            "one caller p95 ms": round(1000 * percentile(asked["alone"], 0.95), 2),
            f"{CALLERS} callers p50 ms": round(1000 * percentile(asked["crowded"], 0.50), 2),
            f"{CALLERS} callers p95 ms": round(1000 * percentile(asked["crowded"], 0.95), 2),
            f"{CALLERS} callers answers/s": round(count / many, 1),
        },
        "ledger entries": entries,
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor()


def write(result: dict[str, Any]) -> None:
    """The figures and their picture."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "line_banking77.json").write_text(json.dumps(result, indent=2) + "\n")
    rows = [Bar(name=n, value=s, said=_seconds(s)) for n, s in result["seconds"].items()]
    accuracy, ask_ = result["accuracy"], result["ask"]
    bars(
        RESULTS / "line_banking77.svg",
        "BANKING77: from two files to governed answers",
        f"accuracy {accuracy['through the gateway']:.3f} on {accuracy['test rows']:,} test rows · "
        f"an answer {ask_['one caller p50 ms']:.1f} ms (p50), {ask_['one caller p95 ms']:.1f} ms (p95) · "
        f"{result['machine']['cores']} cores",
        rows,
    )


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
