"""`python -m freehold.doctor`: prove every control on this machine and print how each did, as JSON."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict


def main() -> None:
    """Prove, print, leave with 0: that a control failed is told, not crashed about."""
    logging.disable()  # what the proofs provoke is no news
    from freehold.doctor.proofs import prove_all

    json.dump([asdict(proof) for proof in prove_all()], sys.stdout)


if __name__ == "__main__":
    main()
