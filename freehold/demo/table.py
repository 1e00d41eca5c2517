"""A real medical table: 569 tumours, from scikit-learn's own package (Wisconsin, 1995).

Who the patients were is not in it, so each row gets an invented identifier and a consent.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

MEASURES = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "symmetry")


def write_csv(path: Path, seed: int = 1995) -> int:
    """Write the table with a head line; return how many rows."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    rng = random.Random(seed)  # noqa: S311  (invented identifiers need no secrets)
    names = [str(name).replace(" ", "_") for name in found.feature_names]
    chosen = [i for i, name in enumerate(names) if name.endswith(MEASURES)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "consent", *(names[i] for i in chosen), "finding"])
        for number, (row, target) in enumerate(zip(found.data, found.target, strict=True), 1):
            consent = "yes" if rng.random() > 0.03 else "no"
            values = [f"{row[i]:.6g}" for i in chosen]
            writer.writerow([f"patient-{number:04}", consent, *values, found.target_names[target]])
    return len(found.data)
