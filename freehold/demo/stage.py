"""The stage: a folder, a running Freehold in it, and people with keys who type commands."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from freehold.demo.house import MARK, clean_env, home_of, start
from freehold.demo.tell import Teller
from freehold.errors import BadInput, Conflict, Failure
from freehold.store.home import FolderUnusable, write_atomically

PATIENCE = 600.0
"""Seconds that one command may take; the longest is a tuning, on a busy machine."""
SCRIPTS = ("ask.py", "ask_table.py", "crowd.py")


class FolderThere(Conflict):
    """`{path}` is there already"""


class WentOtherwise(Failure):
    """`{command}` ended with {status}, not with {expected}"""


class ClientMissing(BadInput):
    """the demo asks with the stock `openai` client, which is not installed"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command."""

    status: int
    output: str

    @property
    def json(self) -> Any:
        """Of a command with `--json`."""
        return json.loads(self.output)


class Stage:
    """Everything the demo does goes through commands and HTTP, as a user's own doing would."""

    def __init__(self, folder: Path, tell: Teller) -> None:
        self.folder = folder
        self.tell = tell
        self.env: dict[str, str] = {}

    # -- before and after --------------------------------------------------------------------------

    def build(self, config: Path | None = None) -> None:
        """Make the folder, with `config` as its freehold.yaml.

        Raises FolderThere, FolderUnusable, ClientMissing.
        """
        if self.folder.exists():
            raise FolderThere(
                path=self.folder.name,
                why="the demo never writes over an earlier one",
                hint="`make clean-demo`, or `freehold demo clean`, stops and removes it",
            )
        _need_client()
        try:
            (self.folder / "keys").mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise FolderUnusable(
                path=self.folder,
                why=error.strerror or str(error),
                hint="name another with `--folder`, or go to a folder of yours",
            ) from error
        (self.folder / MARK).touch()
        for script in SCRIPTS:
            source = files("freehold.demo.scripts").joinpath(script)
            (self.folder / script).write_bytes(source.read_bytes())
        if config is not None:
            home_of(self.folder).mkdir(mode=0o700)
            write_atomically(home_of(self.folder) / "freehold.yaml", config.read_bytes())

    def begin(self) -> str:
        """Start Freehold on free ports; return its greeting."""
        addresses = start(self.folder)
        self.env = {
            **clean_env(),
            "FREEHOLD_DEMO": str(self.folder),
            "FREEHOLD_HOME": str(home_of(self.folder)),
            "FREEHOLD_URL": addresses["control"],
            "FREEHOLD_GATEWAY": addresses["gateway"],
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        # from there on it is for those in whose terminal it runs
        return (self.folder / "up.log").read_text().partition("\n  Ctrl-C")[0]

    def leave_env(self, **more: str) -> None:
        """Write `env`, to be read by a shell: where everything is, and the keys of an onlooker."""
        wanted = {name: value for name, value in self.env.items() if name not in os.environ}
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in {**wanted, **more}.items()]
        here = shlex.quote(str(Path(sys.executable).parent))
        path = self.folder / "env"
        path.touch(mode=0o600)
        path.write_text("".join(lines) + f"export PATH={here}:$PATH\n")

    # -- people type -------------------------------------------------------------------------------

    def key_file(self, who: str) -> Path:
        """Where somebody's key lies, for them alone."""
        return self.folder / "keys" / f"{who}.key"

    def freehold(
        self,
        who: str,
        *words: str,
        expect: int = 0,
        quiet: bool = False,
        most: int = 24,
        top: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Ran:
        """Somebody types `freehold …`; shows it and what came back, unless quiet.

        Of more than `most` lines the middle is left out, or with `top` the end; with `most` 0 every line is
        shown as it comes. Raises WentOtherwise when it ends with another exit code.
        """
        if not quiet:
            self.tell.typed(who, ["freehold", *words])
        key = self.key_file(who)
        mine = {"FREEHOLD_KEY": key.read_text().strip()} if key.exists() else {}
        seen = self.tell.shown if most == 0 and not quiet else None
        ran = self._run([sys.executable, "-P", "-m", "freehold", *words], {**mine, **(env or {})}, seen)
        if not quiet and most:
            self.tell.shown(ran.output, most, top=top)
        if ran.status != expect:
            raise WentOtherwise(
                command=shlex.join(["freehold", *words]),
                status=ran.status,
                expected=expect,
                why=ran.output.strip()[-600:],
                hint=f"what the processes said lies in {home_of(self.folder) / 'log'}",
            )
        return ran

    def python(self, script: str, env: Mapping[str, str]) -> str:
        """Run one of the scripts in the folder, showing what it says."""
        self.tell.typed("anyone", ["python", f"{self.folder.name}/{script}"])
        ran = self._run([sys.executable, str(self.folder / script)], env)
        self.tell.shown(ran.output)
        if ran.status:
            raise WentOtherwise(command=script, status=ran.status, expected=0, why=ran.output[-600:])
        return ran.output

    def engine(self, model: str, expect: int) -> None:
        """Somebody starts an engine by hand on a model's folder. Raises WentOtherwise."""
        zone = f"{home_of(self.folder).name}/serving"
        words = ["--model", f"{model}/files", "--envelope", f"{model}/envelope.json"]
        words += ["--evidence", f"{model}/evidence.json", "--release-pub", f"{zone}/release.pub"]
        words += ["--rules", f"{zone}/models/snapshot.json", "--socket", "by-hand.sock"]
        module = ["-m", "freehold.engines.host"]
        self.tell.typed("anyone", ["python", *module, *words])
        ran = self._run([sys.executable, "-P", *module, *words], {})
        self.tell.shown(ran.output)
        if ran.status != expect:
            raise WentOtherwise(
                command="freehold.engines.host", status=ran.status, expected=expect, why=ran.output[-600:]
            )

    def _run(
        self, command: list[str], env: Mapping[str, str], seen: Callable[[str], None] | None = None
    ) -> Ran:
        """Run it to its end, or to the end of patience; `seen` is given each line as it comes."""
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            patience = threading.Timer(PATIENCE, running.kill)
            patience.start()
            try:
                assert running.stdout is not None  # it is a pipe
                lines = []
                for line in running.stdout:
                    lines.append(line)
                    if seen:
                        seen(line)
            finally:
                patience.cancel()
        return Ran(running.returncode, "".join(lines))


def _need_client() -> None:
    from importlib.util import find_spec

    if find_spec("openai") is None:
        raise ClientMissing(hint="`pip install 'freehold[demo]'`, or `make demo` in a clone")
