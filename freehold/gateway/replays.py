"""The same request twice is answered once: `Idempotency-Key`, over restarts and between processes.

One file per key. Its lock says that the first request is under way (the kernel drops it when the
process dies); its content is the first answer, sealed by a key derived from the caller's own API key
and `Idempotency-Key`: this gateway cannot open it either until the caller comes back (one who comes with a
token or a certificate has no such key, and theirs derives from the project's lookup key). It is written
before the answer's last byte leaves and survives a killed process. It is not synced: a power cut may
forget it, and then the request is answered anew.

A file is as old as its request (its modification time), so that what was under way when somebody was
forgotten goes with what had been kept: by the sweep of any gateway, or at its end by its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import msgspec

from freehold.errors import BadInput, Conflict, Unavailable
from freehold.gateway.asked import Asked
from freehold.gateway.reply import Header, Kept, Piece
from freehold.store.sealed import SealBroken, derive, seal, unseal

_log = logging.getLogger("freehold.gateway")

KEEP = 24 * 3600 * 1_000_000
"""Microseconds an answer is kept."""
_PASSING = (b"x-ratelimit-", b"x-freehold-cache")
"""Headers that are of one moment."""
MOST_FILES = 100_000
MOST_BYTES = 2 << 30


class StillUnderWay(Conflict):
    """the first request with this `Idempotency-Key` is still under way"""

    recorded = False  # the first one is
    retry_after = 1


class OtherRequest(BadInput):
    """this `Idempotency-Key` was used for another request"""

    status = 422


class ReplaysUnusable(Unavailable):
    """answers cannot be kept for repetition, so none is given twice"""


class Once:
    """One idempotent request under way; `earlier` is the answer when it was given before."""

    def __init__(self, file: int, seal_key: bytes, name: str, asked: Asked, since: int) -> None:
        self._file, self._key, self.name, self._since = file, seal_key, name, since
        self._asked = asked
        self.earlier = self._earlier()

    def _earlier(self) -> Kept | None:
        sealed = os.pread(self._file, os.fstat(self._file).st_size, 0)
        if not sealed:
            return None
        try:
            kept = msgspec.msgpack.decode(unseal(self._key, sealed, self.name.encode()), type=Kept)
        except (SealBroken, msgspec.DecodeError):
            return None  # half written by a process that died: as if it had never been
        if kept.at + KEEP < self._asked.at or kept.at <= self._since:
            return None
        if not hmac.compare_digest(kept.request, _digest(self._asked)):
            raise OtherRequest(
                why="its body, path, purpose or subject differs from the first one",
                hint="send a new key with a new request",
            )
        return kept

    def keep(self, headers: list[Header], last: Piece, body: bytes) -> None:
        """Write the answer down, before its last piece leaves.

        An answer that is recorded and paid leaves even when this fails; the log says so.
        """
        lasting = [pair for pair in headers if not pair[0].startswith(_PASSING)]
        kept = Kept(self._asked.at, _digest(self._asked), [*lasting, *last.headers], last.kind, body)
        data = seal(self._key, msgspec.msgpack.encode(kept), self.name.encode())
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, data, 0)
            os.utime(self._file, ns=(self._asked.at * 1000, self._asked.at * 1000))
        except OSError as error:
            _log.error("an answer cannot be repeated: the disk says %s", error.strerror)

    def close(self, folder: Path, forgotten_at: int) -> None:
        """Let the key go; one without an answer, or from before `forgotten_at`, leaves nothing behind."""
        status = os.fstat(self._file)
        if status.st_size == 0 or status.st_mtime_ns <= forgotten_at * 1000:
            (folder / self.name).unlink(missing_ok=True)
        os.close(self._file)


class Replays:
    """The folder of kept answers. `forgotten_at` says when somebody was last forgotten."""

    def __init__(self, folder: Path, forgotten_at: Callable[[], int] = lambda: 0) -> None:
        self._folder, self._forgotten_at = folder, forgotten_at
        self.trouble = ""
        """Why what is over could not be taken away; empty when it could."""

    def once(self, key: str, asked: Asked, since: int = 0) -> AbstractContextManager[Once | None]:
        """Hold the request's `Idempotency-Key` while the block runs; None when there is none.

        `key` is the caller's secret, such as their whole API key. What was kept up to `since` is given to
        nobody again. Raises StillUnderWay, OtherRequest.
        """
        word = asked.heads.idempotency
        return self._once(key, word, asked, since) if word is not None else nullcontext()

    @contextmanager
    def _once(self, key: str, word: str, asked: Asked, since: int) -> Iterator[Once]:
        secret = hashlib.sha256(f"{key}\n{word}".encode()).digest()
        once = self._open(secret, asked, since)
        try:
            yield once
        finally:
            once.close(self._folder, self._forgotten_at())

    def _open(self, secret: bytes, asked: Asked, since: int) -> Once:
        name = derive(secret, "name").hex()[:40]
        try:
            file = self._lock(name)
            try:
                return Once(file, derive(secret, "seal"), name, asked, since)
            except BaseException:
                os.close(file)
                raise
        except OSError as error:
            raise ReplaysUnusable(why=f"the disk says: {error.strerror}") from error

    def _lock(self, name: str) -> int:
        path = self._folder / name
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), os.stat(path)):
                    return file
            except BlockingIOError:
                os.close(file)
                raise StillUnderWay(hint="ask again in a moment") from None
            except FileNotFoundError:
                pass
            os.close(file)  # swept away between opening and locking: open the new one

    def sweep(self, at: int, forgotten_at: int = 0) -> int:
        """Remove what is older than a day, then the oldest beyond the bounds; returns how many.

        When somebody is forgotten everything kept until then goes: whom a kept answer is about, only the
        caller could say. Raises ReplaysUnusable when the disk refuses: then it may all be there.
        """
        try:
            gone = self._sweep(at, forgotten_at)
        except OSError as error:
            self.trouble = f"the disk says: {error.strerror}"
            raise ReplaysUnusable(why=self.trouble) from error
        self.trouble = ""
        return gone

    def _sweep(self, at: int, forgotten_at: int) -> int:
        found = sorted(self._listed(), reverse=True)  # newest first
        total, gone = 0, 0
        for n, (modified, size, path) in enumerate(found):
            total += size
            if modified * 1_000_000 < max(at - KEEP, forgotten_at) or n >= MOST_FILES or total > MOST_BYTES:
                gone += self._remove(path)
        return gone

    def _listed(self) -> Iterator[tuple[float, int, str]]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    yield status.st_mtime, status.st_size, entry.path

    def _remove(self, path: str) -> int:
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return 0  # every gateway of the folder sweeps, at the same moment when somebody is forgotten
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        except (BlockingIOError, FileNotFoundError):
            return 0  # under way, or gone already
        finally:
            os.close(file)
        return 1


def _digest(asked: Asked) -> bytes:
    parts = (asked.path, asked.said.purpose or "", asked.said.person or "")
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + asked.body).digest()
