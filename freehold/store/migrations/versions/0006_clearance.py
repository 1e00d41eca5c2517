"""keys may be for services up to a sensitivity, and say which they were before they were renewed.

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("keys") as batch_op:
        batch_op.add_column(sa.Column("sensitivity", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("origin", sa.String(length=40), nullable=True))


def downgrade() -> None:
    """Downwards is by restoring the backup that `freehold upgrade` made."""
    raise RuntimeError("a newer schema is left by restoring a backup")
