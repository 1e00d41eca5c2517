"""Which kinds of entry speak of which table: a change needs an entry that is about what changed.

An entry of any other kind in the same transaction excuses nothing. Tables marked `operational` are not
here: they say nothing that an entry has to tell.
"""

from __future__ import annotations

from functools import cache

SPEAKS: dict[str, tuple[str, ...]] = {
    # table: the kinds that speak of it, each by its first words
    "people": ("person", "installation"),
    "memberships": ("person", "installation"),
    "projects": ("project", "installation"),
    "keys": ("key",),
    "settings": ("setting", "callers", "watch", "notice", "installation"),
    "datasets": ("data",),
    "data_versions": ("data",),
    "forgettings": ("forgetting",),
    "readmissions": ("subject.readmitted",),
    "certificates": ("certificate",),
    "retention": ("retention",),
    "holds": ("hold",),
    "purges": ("purge",),
    "consents": ("consent",),
    "journeys": ("journey",),
    "steps": ("journey",),
    "jobs": ("job",),
    "runs": ("run", "model.version"),
    "models": ("model",),
    "cards": ("card",),
    "approvals": ("approval",),
    "services": ("service", "release"),
    "releases": ("release",),
    "snapshots": ("snapshot",),
    "snapshot_pages": ("snapshot",),
    "incidents": ("incident",),
    "answers": ("answer",),
    "backups": ("backup",),
    "answers_again": ("answer",),
    "mlflow_experiments": ("mlflow.experiment", "mlflow.words"),
    "mlflow_runs": ("mlflow.run", "mlflow.words"),
    "mlflow_models": ("mlflow.model", "mlflow.words"),
    "mlflow_registered": ("mlflow.registered", "mlflow.version", "mlflow.alias", "mlflow.words"),
    "mlflow_versions": ("mlflow.version", "mlflow.words"),
}


@cache
def tables_of(kind: str) -> frozenset[str]:
    """The tables that an entry of this kind speaks of."""
    return frozenset(
        table
        for table, families in SPEAKS.items()
        if any(kind == family or kind.startswith(f"{family}.") for family in families)
    )
