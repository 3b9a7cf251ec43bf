"""What a pipeline keeps of the one that it resumes; where each attempt ran and what memory it asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("origin", sa.String(length=63), nullable=True))
    op.add_column("attempts", sa.Column("node", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("memory_bytes", sa.BigInteger(), nullable=True))
    op.create_index("pipelines_by_rerun", "pipelines", ["rerun_of"])
