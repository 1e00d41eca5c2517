"""An engine without a model: its answer follows from a digest of the row. For tests, and it ships.

It answers in no time, always the same, and passes the conformance suite: whoever builds a gateway or
a journey against it need not train anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Self

from freehold.engines.protocol import Answers, Columns, EngineClosed, ModelUnreadable, Value, check
from freehold.spec.model import About


class FakeEngine:
    """Answers by digest; every class has its share, and one is clearly ahead."""

    def __init__(self, about: About) -> None:
        self._about = about
        self._open = True

    @classmethod
    def load(cls, about: About, files: Mapping[str, bytes]) -> Self:
        """See `protocol.Engine.load`; the files are not looked at."""
        if not about.classes:
            raise ModelUnreadable(why="it names no classes")
        return cls(about)

    def metadata(self) -> About:
        """See `protocol.Engine.metadata`."""
        return self._about

    def infer(self, columns: Columns) -> Answers:
        """See `protocol.Engine.infer`."""
        if not self._open:
            raise EngineClosed(hint="load the model again")
        rows = check(self._about, columns)
        best = [self._place({name: cells[row] for name, cells in columns.items()}) for row in range(rows)]
        return Answers(
            classes=tuple(self._about.classes[place] for place in best),
            probabilities=tuple(self._chances(place) for place in best),
        )

    def _place(self, row: Mapping[str, Value]) -> int:
        said = json.dumps(row, sort_keys=True).encode()
        return int.from_bytes(hashlib.sha256(said).digest()[:4], "big") % len(self._about.classes)

    def _chances(self, best: int) -> tuple[float, ...]:
        """Half for the winner, the other half spread over all."""
        share = 0.5 / len(self._about.classes)
        return tuple(share + 0.5 * (place == best) for place in range(len(self._about.classes)))

    def close(self) -> None:
        """See `protocol.Engine.close`."""
        self._open = False
