"""Rendered files of pipelines; indexes for what ended, or was removed, since a moment."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rendered",
        sa.Column("pipeline", sa.String(length=63), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "path"),
        sqlite_with_rowid=False,
    )
    op.create_index("pipelines_by_completion", "pipelines", ["completed_at"])
    op.create_index("tombstones_by_at", "tombstones", ["at"])
