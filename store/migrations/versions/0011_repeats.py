"""The scores of an answer that a judge was asked about several times."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rating", sa.Column("repeats", sa.JSON(), nullable=True))
