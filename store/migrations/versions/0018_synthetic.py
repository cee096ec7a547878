"""How a question came about that a model wrote for an eval set."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("evalproposal", sa.Column("synthetic", sa.JSON(), nullable=True))
