"""The place of a run in the store's queue, and the GPU that it was given."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("priority", sa.Integer(), nullable=True))
    op.add_column("run", sa.Column("joined", sa.Float(), nullable=True))
    op.add_column("run", sa.Column("gpu", sa.Integer(), nullable=True))
