"""A receipt: that one entry stands in the ledger, provable by itself, years later, without us.

The text is a C2SP tlog-proof. Its optional `extra` line carries the entry's own bytes, so that one
file says what is proved and proves it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from freehold.errors import Tampered
from freehold.spec.merkle import leaf_hash, root_from_inclusion
from freehold.spec.notes import Checkpoint, VerifierKey, read_checkpoint

HEAD = "c2sp.org/tlog-proof@v1"


class ReceiptWrong(Tampered):
    """the receipt does not hold"""


_AGAIN = "`freehold receipt ANSWER` gets it again, where the answer is known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An entry, its place, and the hashes from there to a signed root."""

    entry: bytes
    """Canonical JSON, as it was hashed."""
    ix: int
    proof: tuple[bytes, ...]
    checkpoint: str
    """The signed note."""

    def text(self) -> str:
        """As the standard writes it; keep it in a file ending in `.tlog-proof`."""
        lines = [HEAD, f"extra {_coded(self.entry)}", f"index {self.ix}", *map(_coded, self.proof)]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> Receipt:
        """Read one. Raises ReceiptWrong when it has not the shape."""
        head, _, checkpoint = text.partition("\n\n")
        try:
            first, extra, index, *hashes = head.split("\n")
            if first != HEAD or not extra.startswith("extra ") or not index.startswith("index "):
                raise ValueError("it begins otherwise")
            receipt = cls(
                entry=base64.b64decode(extra[6:], validate=True),
                ix=int(index[6:]),
                proof=tuple(base64.b64decode(line, validate=True) for line in hashes),
                checkpoint=checkpoint,
            )
            if receipt.text() != text:
                raise ValueError("it is spelled otherwise")
            return receipt
        except (ValueError, binascii.Error) as error:
            raise ReceiptWrong(
                why="it has not the shape of a tlog-proof with an entry in it", hint=_AGAIN
            ) from error

    def check(self, key: VerifierKey) -> tuple[Checkpoint, dict[str, Any]]:
        """The checkpoint it leads to, and the entry as data.

        Raises NoteWrong for the signature, ProofWrong or ReceiptWrong for the path to the root.
        """
        checkpoint = read_checkpoint(self.checkpoint, key)
        reached = root_from_inclusion(self.ix, checkpoint.size, leaf_hash(self.entry), self.proof)
        if reached != checkpoint.root:
            raise ReceiptWrong(why="its hashes lead to another root than the one signed", hint=_AGAIN)
        body: dict[str, Any] = json.loads(self.entry)
        return checkpoint, body


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode()
