"""The reasoning trace of a response, and its tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("response", sa.Column("thinking", sa.String(), nullable=True))
    op.add_column("response", sa.Column("thinking_tokens", sa.Integer(), nullable=True))
