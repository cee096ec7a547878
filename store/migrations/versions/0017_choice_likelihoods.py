"""The log-likelihoods of a benchmark question's choices, and which of them is right."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("benchmarksample", sa.Column("likelihoods", sa.JSON(), nullable=True))
    op.add_column("benchmarksample", sa.Column("correct", sa.Integer(), nullable=True))
