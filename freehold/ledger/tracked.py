"""What MLflow clients wrote, told once by rows and once by entries.

A run under way changes with every metric and has no entry for each. The entry that ends it holds a
digest of all it holds (`run_digest`), and so does the entry of a logged model and of a registered
version; sealed words of anything else are cited by an entry whenever they change. The digests are over
what is stored, sealed bytes included, so that `freehold verify` needs no key for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from freehold.ledger.ruled import Found, Row, Rule, Said, last
from freehold.spec.ids import digest
from freehold.store import tables
from freehold.store.tables import (
    mlflow_artifacts,
    mlflow_metrics,
    mlflow_model_metrics,
    mlflow_models,
    mlflow_runs,
    mlflow_series,
    mlflow_versions,
    mlflow_words,
)

EMPTY = "0" * 64
"""The head of a series without points."""


# -- digests ------------------------------------------------------------------------------------------


def chain(head: str, points: Iterable[tuple[int, int, float, str]]) -> str:
    """The head after more points (step, time, value, special): SHA-256 over head and point, each time."""
    for step, at, value, special in points:
        head = hashlib.sha256(f"{head} {step} {at} {value.hex()} {special}".encode()).hexdigest()
    return head


def run_digest(conn: sa.Connection, run: str) -> str:
    """Of everything a run holds: words, metrics by their chains, what it says of models, files."""
    series, about = mlflow_series.c, mlflow_model_metrics.c
    chains = conn.execute(
        sa.select(series.key, series.points, series.head).where(series.run == run).order_by(series.key)
    ).all()
    metrics = conn.execute(
        sa.select(about.model, about.key, about.dataset, about.step, about.at, about.value, about.special)
        .where(about.run == run)
        .order_by(about.model, about.key, about.dataset)
    ).all()
    return digest(
        {
            "words": _words(conn, run),
            "metrics": sorted([key, points, head] for key, points, head in chains),
            "models": sorted(
                [m, key, data, step, at, v.hex(), s] for m, key, data, step, at, v, s in metrics
            ),
            "files": _files(conn, run),
        }
    )


def files_digest(conn: sa.Connection, of: str) -> str:
    """Of the files of a logged model, or of a run."""
    return digest({"files": _files(conn, of)})


def words_digest(sealed: bytes) -> str:
    """Of sealed words."""
    return "sha256:" + hashlib.sha256(sealed).hexdigest()


def _words(conn: sa.Connection, of: str) -> list[list[str]]:
    w = mlflow_words.c
    rows = conn.execute(sa.select(w.part, w.sealed).where(w.of == of)).all()
    return sorted([row.part, words_digest(row.sealed)] for row in rows)


def _files(conn: sa.Connection, of: str) -> list[list[Any]]:
    f = mlflow_artifacts.c
    query = sa.select(f.called, f.path, f.blob, f.bytes, f.pickled).where(f.of == of)
    return sorted(
        [row.called, words_digest(row.path), row.blob, row.bytes, bool(row.pickled)]
        for row in conn.execute(query)
    )


# -- rules, as `ledger.agree` wants them ------------------------------------------------------------------


def _named(table: str, field: str, kind: str) -> Rule:
    """A rule: what a thing is called, and whether it is deleted, is what the last entry says."""

    def rule(rows: list[Row], said: Said) -> Found:
        now = last(said, f"{kind}.begun", field) | last(said, f"{kind}.changed", field)
        for row in rows:
            detail = now.get(row["id"], {})
            if row["called"] != detail.get("called"):
                yield f"{table} `{row['id']}`", "its name is not what the entries say"
            if (row["deleted_at"] is not None) != bool(detail.get("deleted")):
                yield f"{table} `{row['id']}`", "whether it is deleted is not what the entries say"

    return rule


def _lived(table: str, field: str, kind: str, first: str) -> Rule:
    """A rule: state, digest and deletion are what the last entry says; `first` is how it begins."""

    def rule(rows: list[Row], said: Said) -> Found:
        now = last(said, f"{kind}.changed", field)
        for row in rows:
            detail = now.get(row["id"], {"state": first})
            if row["state"] != detail["state"] or row["digest"] != detail.get("digest"):
                yield f"{table} `{row['id']}`", "its state or digest is not what the entries say"
            if (row["deleted_at"] is not None) != bool(detail.get("deleted")):
                yield f"{table} `{row['id']}`", "whether it is deleted is not what the entries say"

    return rule


def _versions(rows: list[Row], said: Said) -> Found:
    deleted = last(said, "mlflow.version.deleted", "version")
    for row in rows:
        if (row["deleted_at"] is not None) != (row["id"] in deleted):
            yield f"mlflow_versions `{row['id']}`", "whether it is deleted is not what the entries say"


STATES = (
    (tables.mlflow_experiments, _named("mlflow_experiments", "experiment", "mlflow.experiment")),
    (tables.mlflow_registered, _named("mlflow_registered", "registered", "mlflow.registered")),
    (tables.mlflow_runs, _lived("mlflow_runs", "run", "mlflow.run", "running")),
    (tables.mlflow_models, _lived("mlflow_models", "model", "mlflow.model", "pending")),
    (tables.mlflow_versions, _versions),
)


# -- what the digests are over ----------------------------------------------------------------------------


def contents(conn: sa.Connection, said: Said) -> list[tuple[str, str]]:
    """What is stored is what was digested: the first disagreement of each kind."""
    looks = (_chains(conn), _runs(conn), _models(conn), _version_files(conn), _cited_words(conn, said))
    found = (next(look, None) for look in looks)
    return [one for one in found if one is not None]


def _chains(conn: sa.Connection) -> Found:
    """Each series of a run that ended has the head its points make; read once, in order."""
    s, p, r = mlflow_series.c, mlflow_metrics.c, mlflow_runs.c
    ended = sa.select(s.id, s.run, s.key, s.points, s.head).join(mlflow_runs, r.id == s.run)
    ended = ended.where(r.digest.is_not(None))
    wanted = {row.id: row for row in conn.execute(ended)}
    heads = dict.fromkeys(wanted, (0, EMPTY))
    points = sa.select(p.series, p.step, p.at, p.value, p.special).join(mlflow_series, s.id == p.series)
    points = points.join(mlflow_runs, r.id == s.run).where(r.digest.is_not(None)).order_by(p.series, p.n)
    for row in conn.execute(points, execution_options={"yield_per": 10_000}):
        count, head = heads[row.series]
        heads[row.series] = count + 1, chain(head, [(row.step, row.at, row.value, row.special)])
    for id_, row in wanted.items():
        if heads[id_] != (row.points, row.head):
            yield f"mlflow_runs `{row.run}`", f"the points of `{row.key}` are not the ones that were digested"


def _runs(conn: sa.Connection) -> Found:
    ended = sa.select(mlflow_runs.c.id, mlflow_runs.c.digest).where(mlflow_runs.c.digest.is_not(None))
    for row in conn.execute(ended).all():
        if run_digest(conn, row.id) != row.digest:
            yield f"mlflow_runs `{row.id}`", "what it holds is not what it held when it ended"


def _models(conn: sa.Connection) -> Found:
    c = mlflow_models.c
    for row in conn.execute(sa.select(c.id, c.digest).where(c.digest.is_not(None))).all():
        if files_digest(conn, row.id) != row.digest:
            yield f"mlflow_models `{row.id}`", "its files are not the ones it had when it was ready"


def _version_files(conn: sa.Connection) -> Found:
    """What a version names is there still, byte for byte."""
    v, f = mlflow_versions.c, mlflow_artifacts.c
    for row in conn.execute(sa.select(v.id, v.of, v.files, v.digest).where(v.deleted_at.is_(None))).all():
        rows = conn.execute(sa.select(f.called, f.blob).where(f.of == row.of))
        there = {file.called: file.blob for file in rows}
        named = json.loads(row.files)
        if digest(named) != row.digest or any(there.get(called) != blob for called, blob, _ in named):
            yield f"mlflow_versions `{row.id}`", "its files are not the ones that were registered"


def _cited_words(conn: sa.Connection, said: Said) -> Found:
    """Words of runs are in the runs' digests; all others have an entry for each change."""
    cited = {(d["of"], d["part"]): d["digest"] for d in said.get("mlflow.words", [])}
    runs = {id_ for (id_,) in conn.execute(sa.select(mlflow_runs.c.id))}
    with conn.execute(sa.select(mlflow_words), execution_options={"yield_per": 1000}) as rows:
        for row in rows:
            if row.of not in runs and words_digest(row.sealed) != cited.pop((row.of, row.part), None):
                yield f"mlflow_words `{row.of}`", "they are not the words that were recorded last"
    for of, part in cited:
        yield f"mlflow_words `{of}`", f"entry `mlflow.words` is there, its words ({part}) are not"
