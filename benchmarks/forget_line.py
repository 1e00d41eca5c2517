"""What it takes to forget a person: seconds and compute, against training everything again.

Six models of an invented insurer answer: four that learned from its messages, and two from a medical
table. A customer is forgotten, who is in the messages only. Then what it takes to come back from a backup:
one from after, and one from before, out of which the customer is forgotten again before it opens. Beside
that, how long it takes to wrap a million keys under a new epoch key. Needs nothing from outside:

    python benchmarks/forget_line.py

Every figure is measured in this run on this machine and written to benchmarks/results/.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from machine import described
from plot import Bar, bars

from freehold.demo import acts
from freehold.demo.house import clean, home_of
from freehold.demo.props import write_data, write_service
from freehold.demo.stage import Stage
from freehold.demo.tell import Teller
from freehold.store.keyring import Keyring

RESULTS = Path(__file__).parent / "results"
KEYS = 1_000_000
AT_ONCE = 50_000
WHO = "anna-k"
TEXT = """\
service: inbox-{name}
project: claims
owner: tina@example.org
purpose: claims-handling
sensitivity: Confidential
tier: sandbox
regions: [eu]
subject: required
model:
  data: inbox@1
  task: classify
  trainer: linear
  train: {{held_out: 0, seed: 7, solver: {solver}, words: {words}}}
gates:
  quality: {{metric: accuracy, against: inbox-golden@1, lower_bound: 0.2}}
"""
KINDS = (("svm", 1), ("svm", 2), ("logistic", 1), ("logistic", 2))


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="forget-") as scratch:
        rewrapped = rewrap(Path(scratch))
        stage = Stage(Path(scratch) / "house", Teller(sys.stderr))
        stage.build()
        try:
            furnish(stage)
            stage.freehold("admin", "backup", "before.tar", quiet=True)
            line = forget(stage)
            line["restore"] = restore(stage)
        finally:
            clean(stage.folder)
    result = {
        "what": "a person is forgotten: seconds and compute",
        "at": time.strftime("%Y-%m-%d"),
        "machine": described(),
        **line,
        "keyring": rewrapped,
    }
    write(result)
    print(json.dumps(result, indent=2))
    return 0 if all(one["same bytes twice"] for one in result["rebuilt"]) else 1


# -- the keyring ------------------------------------------------------------------------------------


def rewrap(folder: Path) -> dict[str, Any]:
    """A million keys, and one of them destroyed: the rest is wrapped under a new epoch key."""
    Keyring.create_epoch_key(folder / "epoch.key")
    ring = Keyring(folder / "keyring.db", folder / "epoch.key")
    for start in range(0, KEYS, AT_ONCE):
        ring.add({f"subject/claims/{n:08d}": secrets.token_bytes(32) for n in range(start, start + AT_ONCE)})
    began, busy = time.perf_counter(), time.process_time()
    left = ring.destroy(["subject/claims/00000007"])
    found = {
        "keys": left + 1,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - busy, 2),
        "bytes": (folder / "keyring.db").stat().st_size,
    }
    ring.close()
    return found


# -- the line ---------------------------------------------------------------------------------------


def furnish(stage: Stage) -> None:
    """Data, and six models that answer."""
    acts.beginning(stage)
    write_data(stage.folder)
    for file in ("inbox.csv", "inbox-golden.csv"):
        acts.add(stage, file, most=2)
    acts.add_tumours(stage)
    for solver, words in KINDS:
        name = f"{solver}-{words}"
        spec = stage.folder / f"inbox-{name}.yaml"
        spec.write_text(TEXT.format(name=name, solver=solver, words=words))
        stage.freehold("tina", "apply", spec.name, most=2)
    for name in ("tumour-check", "tumour-again"):
        write_service(stage.folder, "tumour-check.yaml", {"service: tumour-check": f"service: {name}"})
        stage.freehold("tina", "apply", "tumour-check.yaml", most=2)


def forget(stage: Stage) -> dict[str, Any]:
    """Forget her; what each step took, and what training everything again would have."""
    before = runs(stage)
    began = time.perf_counter()
    said = stage.freehold(
        "paul", "forget", WHO, "--project", "claims", "--request", "DSR-1", "--yes", "--json"
    )
    seconds = time.perf_counter() - began
    journey = json.loads(said.output)["journey"]
    steps = {s["name"]: s for s in journey["steps"]}
    after = [run for run in runs(stage) if run["run"] not in {one["run"] for one in before}]
    everything = compute(before, "train", "evaluate")
    needed, proved = compute(after, "train", "evaluate"), compute(after, "replay")
    return {
        "models": {"that answer": len(KINDS) + 2, "that learned from the person": len(KINDS)},
        "rows": steps["remove"]["result"]["rows"],
        "seconds": round(seconds, 2),
        "seconds of steps that were not done at the first look": waited(steps),
        "compute, cpu seconds": {
            "everything trained and measured again": everything,
            "rebuilt: trained and measured": needed,
            "proof: trained once more": proved,
        },
        "share of everything": {
            "rebuilt": round(needed / everything, 3),
            "with its proof": round((needed + proved) / everything, 3),
        },
        "rebuilt": [
            {"model": one["rebuilt"], "same bytes twice": one["same"], "gates passed": one["passed"]}
            for one in steps["rebuild"]["result"]["rebuilds"]
        ],
    }


def restore(stage: Stage) -> dict[str, Any]:
    """Back from a backup of before the forgetting, and from one of after it, with the keys of now."""
    began = time.perf_counter()
    stage.freehold("admin", "backup", "after.tar", quiet=True)
    found: dict[str, Any] = {"backup, seconds": round(time.perf_counter() - began, 2)}
    control, keys = home_of(stage.folder) / "control", stage.folder / "safe"
    keys.mkdir()
    for name in ("epoch.key", "keyring.db"):
        shutil.copy(control / name, keys)
    shutil.copytree(control / "forgotten", keys / "forgotten")
    for name in ("before", "after"):
        began = time.perf_counter()
        words = ("restore", f"{name}.tar", "--keys", "safe", "--home", f"again-{name}", "--json")
        said = stage.freehold("admin", *words, quiet=True).json
        found[f"of {name} the forgetting"] = {
            "seconds": round(time.perf_counter() - began, 2),
            "bytes": (stage.folder / f"{name}.tar").stat().st_size,
            "entries verified": said["entries"],
            "forgotten again": said["forgotten"],
        }
    return found


def runs(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.freehold(
        "ada", "runs", "list", "--limit", "100", "--json", quiet=True
    ).json
    return found


def compute(found: Sequence[dict[str, Any]], *kinds: str) -> float:
    spent: float = sum(run["cpu_seconds"] for run in found if run["kind"] in kinds)
    return round(spent, 2)


def waited(steps: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """From the first look at a step to its end: of what is done at the first look nothing is known."""
    times = ((name, step["started_at"], step["ended_at"]) for name, step in steps.items())
    return {
        name: round((end - began) / 1_000_000, 3)
        for name, began, end in times
        if began and end and end > began
    }


def write(result: dict[str, Any]) -> None:
    """The figures and their picture."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "forget_line.json").write_text(json.dumps(result, indent=2) + "\n")
    spent, ring = result["compute, cpu seconds"], result["keyring"]
    rows = [
        Bar(name=name, value=value, said=f"{value:.1f} s CPU", peer=name.startswith("everything"))
        for name, value in spent.items()
    ]
    rows.append(
        Bar(
            name="a million keys wrapped anew", value=ring["cpu_seconds"], said=f"{ring['cpu_seconds']} s CPU"
        )
    )
    models, back = result["models"], result["restore"]["of before the forgetting"]["seconds"]
    bars(
        RESULTS / "forget_line.svg",
        "A person is forgotten",
        f"{models['that learned from the person']} of {models['that answer']} models learned from them · "
        f"{result['seconds']:.0f} s until certified · {back:.0f} s to restore a backup, without them",
        rows,
    )


if __name__ == "__main__":
    sys.exit(main())
