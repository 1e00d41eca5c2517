"""The tables of what MLflow clients write (track); to others they are a part of `store.tables`.

Names of experiments, runs and models are anybody's words, so they stand sealed in `mlflow_words`;
`called` is their HMAC under a key of the project, by which they are found. Names of metrics stand in
clear, as names of columns do.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, LargeBinary, String, Text

from freehold.store.metadata import metadata
from freehold.store.metadata import time_column as _time


def _point() -> tuple[Column[Any], ...]:
    """One value of a metric, and when it was."""
    return (
        Column("step", BigInteger, nullable=False),
        _time("at", nullable=False),
        Column("value", sa.Float, nullable=False),
        Column("special", String(9), nullable=False),  # NaN | Infinity | -Infinity, else empty
    )


mlflow_experiments = sa.Table(
    "mlflow_experiments",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("called", String(64), nullable=False),
    _time("created_at", nullable=False),
    _time("changed_at", nullable=False),
    _time("deleted_at"),
    sa.UniqueConstraint("project", "called"),
)

mlflow_runs = sa.Table(
    "mlflow_runs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("experiment", ForeignKey("mlflow_experiments.id"), nullable=False),
    Column("owner", String(40), nullable=False),  # the person whose key began it
    Column("state", String(16), nullable=False),  # running | scheduled | finished | failed | killed
    Column("digest", String(71)),  # of everything it holds; none until it ended
    _time("started_at", nullable=False),  # as the client says, and so is its end
    _time("ended_at"),
    _time("created_at", nullable=False),
    _time("deleted_at"),
    sa.Index("mlflow_runs_by_experiment", "experiment", "started_at"),
)

mlflow_series = sa.Table(
    "mlflow_series",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("run", ForeignKey("mlflow_runs.id"), nullable=False),
    Column("key", String(250), nullable=False),
    Column("points", Integer, nullable=False),
    Column("head", String(64), nullable=False),  # hash chain over them
    *_point(),  # the latest: greatest step, then time, then value
    sa.UniqueConstraint("run", "key"),
    info={"operational": "a metric of a run under way; the entry that ends the run has the digest over it"},
)

mlflow_metrics = sa.Table(
    "mlflow_metrics",
    metadata,
    Column("series", ForeignKey("mlflow_series.id"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),  # 1, 2, … as they came
    *_point(),
    info={"operational": "points of a metric; chained in their series"},
)

mlflow_model_metrics = sa.Table(
    "mlflow_model_metrics",
    metadata,
    Column("model", String(40), primary_key=True),
    Column("run", ForeignKey("mlflow_runs.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("dataset", String(36), primary_key=True),  # the client's digest of the data, or empty
    *_point(),
    info={"operational": "metrics of a run that say which logged model they are about; in its digest"},
)

mlflow_words = sa.Table(
    "mlflow_words",
    metadata,
    Column("of", String(40), primary_key=True),  # an experiment, run, logged or registered model, version
    Column("part", String(16), primary_key=True),  # about (name, params, tags …) | inputs
    Column("sealed", LargeBinary, nullable=False),
    info={"operational": "sealed words; a digest of them stands in the entry of what they are of"},
)

mlflow_artifacts = sa.Table(
    "mlflow_artifacts",
    metadata,
    Column("of", String(40), primary_key=True),  # a run or a logged model
    Column("called", String(64), primary_key=True),  # HMAC of the path
    Column("path", LargeBinary, nullable=False),  # sealed
    Column("blob", String(71), nullable=False),  # the sealed bytes
    Column("bytes", BigInteger, nullable=False),  # in clear
    Column("pickled", Boolean, nullable=False),  # opening it would run code
    _time("created_at", nullable=False),
    info={"operational": "files of a run or model under way; the entry that ends it has their digest"},
)

mlflow_uploads = sa.Table(
    "mlflow_uploads",
    metadata,
    Column("blob", String(71), primary_key=True),
    _time("created_at", nullable=False),
    info={"operational": "objects that are being stored; swept when their upload died"},
)

mlflow_models = sa.Table(
    "mlflow_models",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("experiment", ForeignKey("mlflow_experiments.id"), nullable=False),
    Column("run", String(40)),
    Column("owner", String(40), nullable=False),
    Column("state", String(16), nullable=False),  # pending | ready | failed
    Column("digest", String(71)),  # over its files; none until it ended
    Column("pickled", Boolean, nullable=False),
    _time("created_at", nullable=False),
    _time("changed_at", nullable=False),
    _time("deleted_at"),
    sa.Index("mlflow_models_by_experiment", "experiment", "created_at"),
)

mlflow_registered = sa.Table(
    "mlflow_registered",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("called", String(64), nullable=False),
    Column("name_held", String(64), unique=True),  # `called` until it is deleted: then the name is free
    _time("created_at", nullable=False),
    _time("changed_at", nullable=False),
    _time("deleted_at"),
)

mlflow_versions = sa.Table(
    "mlflow_versions",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("registered", ForeignKey("mlflow_registered.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("owner", String(40), nullable=False),
    Column("of", String(40), nullable=False),  # the logged model or run whose files it names
    Column("run", String(40)),
    Column("files", Text, nullable=False),  # JSON: [called, blob, bytes] of each: fixed from now on
    Column("digest", String(71), nullable=False),  # of `files`
    Column("pickled", Boolean, nullable=False),
    _time("created_at", nullable=False),
    _time("changed_at", nullable=False),
    _time("deleted_at"),
    sa.UniqueConstraint("registered", "version"),
    sa.Index("mlflow_versions_by_files", "of"),
)
