"""Examples taken out of evaluation, and the folds of a run."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runexample", sa.Column("fold", sa.Integer(), nullable=True))
    op.create_table(
        "exclusion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("eval_set", sa.String(), nullable=False),
        sa.Column("example", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("undone", sa.Float(), nullable=True),
        sa.Column("undone_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_exclusion_content", "exclusion", ["content"])
    op.create_index("ix_exclusion_eval_set", "exclusion", ["eval_set"])
