"""snapshots hold many keys and withdrawals in pages, which one change does not make anew.

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "snapshot_pages",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "unpublished",
        sa.Column("about", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=140), nullable=False),
        sa.PrimaryKeyConstraint("about", "id"),
    )


def downgrade() -> None:
    """Downwards is by restoring the backup that `freehold upgrade` made."""
    raise RuntimeError("a newer schema is left by restoring a backup")
