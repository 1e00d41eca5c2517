"""Every request that changes something: made ready in one installation, to be sent once or twice.

A case makes what it needs first, and then says what is to be sent and which entries it has to write,
each exactly once. `every` must have one for each route that is not read only: who adds a route adds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import bases
from learning import inbox
from starlette.testclient import TestClient

from freehold.jobs import queue
from freehold.jobs.queue import JobRequest
from freehold.jobs.runner import Runner
from freehold.jobs.steps import Story, begin
from freehold.journeys import forget
from freehold.journeys.stories import STORIES
from freehold.spec.config import Config
from freehold.spec.ids import digest_bytes, new_id
from freehold.spec.principal import SYSTEM
from freehold.store.frames import Mark
from freehold.store.spool import Note, Spool
from freehold.store.spooled import Began, Ended, matter_of, pack
from freehold.train.base import check
from freehold.train.bundle import pack as packed
from tests.control import test_ingest
from tests.support.line import Line
from tests.support.records import an_incident

ML = "/mlflow/api/2.0/mlflow"
SERVICE = (
    "service: {name}\nproject: claims\nowner: claims-platform\npurpose: claims-handling\n"
    "sensitivity: Internal\ntier: sandbox\nregions: [eu]\nsubject: none\n"
    "model: {{data: labelled@1, task: classify}}\n"
)


@dataclass(frozen=True)
class Send:
    """What is sent."""

    path: str
    who: str = "tim"
    json: Any = None
    params: dict[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] | None = None
    """Of a page of the console."""
    page: str = ""
    """The page whose form it is."""


@dataclass(frozen=True)
class Case:
    """One route: what to send, and which kinds of entries that writes; none: it changes no state."""

    route: str
    """`POST /api/projects`, as the app spells it."""
    ready: Callable[[Any], Send]
    writes: tuple[str, ...] = ()
    under_way: bool = False
    """It changes what is marked `operational` only: the entry comes with the end of what is under way."""


class Place:
    """An installation with a live service and somebody in every role."""

    def __init__(self, house: Any, http: TestClient, folder: Path) -> None:
        self.house, self.http, self.folder = house, http, folder
        self.line = Line(house)
        self.line.data("text,category\n" + "".join(f"water {n},property\ncar {n},motor\n" for n in range(30)))
        self.line.data(
            "text,category,customer\nwater,property,anna-k\ncar,motor,ben-o\n",
            name="labelled",
            target="category",
            text="text",
            subject=("customer",),
        )
        for content in ("one", "two", "three"):
            self.line.live(content)
        home = house.parts.home
        self.line.keys |= {
            "admin": house.administrator_key,
            "gateway": home.gateway_border.read_text().strip(),
            "worker": home.worker_border.read_text().strip(),
        }
        self._count = 0

    def fresh(self, word: str = "n") -> str:
        """A name that was not used yet."""
        self._count += 1
        return f"{word}{self._count}"

    def headers(self, who: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.line.keys[who]}"}

    def do(self, method: str, path: str, json: Any = None, who: str = "tim", **more: Any) -> Any:
        """A request that makes something ready."""
        said = self.http.request(method, path, json=json, headers=self.headers(who), **more)
        assert said.status_code < 300, f"{method} {path}: {said.text}"
        return said.json()

    # -- things that cases need ---------------------------------------------------------------------

    def person(self) -> str:
        name = f"{self.fresh('p')}@example.org"
        self.house.person(name, "claims/trainer")
        return name

    def key(self) -> str:
        made = self.do("POST", "/api/keys", {"zone": "serving", "project": "claims"}, who="admin")
        return str(made["id"])

    def approval(self) -> str:
        return self.line.ask(self.line.model(self.fresh("content")))[0]

    def job(self) -> str:
        asked = JobRequest(kind="train", spec={"n": 3}, inputs=(), memory=10**9, seconds=30)
        with self.line.ground.db.write() as tx:
            journey = begin(tx, Story(kind="deliver"), by=SYSTEM, project="claims", service=None, spec={})
            return queue.enqueue(tx, by=SYSTEM, journey=journey, step="train", request=asked)

    def claimed(self) -> tuple[str, int]:
        self.job()
        said = self.do("POST", "/border/jobs/claim", {"worker": "w-1", "kinds": ["train"]}, who="worker")
        return said["job"]["id"], said["job"]["fence"]

    def journey(self) -> str:
        spec = SERVICE.format(name=self.fresh("sorter"))
        return str(self.do("POST", "/api/journeys", {"spec": spec})["journey"])

    def answer(self) -> str:
        """An answer that was recorded, with its words."""
        gateway = test_ingest.Gateway(self.house, self.folder / "spool")
        id = gateway.answer()
        gateway.ship()
        return id

    def frames(self) -> tuple[str, bytes]:
        """A spool's id and a batch: one answer, begun and ended."""
        (self.folder / "other").mkdir(exist_ok=True)
        spool, id = Spool.create(self.folder / "other"), new_id("ans")
        spool.commit(
            [
                Note(pack(Began(test_ingest.intent(id))), Mark.BEGINS, matter_of(id)),
                Note(pack(Ended(test_ingest.close(id))), Mark.ENDS, matter_of(id)),
            ]
        )
        return spool.id, spool.read(0)

    def base(self) -> bytes:
        folder = bases.encoder(self.folder / self.fresh("base"), [*inbox()["text"], self.fresh("word")])
        checked = check(folder, allowed=None)
        return b"".join(packed(folder, (*checked.files, *([checked.card] if checked.card else []))))

    def backup(self) -> dict[str, Any]:
        """A backup that left: its signed statement."""
        import io

        from freehold.store.backup_files import unpack

        said = self.http.post("/api/backups", headers=self.headers("admin"))
        found = unpack("backup", io.BytesIO(said.content), None)
        return {"statement": asdict(found.statement), "signature": dict(found.signature)}

    def incident(self) -> dict[str, str]:
        """A key that a rule has locked, and its incident."""
        key = self.key()
        return {"key": key, "incident": an_incident(self.line.ground, key=key)}

    def channel(self) -> str:
        asked = {"kind": "webhook", "url": f"http://127.0.0.1:1/{self.fresh()}"}
        return str(self.do("POST", "/api/notices", asked, who="admin")["id"])

    def forgotten(self) -> str:
        """Somebody who was forgotten, to the certificate."""
        ground, name = self.line.ground, self.fresh("person")
        subject = ground.keyring.subject("claims", name)
        with ground.db.write() as tx:
            journey = forget.begin(tx, by=SYSTEM, project="claims", subject=subject, request="DSR-1")
        runner = Runner(ground, Config(), STORIES)
        while runner.advance(journey):
            continue
        return name

    def experiment(self) -> str:
        return str(self.do("POST", f"{ML}/experiments/create", {"name": self.fresh("exp")})["experiment_id"])

    def ml_run(self) -> str:
        asked = {"experiment_id": self.experiment(), "start_time": 1000}
        return str(self.do("POST", f"{ML}/runs/create", asked)["run"]["info"]["run_id"])

    def ml_model(self) -> str:
        asked = {"experiment_id": self.experiment(), "name": self.fresh("m")}
        return str(self.do("POST", f"{ML}/logged-models", asked)["model"]["info"]["model_id"])

    def registered(self) -> str:
        name = self.fresh("reg")
        self.do("POST", f"{ML}/registered-models/create", {"name": name})
        return name

    def version(self) -> dict[str, str]:
        run, name = self.ml_run(), self.registered()
        self.put_artifact(run)
        asked = {"name": name, "source": f"runs:/{run}/model", "run_id": run}
        made = self.do("POST", f"{ML}/model-versions/create", asked)["model_version"]
        return {"name": name, "version": made["version"]}

    def artifact(self, run: str) -> str:
        """Where a file of a run lies."""
        info = self.do("GET", f"{ML}/runs/get", params={"run_id": run})["run"]["info"]
        place = str(info["artifact_uri"]).partition("mlflow-artifacts:/")[2].lstrip("/")
        return f"/mlflow/api/2.0/mlflow-artifacts/artifacts/{place}/model/weights.bin"

    def put_artifact(self, run: str) -> str:
        path = self.artifact(run)
        said = self.http.put(path, content=b"weights", headers=self.headers("tim"))
        assert said.status_code == 200, said.text
        return path

    # -- things that cases send ---------------------------------------------------------------------

    END: ClassVar[dict[str, Any]] = {
        "state": "done",
        "result": {},
        "failure": {},
        "inputs": {},
        "outputs": {},
        "machine": {},
        "cpu_seconds": 1.0,
        "wall_seconds": 1.0,
        "peak_bytes": 1,
    }

    def locked(self) -> str:
        name = self.person()
        self.do("POST", "/api/people/lock", {"person": name}, who="admin")
        return name

    def somebody(self) -> str:
        """A person whose key may be renewed."""
        name = self.fresh("q")
        _, header = self.house.person(f"{name}@example.org", "claims/trainer")
        self.line.keys[name] = header["authorization"].removeprefix("Bearer ")
        return name

    def intake(self) -> dict[str, Any]:
        return {
            "project": "claims",
            "name": self.fresh("data"),
            "format": "csv",
            "purpose": "claims-handling",
            "basis": "contract",
            "sensitivity": "Internal",
            "keep": "3y",
            "region": "eu",
        }

    def claim(self) -> dict[str, Any]:
        self.job()
        return {"worker": "w-1", "kinds": ["train"]}

    def of_job(self, what: str, body: dict[str, Any]) -> Send:
        job, fence = self.claimed()
        return Send(f"/border/jobs/{job}/{what}", "worker", {"fence": fence, **body})

    def output(self, path: str) -> Send:
        job, fence = self.claimed()
        params = {"fence": fence, "digest": digest_bytes(b"weights")}
        return Send(f"/border/jobs/{job}/{path}", "worker", params=params, content=b"weights")

    def attached(self) -> dict[str, Any]:
        return {
            "service": self.fresh("chat"),
            "project": "claims",
            "purpose": "claims-handling",
            "url": "http://127.0.0.1:1/v1",
            "model": "tiny",
        }

    def shipped(self) -> Send:
        spool, frames = self.frames()
        return Send(f"/border/spool/{spool}", "gateway", content=frames)

    def made(self) -> str:
        body = self.backup()
        self.do("POST", "/api/backups/made", body, who="admin")
        return str(body["statement"]["backup"])

    def deleted_run(self) -> str:
        run = self.ml_run()
        self.do("POST", f"{ML}/runs/delete", {"run_id": run})
        return run

    def tagged(self) -> str:
        run = self.ml_run()
        self.do("POST", f"{ML}/runs/set-tag", {"run_id": run, "key": "t", "value": "x"})
        return run

    def deleted_experiment(self) -> str:
        id = self.experiment()
        self.do("POST", f"{ML}/experiments/delete", {"experiment_id": id})
        return id

    def tagged_experiment(self) -> str:
        id = self.experiment()
        body = {"experiment_id": id, "key": "t", "value": "x"}
        self.do("POST", f"{ML}/experiments/set-experiment-tag", body)
        return id

    def of_model(self, what: str, body: dict[str, Any] | None = None) -> Send:
        id = self.ml_model()
        return Send(f"{ML}/logged-models/{id}{what}", json=None if body is None else {"model_id": id, **body})

    def tagged_model(self) -> Send:
        id = self.ml_model()
        body = {"model_id": id, "tags": [{"key": "t", "value": "x"}]}
        self.do("PATCH", f"{ML}/logged-models/{id}/tags", body)
        return Send(f"{ML}/logged-models/{id}/tags/t")

    def tagged_registered(self) -> str:
        name = self.registered()
        self.do("POST", f"{ML}/registered-models/set-tag", {"name": name, "key": "t", "value": "x"})
        return name

    def aliased(self) -> dict[str, str]:
        version = self.version()
        self.do("POST", f"{ML}/registered-models/alias", {**version, "alias": "champion"})
        return {"name": version["name"], "alias": "champion"}

    def new_version(self) -> dict[str, str]:
        run, name = self.ml_run(), self.registered()
        self.put_artifact(run)
        return {"name": name, "source": f"runs:/{run}/model", "run_id": run}

    def tagged_version(self) -> dict[str, str]:
        version = self.version()
        self.do("POST", f"{ML}/model-versions/set-tag", {**version, "key": "t", "value": "x"})
        return version

    def hold(self) -> str:
        asked = {"project": "claims", "what": "everything", "because": "a case"}
        return str(self.do("POST", "/api/holds", asked, who="bob")["hold"])

    def console(self) -> Any:
        """A browser in which nobody is signed in."""
        from tests.console.conftest import Browser

        browser = Browser(self.house.parts)
        browser._transport.raise_server_exceptions = False  # type: ignore[attr-defined]  # a page, as in life
        return browser
