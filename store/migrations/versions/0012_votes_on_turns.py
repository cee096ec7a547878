"""The turn of a conversation that a person's vote is about."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("annotation", sa.Column("turn", sa.Integer(), nullable=False, server_default=sa.text("0")))
