"""retention, holds, limits, guards and faster lists.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "samples",
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("at"),
        info={"operational": "how large everything is, now and then: what the forecast is made of"},
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("object", sa.String(length=64), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(length=40), nullable=False),
        sa.Column("placed_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "purges",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("journey", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("left", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("journey"),
    )
    op.create_table(
        "retention",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("purpose", sa.String(length=63), nullable=False),
        sa.Column("sensitivity", sa.Integer(), nullable=True),
        sa.Column("keep", sa.String(length=32), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project"],
            ["projects.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("answers") as batch_op:
        batch_op.add_column(sa.Column("guards", sa.Text(), nullable=True))
        batch_op.drop_index(batch_op.f("answers_by_release"))
        batch_op.create_index("answers_by_release", ["release", "at", "ending"], unique=False)
        batch_op.drop_index(batch_op.f("answers_by_subject"))
        batch_op.create_index("answers_by_subject", ["project", "subject", "at"], unique=False)

    with op.batch_alter_table("entries") as batch_op:
        batch_op.drop_index(batch_op.f("entries_by_actor"))
        batch_op.create_index("entries_by_actor", ["actor", "project", "kind", "at"], unique=False)
        batch_op.drop_index(batch_op.f("entries_by_object"))
        batch_op.create_index("entries_by_object", ["object", "kind", "at"], unique=False)
        batch_op.create_index("entries_by_project", ["project", "at"], unique=False)

    with op.batch_alter_table("keys") as batch_op:
        batch_op.add_column(sa.Column("limits", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("guard", sa.Text(), nullable=True))

    with op.batch_alter_table("projects") as batch_op:
        batch_op.add_column(sa.Column("limits", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("guards", sa.Text(), nullable=True))


def downgrade() -> None:
    """Downwards is by restoring the backup that `freehold upgrade` made."""
    raise RuntimeError("a newer schema is left by restoring a backup")
