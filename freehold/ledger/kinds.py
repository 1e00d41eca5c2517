"""The taxonomy of entries, version 1: each kind, what it is about, and what its detail must say.

New kinds and new fields that may be there come without a new version; a reader skips what it does not
know. The version rises when a kind goes, or a field that must be there goes or means something else:
`tests/ledger/test_kinds.py` holds what version 1 promised.

A detail holds ids, digests, counts, words from fixed lists and salted commitments: never a person's
words, name or address. `record` refuses a kind that is not here and a detail that lacks a field or
brings one that is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from freehold.ledger.covers import tables_of
from freehold.spec.ids import digest

VERSION = 1
COMMON = {
    "v": "the version of this taxonomy",
    "id": "the entry's own id, `ent_…`",
    "at": "when the change was committed, microseconds UTC",
    "kind": "what happened, one of the kinds below",
    "actor": "whose doing it was: the id of a person or machine; `control` for what it does by itself",
    "key": "the key that was used, or `-`",
    "project": "in which project; none for what belongs to the whole installation",
    "object": "to what: an id, a name, or a reference such as `claims@7`",
    "request": "the id of the request that asked for it (`X-Request-Id`); none for what comes by itself",
    "trace": "its trace (W3C Trace Context); none where the caller sent none",
    "allowed": "which policies allowed it, by their ids; left out where nobody was asked, as by the clock",
    "detail": "what the kind says: ids, digests, counts, words from fixed lists, salted commitments",
}
"""The fields that every entry has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of entry."""

    name: str
    about: str
    """What a reader learns from it, in one line."""
    must: frozenset[str]
    may: frozenset[str]

    def told(self) -> dict[str, Any]:
        """As others read it."""
        return {
            "kind": self.name,
            "about": self.about,
            "must": sorted(self.must),
            "may": sorted(self.may),
            "tables": sorted(tables_of(self.name)),
        }


def _kind(name: str, about: str, must: str = "", may: str = "") -> tuple[str, Kind]:
    return name, Kind(name=name, about=about, must=frozenset(must.split()), may=frozenset(may.split()))


KINDS: dict[str, Kind] = dict(
    (
        _kind("installation.created", "the installation began", "origin version"),
        _kind("installation.upgraded", "the schema moved forward", "before after"),
        _kind("installation.recovered", "an administrator key was issued on the host", "key"),
        _kind(
            "installation.restored",
            "it was restored from a backup: what came after that is gone",
            "backup entries root made_at",
            "forgotten",
        ),
        _kind(
            "installation.imported",
            "it was made of an export: the entries before this one are another installation's",
            "origin before entries root export",
        ),
        _kind("model.signed", "a model's manifest was signed anew, by another installation", "model digest"),
        _kind("backup.begun", "everything began to leave, sealed", "backup entries"),
        _kind("backup.made", "it arrived whole where it was to go", "backup digest bytes"),
        _kind("backup.gone", "someone says that it was destroyed", "backup"),
        _kind("person.added", "a person may sign in", "person", "roles"),
        _kind("person.roles", "a person's roles changed", "person added removed project"),
        _kind("person.locked", "a person may no longer sign in", "person"),
        _kind("person.unlocked", "a locked person may sign in again", "person"),
        _kind("project.added", "a project began", "name"),
        _kind("project.limited", "what a project may use changed", "name limits", "before"),
        _kind(
            "project.guarded",
            "what a project's services are guarded by at least changed",
            "name guards",
            "before",
        ),
        _kind(
            "key.created",
            "a key was issued",
            "key zone owner",
            "project services purpose expires_at limits guard sensitivity secret renews origin",
        ),
        _kind("key.revoked", "a key is void", "key"),
        _kind("session.begun", "someone signed in to the console", "key"),
        _kind("session.ended", "someone signed out of the console", "key"),
        _kind("data.added", "a data set began", "dataset basis sensitivity purposes regions keep"),
        _kind("data.version", "a data set has a new version", "version digest rows left_out bad_rows"),
        _kind("data.expired", "the time of a version is over: its rows are gone", "version rows keep"),
        _kind("data.forgotten", "rows of a version are gone with the person", "version rows holes"),
        _kind("consent.given", "a subject consented", "subject purpose source"),
        _kind("consent.withdrawn", "a subject withdrew", "subject purpose source"),
        _kind("consent.read", "consents came with a data version", "version given withdrawn"),
        _kind("subject.exported", "someone took what is held about a person, for them", "rows answers"),
        _kind(
            "subject.readmitted",
            "somebody who was forgotten may come in again, with what comes from then on",
            "readmission forgettings basis purposes request",
        ),
        _kind("forgetting.asked", "somebody is to be forgotten", "forgetting request journey"),
        _kind("forgetting.marked", "nothing learns from them, and nothing of them comes in", "forgetting"),
        _kind("forgetting.removed", "their rows and words are gone", "forgetting rows answers"),
        _kind("forgetting.destroyed", "what could open them is no more", "forgetting keys objects left"),
        _kind("forgetting.checked", "nothing of it opened", "forgetting keys objects versions"),
        _kind("certificate.issued", "what was done is certified", "certificate digest", "forgetting purge"),
        _kind(
            "retention.set",
            "how long words are kept, or runs (the purpose is `@runs`)",
            "retention purpose sensitivity keep",
        ),
        _kind("retention.ended", "a rule of retention counts no more", "retention"),
        _kind("hold.placed", "a legal hold: nothing of it goes", "hold what object because"),
        _kind("hold.ended", "a legal hold is over", "hold because"),
        _kind("purge.begun", "what is over begins to go", "purge due_at"),
        _kind("purge.words", "words of answers are gone, the records of them stay", "purge answers words"),
        _kind("purge.removed", "nothing that is over is in the rows", "purge answers words versions", "runs"),
        _kind("purge.destroyed", "what could open it is no more", "purge keys objects left"),
        _kind("purge.checked", "nothing of it opened", "purge keys objects versions"),
        _kind("keyring.rotation", "all keys are about to change to a new epoch key", "before"),
        _kind("keyring.rotated", "all keys are wrapped by a new epoch key", "before after keys"),
        _kind("journey.begun", "a long story began", "journey kind spec", "service until"),
        _kind("journey.step", "a step of it is done", "journey step state", "result because"),
        _kind("journey.ended", "it ended", "journey state", "because"),
        _kind("job.queued", "compute was asked for", "job kind spec"),
        _kind("job.claimed", "a worker took it", "job worker fence"),
        _kind("job.ended", "it ended", "job state fence", "because result"),
        _kind("run.begun", "a run began", "run kind spec data"),
        _kind("run.ended", "a run ended", "run state", "metrics model because walls"),
        _kind(
            "model.version",
            "a model version exists",
            "model digest serving_digest run",
            "data parent licence",
        ),
        _kind("model.state", "a model version changed state", "model before after", "because"),
        _kind("card.issued", "an evaluation is evidence", "card digest model serving_digest passed"),
        _kind("service.declared", "a service was declared or changed", "service spec", "kind before"),
        _kind(
            "service.attached",
            "an existing model server became a service",
            "service spec",
            "region contract before",
        ),
        _kind("service.stopped", "a service was stopped", "service because"),
        _kind("service.resumed", "a stopped service answers again", "service because"),
        _kind("approval.requested", "someone has to decide", "approval service serving_digest role evidence"),
        _kind("approval.given", "someone approved", "approval serving_digest role because"),
        _kind("approval.refused", "someone refused", "approval serving_digest role because"),
        _kind("approval.void", "an approval no longer counts", "approval because"),
        _kind("release.begun", "a model version gets traffic", "release service serving_digest weight state"),
        _kind(
            "release.weight", "a running release has another share", "release service before weight", "state"
        ),
        _kind("release.kept", "a forgotten model answers on for a while", "release service until because"),
        _kind("release.ended", "a release gets no more traffic", "release service state", "because"),
        _kind(
            "abtest.begun",
            "two releases began to be compared: a candidate and the live one",
            "abtest service release live weight seconds",
        ),
        _kind("abtest.ended", "what came of it", "abtest service verdict", "figures because"),
        _kind("snapshot.published", "gateways serve by new rules", "ix digest"),
        _kind(
            "callers.declared",
            "freehold.yaml says anew which tokens and client certificates may ask what",
            "digest issuers certificates",
            "before",
        ),
        _kind(
            "watch.declared",
            "freehold.yaml says anew what looks like an attack, and what is done then",
            "digest rules",
            "before",
        ),
        _kind(
            "incident.opened",
            "somebody looks like an attacker",
            "incident service rule key does count within person seen_at",
            "until pace",
        ),
        _kind(
            "incident.again",
            "who was throttled, or had to renew, goes on, and is held anew",
            "incident count seen_at",
            "until",
        ),
        _kind("incident.acknowledged", "someone looks into an incident", "incident because"),
        _kind("incident.closed", "it is dealt with, and nobody is held back by it", "incident because"),
        _kind("incident.forgotten", "incidents name a person no more", "forgetting incidents"),
        _kind("mlflow.experiment.begun", "an MLflow client began an experiment", "experiment called"),
        _kind("mlflow.experiment.changed", "it was renamed, deleted, restored", "experiment called deleted"),
        _kind("mlflow.run.begun", "an MLflow client began a run", "run experiment"),
        _kind("mlflow.run.changed", "it ended, or changed after that", "run state digest deleted", "points"),
        _kind("mlflow.model.begun", "an MLflow client began to log a model", "model experiment", "run"),
        _kind(
            "mlflow.model.changed",
            "it is complete, or deleted",
            "model state digest deleted",
            "files pickled",
        ),
        _kind("mlflow.registered.begun", "a name for foreign models began", "registered called"),
        _kind("mlflow.registered.changed", "it was renamed or deleted", "registered called deleted"),
        _kind(
            "mlflow.version.begun",
            "a foreign model has a version",
            "version registered number digest pickled",
            "of run",
        ),
        _kind("mlflow.version.deleted", "a version of a foreign model was deleted", "version"),
        _kind("mlflow.alias", "an alias of a foreign model moved", "registered alias version"),
        _kind("mlflow.words", "sealed words about a thing changed", "of part digest"),
        _kind(
            "answer.intent",
            "an answer was begun",
            "answer service key purpose request snapshot",
            "subject release serving_digest spool sequence sandbox copy_of",
        ),
        _kind(
            "answer.turned",
            "another target was asked instead",
            "answer release serving_digest instead",
            "spool sequence",
        ),
        _kind(
            "answer.close",
            "an answer ended",
            "answer ending status reason tokens_in tokens_out cost",
            "response micros spool sequence estimated guards went",
        ),
        _kind(
            "answer.amended",
            "an answer that was recorded as answered, or as given again, did not leave",
            "answer",
            "again ending status reason spool sequence",
        ),
        _kind("answer.again", "an answer was given again", "answer again at key given", "spool sequence"),
        _kind("answer.forgotten", "words of answers are gone with the person", "forgetting answers words"),
        _kind("answer.read", "someone read an answer's words", "answer"),
        _kind("spool.gap", "a spool's chain is broken", "spool expected found"),
        _kind("spool.unbegun", "an answer ended whose beginning is missing", "spool answer ending sequence"),
        _kind("spool.unreadable", "words in a spool do not open", "spool answer"),
        _kind("notice.configured", "where notices go changed", "channel target"),
        _kind("setting.changed", "a setting changed", "name digest"),
        _kind("export.made", "everything was exported", "digest", "rows"),
        _kind("control.proved", "a control did what it is for", "control run because"),
        _kind("control.failed", "a control did not do what it is for", "control run because"),
        _kind("refusal", "someone was refused on the control side", "action resource reasons"),
    )
)


def taxonomy() -> dict[str, Any]:
    """All of it, as `freehold ledger types --json` prints it, with a digest to tell it by."""
    kinds = [KINDS[name].told() for name in sorted(KINDS)]
    told = {"version": VERSION, "fields": COMMON, "kinds": kinds}
    return told | {"digest": digest(told)}
