"""Persons as rows name them, and what they are called everywhere else: a keyed hash."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from freehold.store.keyring import subject_hmac

HMAC = pa.binary(32)


def hmacs(texts: Any, lookup: bytes) -> Any:
    """The person in each cell of a subject column as HMAC, null where a cell names nobody.

    Every different name is hashed once.
    """
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    coded = whole.dictionary_encode()
    known = [subject_hmac(lookup, name) if name.strip() else None for name in coded.dictionary.to_pylist()]
    return pa.array(known, HMAC).take(coded.indices)
