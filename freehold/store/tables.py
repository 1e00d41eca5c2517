"""Every table, in one place, so that one migration history and one diagram describe them.

Those of MLflow clients are written down in `store.mlflow_tables` and named here with the others.

Conventions: ids are text (`spec.ids.new_id`); times are microseconds UTC (`BigInteger`); lists and
nested records are canonical JSON text; no column holds a person's words or name in clear, except
the addresses of our own users in `people`. A table marked `operational` may change without a
ledger entry, and says why: everything else is state. Of a table marked `named` snapshots hold rows: who
writes to it says which (`store.unpublished`).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, LargeBinary, String, Text

from freehold.store.metadata import metadata as metadata
from freehold.store.metadata import time_column as _time
from freehold.store.mlflow_tables import mlflow_artifacts as mlflow_artifacts
from freehold.store.mlflow_tables import mlflow_experiments as mlflow_experiments
from freehold.store.mlflow_tables import mlflow_metrics as mlflow_metrics
from freehold.store.mlflow_tables import mlflow_model_metrics as mlflow_model_metrics
from freehold.store.mlflow_tables import mlflow_models as mlflow_models
from freehold.store.mlflow_tables import mlflow_registered as mlflow_registered
from freehold.store.mlflow_tables import mlflow_runs as mlflow_runs
from freehold.store.mlflow_tables import mlflow_series as mlflow_series
from freehold.store.mlflow_tables import mlflow_uploads as mlflow_uploads
from freehold.store.mlflow_tables import mlflow_versions as mlflow_versions
from freehold.store.mlflow_tables import mlflow_words as mlflow_words

# -- people, projects, keys (identity) --------------------------------------------------------------

people = sa.Table(
    "people",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("email", String(254), unique=True, nullable=False),
    Column("state", String(16), nullable=False),  # active | locked
    _time("created_at", nullable=False),
)

memberships = sa.Table(
    "memberships",
    metadata,
    Column("person", ForeignKey("people.id"), primary_key=True),
    Column("project", String(63), primary_key=True),  # a project's name or `*`
    Column("role", String(32), primary_key=True),
    _time("created_at", nullable=False),
)

projects = sa.Table(
    "projects",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("timezone", String(64), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(16), nullable=False),
    Column("limits", Text),  # what all its services may use together, as it was written; null: no limit
    Column("guards", Text),  # JSON: what its services are guarded by at least, by purpose and sensitivity
    _time("created_at", nullable=False),
)

keys = sa.Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("secret_digest", String(64), nullable=False),  # SHA-256 of 256 random bits, hex
    Column("zone", String(16), nullable=False),  # control | serving | border
    Column("owner", String(40), nullable=False),  # a person's id, or gateway | worker | engine
    Column("project", String(63)),  # serving keys: the one project they are for
    Column("services", Text, nullable=False),  # JSON list; empty means every service of the project
    Column("purpose", String(63)),  # the default purpose
    Column("label", String(120), nullable=False),
    Column("limits", Text),  # serving keys: what their requests may use, as it was written
    Column("guard", Text),  # serving keys: what their requests are guarded by at least, in words
    Column("sensitivity", Integer),  # serving keys: the most sensitive services they may ask; none: any
    Column("origin", String(40)),  # of one that was renewed: the first of them, whose limits it goes on with
    _time("expires_at"),
    _time("revoked_at"),
    _time("created_at", nullable=False),
    info={"named": "serving keys, by id"},
)

sessions = sa.Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),  # SHA-256 of the cookie's 256 random bits, hex
    Column("key", ForeignKey("keys.id"), nullable=False),  # the key it was begun with: it ends with it
    _time("seen_at", nullable=False),
    _time("created_at", nullable=False),
    info={"operational": "who has the console open; its beginning and end are entries"},
)

# -- data ---------------------------------------------------------------------------------------------

datasets = sa.Table(
    "datasets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("owner", String(254), nullable=False),
    Column("purposes", Text, nullable=False),  # JSON list
    Column("basis", String(32), nullable=False),
    Column("sensitivity", Integer, nullable=False),
    Column("regions", Text, nullable=False),  # JSON list
    Column("keep", String(32), nullable=False),  # an ISO 8601 duration such as P3Y
    Column("subject_columns", Text, nullable=False),  # JSON list
    Column("consent_column", String(120)),
    Column("target_column", String(120)),
    Column("text_column", String(120)),
    Column("state", String(16), nullable=False),
    _time("created_at", nullable=False),
    sa.UniqueConstraint("project", "name"),
)

data_versions = sa.Table(
    "data_versions",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("dataset", ForeignKey("datasets.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(71), nullable=False),  # schema, row count, Merkle root of commitments
    Column("rows", BigInteger, nullable=False),
    Column("left_out", Text, nullable=False),  # JSON: reason -> count
    Column("bad_rows", Integer, nullable=False),
    Column("schema", Text, nullable=False),  # JSON: columns, types, what looks personal
    Column("layout", Text, nullable=False),  # JSON: chunks, replaceable; cited by nobody
    Column("source", Text, nullable=False),  # JSON: file digest, format, byte count
    Column("state", String(16), nullable=False),
    _time("created_at", nullable=False),
    sa.UniqueConstraint("dataset", "version"),
)

data_subjects = sa.Table(
    "data_subjects",
    metadata,
    Column("version", ForeignKey("data_versions.id"), primary_key=True),
    Column("subject", String(64), primary_key=True),  # HMAC of the subject, per project
    Column("rows", Text, nullable=False),  # JSON list of row numbers
    info={"operational": "an index over a version; written with the version and its entry"},
)

forgettings = sa.Table(
    "forgettings",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("journey", String(40), nullable=False, unique=True),
    Column("request", String(64), nullable=False),  # the reference of the request, such as DSR-2026-118
    Column("subject", String(64)),  # HMAC of the person; none once what it names is destroyed
    Column("mark", String(64)),  # HMAC of that under a key of its own: what comes in again is known by it
    Column("state", String(16), nullable=False),  # asked | marked | removed | destroyed
    Column("left", Text, nullable=False),  # JSON: keys and objects that are to be destroyed
    _time("asked_at", nullable=False),
    _time("marked_at"),
    _time("destroyed_at"),
    sa.Index("forgettings_by_mark", "project", "mark"),
)

readmissions = sa.Table(
    "readmissions",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("mark", String(64), nullable=False),  # as in `forgettings`
    Column("forgettings", Text, nullable=False),  # JSON list of ids: all that were of the mark then
    Column("basis", String(32), nullable=False),
    Column("purposes", Text, nullable=False),  # JSON list
    Column("request", String(64), nullable=False),  # the reference of what the new basis is
    Column("readmitted_by", String(40), nullable=False),
    _time("at", nullable=False),
    sa.Index("readmissions_by_mark", "project", "mark"),
)

certificates = sa.Table(
    "certificates",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("journey", String(40), nullable=False, unique=True),
    Column("digest", String(71), nullable=False),
    Column("envelope", Text, nullable=False),  # signed (DSSE), JSON; it names nobody
    Column("entries", Text, nullable=False),  # JSON: kind -> id of the entries it speaks of
    _time("created_at", nullable=False),
)

consents = sa.Table(
    "consents",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("purpose", String(63), nullable=False),
    Column("state", String(16), nullable=False),  # given | withdrawn
    Column("source", String(120), nullable=False),  # the data version or person that said so
    _time("at", nullable=False),
    sa.Index("consents_by_subject", "project", "subject", "purpose", "at"),
    info={"named": "who withdrew, as project/subject"},
)

retention = sa.Table(
    "retention",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("purpose", String(63), nullable=False),  # or `*`
    Column("sensitivity", Integer),  # of the service; none means any
    Column("keep", String(32), nullable=False),  # an ISO 8601 duration, from the end of the answer's day
    _time("set_at", nullable=False),
    _time("ended_at"),
)

holds = sa.Table(
    "holds",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("what", String(16), nullable=False),  # everything | service | purpose | data | subject
    Column("object", String(64), nullable=False),  # its name; of a person the HMAC; `*` for everything
    Column("because", Text, nullable=False),  # sealed; a commitment stands in the ledger
    Column("placed_by", String(40), nullable=False),
    _time("placed_at", nullable=False),
    _time("ended_at"),
)

purges = sa.Table(
    "purges",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("journey", String(40), nullable=False, unique=True),
    Column("state", String(16), nullable=False),  # begun | removed | destroyed
    Column("left", Text, nullable=False),  # JSON: keys and objects that are to be destroyed
    _time("due_at", nullable=False),  # what is over at that moment goes
    _time("begun_at", nullable=False),
)

samples = sa.Table(
    "samples",
    metadata,
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("answers", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    info={"operational": "how large everything is, now and then: what the forecast is made of"},
)

intakes = sa.Table(
    "intakes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("blobs", Text, nullable=False),  # JSON list: digests of objects this intake stored
    Column("keys", Text, nullable=False),  # JSON list: names of keys it added
    _time("seen_at", nullable=False),
    info={"operational": "scaffolding of an intake under way; gone with it, swept when it died"},
)

# -- journeys, steps, jobs ------------------------------------------------------------------------

journeys = sa.Table(
    "journeys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(32), nullable=False),  # deliver | retrain | forget
    Column("project", String(63), nullable=False),
    Column("service", String(63)),
    Column("spec", Text, nullable=False),  # canonical JSON of what was asked
    Column("spec_digest", String(71), nullable=False),
    Column("state", String(16), nullable=False),
    # running | waiting | held | done | failing | failed | stopping | stopped
    Column("because", Text, nullable=False),
    Column("until", String(32)),
    Column("submitted_by", String(40), nullable=False),
    _time("created_at", nullable=False),
    _time("ended_at"),
)

steps = sa.Table(
    "steps",
    metadata,
    Column("journey", ForeignKey("journeys.id"), primary_key=True),
    Column("name", String(48), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # todo | waiting | done | failed | undone
    Column("result", Text, nullable=False),  # canonical JSON, {} until done
    Column("because", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    _time("started_at"),
    _time("ended_at"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("journey", ForeignKey("journeys.id"), nullable=False),
    Column("step", String(48), nullable=False),
    Column("kind", String(32), nullable=False),  # train | evaluate
    Column("spec", Text, nullable=False),  # canonical JSON
    Column("state", String(16), nullable=False),  # queued | claimed | done | failed | cancelled
    Column("worker", String(63)),
    Column("fence", Integer, nullable=False),  # rises with every claim; a stale worker cannot complete
    Column("attempts", Integer, nullable=False),
    Column("result", Text, nullable=False),
    Column("because", Text, nullable=False),
    _time("created_at", nullable=False),
    _time("claimed_at"),
    _time("ended_at"),
    sa.UniqueConstraint("journey", "step"),
)

job_beats = sa.Table(
    "job_beats",
    metadata,
    Column("job", ForeignKey("jobs.id"), primary_key=True),
    Column("fence", Integer, nullable=False),
    Column("progress", Text, nullable=False),
    Column("curve", Text, nullable=False, server_default="[]"),  # JSON: [step, loss] as they were told
    _time("seen_at", nullable=False),
    info={"operational": "heartbeats and progress say nothing that outlives the job"},
)

# -- runs, models, cards ----------------------------------------------------------------------------

runs = sa.Table(
    "runs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("number", Integer, unique=True, nullable=False),  # what people say: run:12
    Column("project", String(63), nullable=False),
    Column("service", String(63)),
    Column("journey", String(40)),
    Column("kind", String(32), nullable=False),  # train | evaluate
    Column("state", String(16), nullable=False),  # running | done | failed
    Column("spec", Text, nullable=False),
    Column("spec_digest", String(71), nullable=False),
    Column("data_version", String(40)),
    Column("data_digest", String(71)),
    Column("model", String(40)),
    Column("metrics", Text, nullable=False),  # JSON, decimals as text
    Column("machine", Text, nullable=False),  # JSON: threads, CPU flags, versions, walls
    Column("cpu_seconds", sa.Float, nullable=False),
    Column("wall_seconds", sa.Float, nullable=False),
    Column("watt_hours", sa.Float, nullable=False),  # estimated until a meter is read
    _time("started_at", nullable=False),
    _time("ended_at"),
)

models = sa.Table(
    "models",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),  # trained | adapter | merged | quantized | …
    Column("task", String(16), nullable=False),
    Column("parent", String(40)),
    Column("run", ForeignKey("runs.id")),
    Column("digest", String(71), nullable=False),  # of the manifest over the files
    Column("serving_digest", String(71), nullable=False),
    Column("manifest", Text, nullable=False),  # DSSE envelope, JSON
    Column("files", Text, nullable=False),  # JSON: path -> {digest, bytes, blob}
    Column("about", Text, nullable=False),  # JSON: inputs, classes, trainer, data version
    Column("sensitivity", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # trained | evaluated | approved | held | retired
    Column("because", Text, nullable=False),
    _time("created_at", nullable=False),
    sa.UniqueConstraint("project", "name", "version"),
)

cards = sa.Table(
    "cards",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("model", ForeignKey("models.id"), nullable=False),
    Column("run", ForeignKey("runs.id")),
    Column("serving_digest", String(71), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON
    Column("passed", Boolean, nullable=False),
    _time("created_at", nullable=False),
)

# -- services, approvals, releases, snapshots ---------------------------------------------------

services = sa.Table(
    "services",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("kind", String(16), nullable=False),  # own | attached
    Column("owner", String(254), nullable=False),
    Column("purpose", String(63), nullable=False),
    Column("sensitivity", Integer, nullable=False),
    Column("tier", String(16), nullable=False),
    Column("spec", Text, nullable=False),  # canonical JSON of the service as asked
    Column("spec_digest", String(71), nullable=False),
    Column("provider", Text, nullable=False),  # JSON for attached services, {} otherwise
    Column("state", String(16), nullable=False),  # new | live | stopped
    Column("stopped_by", String(40)),
    Column("because", Text, nullable=False),  # a commitment stands in the ledger, the words here
    _time("created_at", nullable=False),
    _time("changed_at", nullable=False),
)

approvals = sa.Table(
    "approvals",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("service", String(63), nullable=False),
    Column("journey", String(40)),
    Column("model", ForeignKey("models.id"), nullable=False),
    Column("serving_digest", String(71), nullable=False),
    Column("role", String(32), nullable=False),
    Column("state", String(16), nullable=False),  # waiting | given | refused | void
    Column("evidence", Text, nullable=False),  # JSON: card digest, gates, data digest
    Column("requested_by", String(40), nullable=False),
    Column("decided_by", String(40)),
    Column("because", Text, nullable=False),
    _time("requested_at", nullable=False),
    _time("decided_at"),
    _time("expires_at"),
)

releases = sa.Table(
    "releases",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("service", ForeignKey("services.name"), nullable=False),
    Column("model", ForeignKey("models.id")),  # none for an attached service
    Column("serving_digest", String(71), nullable=False),
    Column("state", String(16), nullable=False),  # shadow | canary | ab | live | ended | rolled back
    Column("weight", Integer, nullable=False),  # of 10,000
    Column("approvals", Text, nullable=False),  # JSON list of approval ids
    Column("journey", String(40)),
    Column("because", Text, nullable=False),
    _time("created_at", nullable=False),
    _time("ended_at"),
    _time("until"),  # of a forgotten model that its service keeps for a while: then it is not routed to
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    Column("ix", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(71), nullable=False),
    Column("envelope", Text, nullable=False),  # the signed snapshot, as `signing.Envelope.kept` writes it
    _time("created_at", nullable=False),
)

snapshot_pages = sa.Table(
    "snapshot_pages",
    metadata,
    Column("digest", String(71), primary_key=True),  # as the snapshots that hold it name it
    Column("content", LargeBinary, nullable=False),  # canonical JSON, deflated
    _time("created_at", nullable=False),
)

unpublished = sa.Table(
    "unpublished",
    metadata,
    Column("about", String(32), primary_key=True),  # the table whose row changed
    Column("id", String(140), primary_key=True),  # the row, as snapshots name it; empty: any of the table
    info={"operational": "what the next snapshot lays out anew; the changes themselves have their entries"},
)

gateways = sa.Table(
    "gateways",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("applied", Integer, nullable=False),  # the newest snapshot it serves by
    Column("engines", Text, nullable=False),  # JSON: serving digest -> ready | why not
    Column("troubles", Text, nullable=False, server_default="[]"),  # JSON: what is wrong there, since when
    _time("seen_at", nullable=False),
    info={"operational": "what a gateway last said of itself"},
)

# -- answers ------------------------------------------------------------------------------------------

spools = sa.Table(
    "spools",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("sequence", BigInteger, nullable=False),  # the last one taken in
    Column("head", String(64), nullable=False),  # its chain hash
    _time("seen_at", nullable=False),
    info={"operational": "how far a spool was taken in; its records are entries themselves"},
)

answers = sa.Table(
    "answers",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", String(63), nullable=False),
    Column("service", String(63), nullable=False),
    Column("release", String(40)),
    Column("serving_digest", String(71)),
    Column("key", String(40), nullable=False),
    Column("purpose", String(63), nullable=False),
    Column("subject", String(64)),  # HMAC, per project
    Column("ending", String(16)),  # answered | denied | cut off | failed; none while under way
    Column("reason", String(63), nullable=False),  # the failure's code, for what was not answered
    Column("status", Integer),
    Column("sandbox", Boolean, nullable=False),
    Column("snapshot", Integer, nullable=False),
    Column("request_id", String(63)),
    Column("trace", String(63)),
    Column("request", String(80), nullable=False),  # salted commitment to what was asked
    Column("response", String(80)),  # salted commitment to what was answered
    Column("tokens_in", Integer, nullable=False),
    Column("tokens_out", Integer, nullable=False),
    Column("estimated", Boolean, nullable=False),  # the tokens were counted by us, not by the upstream
    Column("micros", BigInteger),  # from first byte in to last byte out
    Column("cost", String(24), nullable=False),  # decimal text in the project's currency
    Column("guards", Text),  # what each guard did, kinds and counts; none where none did anything
    Column("spool", String(63), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    _time("at", nullable=False),
    _time("closed_at"),
    # lists are read one project and one ending at a time, newest first, and laid together
    sa.Index("answers_by_service", "project", "service", "ending", "at"),
    sa.Index("answers_by_ending", "project", "ending", "at"),
    sa.Index("answers_by_key", "key", "ending", "at"),
    sa.Index("answers_by_time", "project", "at", "service", "release", "ending", "micros"),  # covers a day
    sa.Index("answers_by_subject", "project", "subject", "at"),
    sa.Index("answers_by_release", "release", "at", "ending"),  # covers a count by ending
    sa.Index(
        "answers_by_guards",  # the few of which a guard said something
        "key",
        "at",
        sqlite_where=sa.text("guards IS NOT NULL"),
        postgresql_where=sa.text("guards IS NOT NULL"),
    ),
)

contents = sa.Table(
    "contents",
    metadata,
    Column("answer", ForeignKey("answers.id"), primary_key=True),
    Column("part", String(16), primary_key=True),  # request | response | salt
    Column("key", String(160), nullable=False),  # which content key seals it
    Column("sealed", LargeBinary, nullable=False),
    info={"operational": "sealed words of an answer whose entries hold commitments to them"},
)

answers_again = sa.Table(
    "answers_again",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("answer", String(40), nullable=False, index=True),  # the one that was given again
    Column("project", String(63), nullable=False),
    Column("key", String(40), nullable=False),  # whose it was
    Column("given", Boolean, nullable=False),  # false: it was to be, and did not leave
    Column("request_id", String(63)),
    _time("at", nullable=False),
)

incidents = sa.Table(
    "incidents",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("service", String(63), nullable=False),  # where it was seen when it began
    Column("rule", String(32), nullable=False),  # jailbreak | key-abuse | scraping | extraction
    Column("key", String(40), nullable=False),  # as in `answers`
    Column("subject", String(64)),  # HMAC of the person it is about, where one is told apart
    Column("does", String(16), nullable=False),  # observe | throttle | lock | renew
    Column("pace", Integer, nullable=False),  # throttled: requests a minute
    Column("held", Boolean, nullable=False),  # whether anybody is held back by it
    Column("state", String(16), nullable=False),  # open | acknowledged | closed
    Column("count", Integer, nullable=False),  # how many records looked so when it was seen last
    Column("within", Integer, nullable=False),  # seconds in which they came
    Column("changed_by", String(40), nullable=False),
    Column("because", Text, nullable=False),  # sealed; a commitment stands in the ledger
    _time("seen_at", nullable=False),  # by the newest record that was counted
    _time("until"),  # throttled: then it is over
    _time("at", nullable=False),
    _time("changed_at", nullable=False),
    sa.Index("incidents_by_time", "project", "state", "at"),
    sa.Index("incidents_by_key", "key", "rule", "state"),
)

# -- ledger -----------------------------------------------------------------------------------------

entries = sa.Table(
    "entries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(48), nullable=False),
    Column("actor", String(40), nullable=False),
    Column("project", String(63)),
    Column("object", String(160), nullable=False),
    Column("body", Text, nullable=False),  # the canonical JSON that is hashed
    _time("at", nullable=False),
    sa.Index("entries_by_object", "object", "kind", "at"),
    sa.Index("entries_by_time", "at"),
    sa.Index("entries_by_actor", "actor", "project", "kind", "at"),
    sa.Index("entries_by_project", "project", "at"),
    sa.Index("entries_by_kind", "kind", "project", "at"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    # the order in which entries were written: their times and ids say less within one transaction
    Column("turn", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", ForeignKey("entries.id"), unique=True, nullable=False),
    info={"operational": "entries that have no place in the ledger yet; written with the entry itself"},
)

ledger = sa.Table(
    "ledger",
    metadata,
    Column("ix", BigInteger, primary_key=True, autoincrement=False),
    Column("id", ForeignKey("entries.id"), unique=True, nullable=False),
    Column("leaf", LargeBinary(32), nullable=False),
    info={"operational": "the order of entries that stand already; owned by the sequencer"},
)

backups = sa.Table(
    "backups",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("actor", String(40), nullable=False),
    Column("state", String(16), nullable=False),  # begun | made | gone
    Column("entries", BigInteger, nullable=False),  # how many of the ledger's were signed in it
    Column("digest", String(71)),  # of its signed statement, which names every file
    Column("bytes", BigInteger),
    _time("at", nullable=False),
)

# -- the rest -----------------------------------------------------------------------------------------

notices = sa.Table(
    "notices",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("channel", String(16), nullable=False),  # webhook | mail
    Column("target", String(254), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),  # waiting | sent | failed
    Column("attempts", Integer, nullable=False),
    Column("because", Text, nullable=False),
    _time("next_at", nullable=False),
    _time("created_at", nullable=False),
    info={"operational": "an outbox; what it tells of stands in the ledger already"},
)

settings = sa.Table(
    "settings",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("value", Text, nullable=False),
)

NAME_SOMEBODY = ("data_subjects", "forgettings")
"""Small tables whose rows name a person, by HMAC, until that person is forgotten."""
