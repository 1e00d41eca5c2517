"""How good and how fast the screens are, and what they miss.

    FREEHOLD_TEST_DATA=… python benchmarks/screens.py [--personas prompts.csv] [--presidio PYTHON]

Personal data on Microsoft's two synthetic sets, templates kept apart; secrets on 25 kinds made here, with
look-alikes; streams cut at every place; the injection gate with near-duplicates kept on one side. With
`--presidio` the Python of an environment that has presidio-analyzer is asked the same texts. Every figure
is measured in this run on this machine and written to benchmarks/results/, what is missed as well.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "injection"))
import screens_phones
import screens_secrets
import screens_streams
import screens_text
from machine import described
from plot import Bar, bars

RESULTS = Path(__file__).parent / "results"
GOALS = {
    "F2": {
        "payment card": 0.99,
        "iban": 0.99,
        "e-mail": 0.99,
        "national id": 0.99,
        "ip address": 0.99,
        "url": 0.99,
        "phone": 0.95,
    },
    "secrets found": 0.99,
    "look-alikes taken for one": 0.01,
    "microseconds a kilobyte of ordinary text": 100,
    "normalizer, microseconds a kilobyte": 400,
}


def main() -> None:
    """Measure, print, write."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--personas", type=Path, help="prompts.csv of f/awesome-chatgpt-prompts (CC0)")
    words.add_argument("--presidio", help="a Python that has presidio-analyzer")
    words.add_argument("--results", type=Path, default=RESULTS)
    asked = words.parse_args()
    data = Path(os.environ.get("FREEHOLD_TEST_DATA", ""))
    if not (data / "3_health_pii").is_dir():
        print("SKIPPED: no 3_health_pii in the folder that FREEHOLD_TEST_DATA names", file=sys.stderr)
        return
    found = measured(data, asked.personas, asked.presidio)
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "screens.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    draw(found, asked.results)
    print(json.dumps(found, indent=1, ensure_ascii=False))


def measured(data: Path, personas: Path | None, presidio: str | None) -> dict[str, Any]:
    """Everything that there is data for."""
    found: dict[str, Any] = {
        "machine": described(),
        "day": dt.datetime.now(dt.UTC).date().isoformat(),
        "conditions": "one process, CPU time of it; intervals are of 95 %",
        "goals": GOALS,
        "personal data": screens_text.personal(data),
        "telephone numbers in other sentences": screens_phones.measured(data),
    }
    if presidio:
        found["presidio"] = screens_text.presidio(data, presidio)
    found["false alarms"] = screens_text.false_alarms(data)
    found["speed"] = screens_text.speed(data)
    found["normalizer on disguised text, microseconds a kilobyte"] = screens_text.disguised(data)
    found["secrets"] = screens_secrets.measured()
    found["streams"] = screens_streams.measured(data)
    if personas:
        import screens_injection  # needs scikit-learn

        found["injection"] = {
            "personas, SHA-256": hashlib.sha256(personas.read_bytes()).hexdigest(),
            **screens_injection.measured(data, personas),
        }
    return found


def draw(found: dict[str, Any], folder: Path) -> None:
    """One picture for rules, one for the gate."""
    peers = found.get("presidio", {}).get("kinds", {})
    rows = []
    for kind, said in found["personal data"]["kinds"].items():
        rows.append(Bar(name=kind, value=said["f2"], said=f"{said['f2']:.3f} of {said['n']}"))
        if kind in peers:
            f2 = peers[kind]["f2"]
            rows.append(Bar(name=f"{kind}, Presidio", value=f2, said=f"{f2:.3f}", peer=True))
    bars(folder / "screens_rules.svg", "Personal data by rule", "F2, templates kept apart", rows)
    if "injection" in found:
        draw_gate(found["injection"], folder)


def draw_gate(gate: dict[str, Any], folder: Path) -> None:
    """Attacks, and the same ones disguised."""
    shown = [
        Bar(
            name=name,
            value=100 * said["share"],
            said=f"{said['share']:.0%} ({said['low']:.0%} to {said['high']:.0%})",
        )
        for name, said in {**gate["attacks"], **gate["disguised"]}.items()
    ]
    bars(
        folder / "screens_injection.svg",
        "Injection gate: attacks refused",
        "at 1 % false blocks or less in each of five honest pools; 95 % intervals",
        shown,
    )


if __name__ == "__main__":
    main()
