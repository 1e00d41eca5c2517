"""The border towards the serving zone: base models of what is released, file by file.

Nothing is signed here: a base is known by the digest of its files, which the signed manifest of every
model that was tuned from it names.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.release import files
from freehold.store.pieces import sent_once


def router(parts: Parts) -> APIRouter:
    """`/border/bases/{digest}` and its files."""
    routes, gate = APIRouter(include_in_schema=False), Gate(parts)

    @routes.get("/border/bases/{digest}")
    def base(digest: str, request: Request) -> dict[str, object]:
        """The files of a base that a running release needs."""
        gate.may(gate.machine(request), "model:fetch")
        found = files.open_base_in_use(parts.ground, digest)
        return {"files": [asdict(entry) for entry in found.files]}

    @routes.get("/border/bases/{digest}/files/{path:path}")
    def file(digest: str, path: str, request: Request) -> StreamingResponse:
        """One of them, checked before its first byte leaves."""
        gate.may(gate.machine(request), "model:fetch")
        found = files.open_base_in_use(parts.ground, digest)
        folder = tempfile.TemporaryDirectory(prefix="base-", dir=parts.home.control)
        try:
            found.copy(path, Path(folder.name) / "file")
        except BaseException:
            folder.cleanup()
            raise
        return StreamingResponse(
            sent_once(Path(folder.name) / "file", folder), media_type="application/octet-stream"
        )

    return routes
