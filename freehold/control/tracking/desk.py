"""Who asks an MLflow path, about which project, and may they: the same roles as everywhere.

Who may submit training writes, who may read runs reads. Contents of files need the right to read data,
for clients put samples of it there (input examples).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from fastapi import Request

from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.control.tracking.wire import key_of
from freehold.identity import projects
from freehold.policy.decide import Action
from freehold.spec.principal import Principal
from freehold.track import artifacts, experiments, logged, names, registry, runs
from freehold.track.artifacts import Spot
from freehold.track.names import Kind, Named
from freehold.track.records import Experiment, LoggedModel, Registered, RunHead

READ: Action = "run:read"
WRITE: Action = "train:submit"
OPEN: Action = "data:read"

DEFAULT = "0"
"""The experiment that clients take when nobody named one."""


@dataclass(frozen=True, slots=True)
class Yours:
    """The projects somebody has a role in."""

    read: tuple[str, ...]
    write: tuple[str, ...]

    @property
    def home(self) -> tuple[str, ...]:
        """Where a name without a project belongs, when it is exactly one."""
        return self.write or self.read


class Desk:
    """Finds what a request is about and asks whether its person may; one for all routes."""

    def __init__(self, parts: Parts) -> None:
        self.ground = parts.ground
        self.folder: Path = parts.home.control
        self._gate = Gate(parts)

    def sign_in(self, request: Request) -> Principal:
        """The person whose control key the request carries. Raises NotSignedIn."""
        return self._gate.holder(key_of(request))

    def who(self, request: Request) -> Principal:
        """As it was found when the request came in."""
        who: Principal = request.state.who
        return who

    def may(self, who: Principal, action: Action, project: str, resource: str = "") -> None:
        """Raises NotAllowed, with an entry."""
        self._gate.may(who, action, project=project, resource=resource)

    def yours(self, who: Principal) -> Yours:
        """The projects of a person."""
        with self.ground.db.read() as conn:
            there = [one.name for one in projects.listed(conn)]
        return Yours(
            tuple(name for name in there if self._gate.would(who, READ, project=name)),
            tuple(name for name in there if self._gate.would(who, WRITE, project=name)),
        )

    def named(self, who: Principal, text: str, kind: Kind) -> Named:
        """A name with its project. Raises NoProject, NotFound."""
        yours = self.yours(who)
        return names.read(text, kind, mine=yours.home, known=yours.read)

    def experiment(self, who: Principal, id: str, action: Action) -> Experiment:
        """An experiment somebody may see or write to. Raises NotFound, NotAllowed."""
        if id == DEFAULT:
            return self._default(who, action)
        with self.ground.db.read() as conn:
            found = experiments.find(conn, self.ground.keyring, id)
        self.may(who, action, found.project, found.id)
        return found

    def _default(self, who: Principal, action: Action) -> Experiment:
        project = self.named(who, experiments.DEFAULT, "experiment").project
        self.may(who, action, project)
        if action == READ:
            with self.ground.db.read() as conn:
                named = Named(project, experiments.DEFAULT)
                return experiments.by_name(conn, self.ground.keyring, named)
        return experiments.default(self.ground, by=who, project=project)

    def run(self, who: Principal, id: str, action: Action) -> RunHead:
        """A run somebody may see or write to. Raises NotFound, NotAllowed."""
        with self.ground.db.read() as conn:
            found = runs.head(conn, id)
        self.may(who, action, found.project, found.id)
        return found

    def model(self, who: Principal, id: str, action: Action) -> LoggedModel:
        """A logged model somebody may see or write to. Raises NotFound, NotAllowed."""
        with self.ground.db.read() as conn:
            found = logged.find(conn, self.ground.keyring, id)
        self.may(who, action, found.project)
        return found

    def registered(self, who: Principal, name: str, action: Action) -> Registered:
        """A registered name somebody may see or write to. Raises NotFound, NotAllowed."""
        named = self.named(who, name, "model")
        self.may(who, action, named.project)
        with self.ground.db.read() as conn:
            return registry.by_name(conn, self.ground.keyring, named)

    def spot(self, who: Principal, path: str, action: Action) -> tuple[str, Spot]:
        """A place for files, and its project. Raises PathUnusable, NotFound, NotAllowed."""
        place = artifacts.spot(path)
        with self.ground.db.read() as conn:
            project = self.project_of(conn, place)
        self.may(who, action, project)
        return project, place

    def project_of(self, conn: sa.Connection, place: Spot) -> str:
        """The project whose files these are. Raises NotFound."""
        return artifacts.project_of(conn, place)
