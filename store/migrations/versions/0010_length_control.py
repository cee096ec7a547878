"""Why there is no win rate at equal length."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("winrate", sa.Column("length_controlled_reason", sa.String(), nullable=True))
