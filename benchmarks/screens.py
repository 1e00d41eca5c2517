"""How good and how fast the screens are, and what they miss.

    FREEHOLD_TEST_DATA=… python benchmarks/screens.py [--personas prompts.csv] [--presidio PYTHON]

Personal data on Microsoft's two synthetic sets, templates kept apart; secrets on 25 kinds made here, with
look-alikes; streams cut at every place; the injection gate with near-duplicates kept on one side. With
`--presidio` the Python of an environment that has presidio-analyzer is asked the same texts. Every figure
is measured in this run on this machine and written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "injection"))
import screens_injection
import screens_secrets
import screens_text
from plot import Bar, bars

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print, write."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--personas", type=Path, help="prompts.csv of awesome-chatgpt-prompts (CC0)")
    words.add_argument("--presidio", help="a Python that has presidio-analyzer")
    words.add_argument("--results", type=Path, default=RESULTS)
    asked = words.parse_args()
    data = Path(os.environ["FREEHOLD_TEST_DATA"])
    found: dict[str, Any] = {"machine": machine()}
    found["personal data"] = screens_text.personal(data)
    if asked.presidio:
        found["presidio"] = screens_text.presidio(data, asked.presidio)
    found["false alarms"] = screens_text.false_alarms(data)
    found["speed"] = screens_text.speed(data)
    found["streams"] = screens_text.streams(data)
    found["secrets"] = screens_secrets.measured()
    if asked.personas:
        found["injection"] = screens_injection.measured(data, asked.personas)
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "screens.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    draw(found, asked.results)
    print(json.dumps(found, indent=1, ensure_ascii=False))


def machine() -> dict[str, object]:
    """What it ran on."""
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2),
    }


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
        gate = found["injection"]
        shown = [
            Bar(
                name=name,
                value=100 * said["recall"],
                said=f"{said['recall']:.0%} ({said['low']:.0%} to {said['high']:.0%})",
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
