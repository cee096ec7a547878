"""The ruling on what a perturbation costs a model against its own plain form."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("modelscore", sa.Column("standing", sa.String(), nullable=True))
    op.add_column("modelscore", sa.Column("p", sa.Float(), nullable=True))
