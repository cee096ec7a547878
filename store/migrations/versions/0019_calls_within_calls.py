"""The call that a call is the inside of, where two instruments saw both."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trafficevent", sa.Column("within", sa.String(), nullable=True))
    op.create_index("ix_trafficevent_within", "trafficevent", ["within"])
