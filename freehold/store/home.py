"""The one folder everything lives in, and the two zones inside it.

::

    freehold.d/
      control/                 only the control process reads here
        installation.json      written last by the first run: it is complete
        freehold.db            rows            keyring.db   wrapped keys
        epoch.key              wraps the keyring; in no backup
        ledger.key             signs checkpoints
        release.key            signs manifests and snapshots
        spool.hpke             opens what gateways sealed to control
        gateway.hpke.pub       control seals secrets to the gateway with it
        blobs/  ledger/        sealed objects; tiles and checkpoint
      serving/                 gateway and engines are confined to here
        border.key             the key the gateway shows at control's border
        gateway.hpke           opens secrets sealed to this gateway
        release.pub            pinned at enrolment; signs everything that crosses
        spool/  snapshot/  models/  run/
        replays/               answers kept for repeated requests, sealed by what the caller brings
        spend/                 what each service has spent today
      worker/                  scratch of jobs, and the worker's border key
      log/
"""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from freehold.errors import Unavailable


class FolderUnusable(Unavailable):
    """the folder `{path}` cannot be used"""


class DiskFull(Unavailable):
    """the disk is full"""


class DatabaseUnusable(Unavailable):
    """the database cannot be used"""


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are. Nothing else in the code spells a path below the home folder."""

    root: Path

    @classmethod
    def find(cls, given: str | None = None) -> Home:
        """`given`, else `FREEHOLD_HOME`, else `./freehold.d`."""
        return cls(Path(given or os.environ.get("FREEHOLD_HOME") or "freehold.d").resolve())

    @property
    def control(self) -> Path:
        return self.root / "control"

    @property
    def serving(self) -> Path:
        return self.root / "serving"

    @property
    def worker(self) -> Path:
        return self.root / "worker"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def database(self) -> Path:
        return self.control / "freehold.db"

    @property
    def keyring(self) -> Path:
        return self.control / "keyring.db"

    @property
    def blobs(self) -> Path:
        return self.control / "blobs"

    @property
    def ledger(self) -> Path:
        return self.control / "ledger"

    @property
    def spool(self) -> Path:
        return self.serving / "spool"

    @property
    def snapshot(self) -> Path:
        return self.serving / "snapshot"

    @property
    def models(self) -> Path:
        return self.serving / "models"

    @property
    def bases(self) -> Path:
        """Base models that served models were tuned from."""
        return self.serving / "bases"

    @property
    def replays(self) -> Path:
        return self.serving / "replays"

    @property
    def spend(self) -> Path:
        return self.serving / "spend"

    @property
    def run(self) -> Path:
        """Unix sockets of engines; see `socket_address`."""
        return self.serving / "run"

    def addresses(self, only: str | None = None) -> Path:
        """Where the parts listen, written by the supervisor of all, or of one part alone."""
        return self.control / (f"addresses-{only}.json" if only else "addresses.json")

    def processes(self, only: str | None = None) -> Path:
        """What that supervisor started, and how it is."""
        return self.control / (f"processes-{only}.json" if only else "processes.json")

    def written_beside(self) -> list[Path]:
        """Both, of the supervisors of controls beside the first one: they are named by their processes."""
        return [
            path for kind in ("addresses", "processes") for path in self.control.glob(f"{kind}-*-[0-9]*.json")
        ]

    @property
    def config(self) -> Path:
        return self.root / "freehold.yaml"

    @property
    def configured(self) -> Path:
        """Where another freehold.yaml lies, when the installation was started with one."""
        return self.control / "configured"

    @property
    def installation(self) -> Path:
        """The mark of a complete first run."""
        return self.control / "installation.json"

    @property
    def beginning(self) -> Path:
        """The mark of a first run under way."""
        return self.control / "first-run.begun"

    @property
    def epoch_key(self) -> Path:
        return self.control / "epoch.key"

    @property
    def ledger_key(self) -> Path:
        return self.control / "ledger.key"

    @property
    def release_key(self) -> Path:
        return self.control / "release.key"

    @property
    def release_pub(self) -> Path:
        return self.serving / "release.pub"

    @property
    def spool_key(self) -> Path:
        return self.control / "spool.hpke"

    @property
    def gateway_key(self) -> Path:
        return self.serving / "gateway.hpke"

    @property
    def gateway_pub(self) -> Path:
        return self.control / "gateway.hpke.pub"

    @property
    def gateway_border(self) -> Path:
        return self.serving / "border.key"

    @property
    def worker_border(self) -> Path:
        return self.worker / "border.key"

    def create(self) -> None:
        """Make the folders, readable by the owner alone, their names durable.

        Raises FolderUnusable when the place cannot be written.
        """
        made = [path for path in (self.root, *self.root.parents) if not path.exists()]
        try:
            for folder in (
                self.root,
                self.control,
                self.blobs,
                self.ledger,
                self.serving,
                self.spool,
                self.snapshot,
                self.models,
                self.bases,
                self.replays,
                self.spend,
                self.run,
                self.worker,
                self.log,
            ):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.control / ".probe"
            probe.write_bytes(b"x")
            probe.unlink()
            for folder in (self.control, self.serving, self.root, *(path.parent for path in made)):
                sync_folder(folder)
        except OSError as error:
            raise FolderUnusable(
                path=self.root,
                why=error.strerror or str(error),
                hint="choose another with FREEHOLD_HOME, or make it yours with `chown`",
            ) from error


def socket_address(path: Path) -> str:
    """How to spell a socket's path for the kernel, which takes 107 bytes at most.

    From the folder it lies in the name alone is enough, so parts that meet at sockets work in
    `Home.run`: then a home folder may lie as deep as it likes.
    """
    return min(str(path), os.path.relpath(path), key=len)


def write_atomically(path: Path, data: bytes, mode: int = 0o600, *, sync: bool = True) -> None:
    """Temp file → fsync → rename → fsync of the folder: after a crash the old or the new, never half.

    Without `sync` a killed process still leaves the old or the new, but a power cut may take it: only
    for what can be made again. Raises DiskFull, or the OSError it met; the old file stays in any case.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(why=f"`{path.name}` was not written", hint="free some space") from error
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
