"""Build the injection gate that ships.

    python tools/injection/build.py --data FOLDER --personas prompts.csv

Fits on every source in `corpus.SOURCES`, sets the shipped thresholds on five honest pools that it does
not learn from, and writes `freehold/screen/injection.{json,weights}`. The same sources give the same
bytes on the same releases of numpy and scikit-learn. `benchmarks/screens.py` says how good the recipe is
on attacks that it has not seen.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import corpus
from fit import fit, short_attacks, short_honest

from freehold.screen.injection import Gate

PERSONA_WEIGHT = 8
"""How often each `act as` prompt is learned from: there are few, and they are the hard ones."""


@dataclass(frozen=True, slots=True)
class Material:
    """Everything to learn from and to measure by."""

    wild: Sequence[str]
    clusters: Sequence[int]
    honest: Sequence[str]
    pools: Mapping[str, Sequence[str]]


def material(data: Path, personas: Path) -> Material:
    """Read every source. Near-twins of a jailbreak are left out of the `act as` prompts, and near-twins of
    what is learned from out of those to test by.
    """
    wild = corpus.wild(data)
    learned, tested = corpus.personas(personas)
    clusters = corpus.clusters([*wild, *learned, *tested])
    jailbreaks = set(clusters[: len(wild)])
    known = set(clusters[: -len(tested)])
    learned_on = [
        text for text, c in zip(learned, clusters[len(wild) :], strict=False) if c not in jailbreaks
    ]
    tested_on = [text for text, c in zip(tested, clusters[-len(tested) :], strict=True) if c not in known]
    honest = [*corpus.honest(data), *short_honest(), *(learned_on * PERSONA_WEIGHT)]
    return Material(wild, clusters[: len(wild)], honest, corpus.pools(data, tested_on))


def threshold(gate: Gate, pools: Mapping[str, Sequence[str]], share: float = 0.01) -> float:
    """The lowest score at which at most `share` of every pool is refused."""
    lowest = 0.0
    for texts in pools.values():
        scores = sorted(map(gate.score, texts), reverse=True)
        lowest = max(lowest, math.nextafter(scores[int(share * len(scores))], 2.0))
    return lowest


def build(given: Material) -> Gate:
    """The gate with its thresholds, in the steps in which a service file's scores travel."""
    gate = fit([*given.wild, *short_attacks()], given.honest)
    refuse = threshold(gate, given.pools)
    flag = threshold(gate, {name: texts for name, texts in given.pools.items() if name != "personas"})
    return replace(gate, refuse=_up(refuse), flag=_up(min(flag, refuse)))


def _up(score: float) -> float:
    return math.ceil(score * 10_000) / 10_000


def main() -> None:
    """Build and write."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--personas", type=Path, required=True)
    asked = words.parse_args()
    gate = build(material(asked.data, asked.personas))
    folder = Path(__file__).parents[2] / "freehold" / "screen"
    (folder / "injection.weights").write_bytes(zlib.compress(gate.weights, 9))
    about = "; ".join(corpus.SOURCES)
    said = {"scale": gate.scale, "bias": gate.bias, "flag": gate.flag, "refuse": gate.refuse, "about": about}
    (folder / "injection.json").write_text(json.dumps(said, indent=1) + "\n")
    size = len(zlib.compress(gate.weights, 9))
    print(f"{size:,} bytes of weights; flag {gate.flag}, refuse {gate.refuse}")


if __name__ == "__main__":
    main()
