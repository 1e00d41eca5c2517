"""Which files would run code when they are opened. We mark them and never open one.

Everything an MLflow client brings is foreign: it is kept sealed and handed back, nothing more. The mark
tells whoever takes it back what it is. It errs to the careful side: a suffix is enough, and so are the
first bytes.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

SUFFIXES = frozenset(
    {
        *(".pkl", ".pickle", ".p", ".joblib", ".dill", ".cloudpickle", ".sav", ".dat", ".npy", ".skops"),
        *(".pt", ".pth", ".ckpt", ".bin", ".mar", ".h5", ".hdf5", ".keras", ".model", ".py", ".jar", ".so"),
    }
)

_PICKLE = re.compile(rb"^\x80[\x02-\x05]")
_OLD_PICKLE = re.compile(rb"^(\(dp|\(lp|c[a-z_]+\n[A-Za-z_]+\n)")  # protocol 0, as text
_ZIPPED_PICKLE = re.compile(rb"data\.pkl|\.pickle|\.pkl")


def pickled(path: str, head: bytes) -> bool:
    """Whether opening the file, whose first 512 bytes are `head`, may run code that it brings along."""
    if PurePosixPath(path.lower()).suffix in SUFFIXES:
        return True
    if _PICKLE.match(head) or _OLD_PICKLE.match(head):
        return True
    return head.startswith(b"PK\x03\x04") and _ZIPPED_PICKLE.search(head) is not None
