"""Each disparity with its ruling. Those of older runs are ruled on here, by the rule that read them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("disparity") as batch:
        batch.add_column(sa.Column("standing", sa.String(), nullable=False, server_default="missing"))
    op.execute(
        """
        UPDATE disparity SET standing = CASE
          WHEN delta IS NULL THEN 'missing'
          WHEN p IS NULL OR low IS NULL OR high IS NULL THEN 'not tested'
          WHEN p > 0.05 OR low <= 0 AND high >= 0 THEN 'inconclusive'
          WHEN delta > 0 THEN 'more' ELSE 'less' END
        """
    )
    with op.batch_alter_table("disparity") as batch:
        batch.alter_column(
            "standing", existing_type=sa.String(), existing_nullable=False, server_default=None
        )
