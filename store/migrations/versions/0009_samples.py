"""Several samples of one answer: the further ones, each one's value, and how far they lie apart."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sample",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("model_id", sa.Integer(), sa.ForeignKey("model.id", ondelete="CASCADE"), nullable=False),
        sa.Column("example_id", sa.Integer(), sa.ForeignKey("example.id"), nullable=False),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("turns", sa.JSON(), nullable=True),
        sa.Column("thinking", sa.String(), nullable=True),
        sa.Column("thinking_tokens", sa.Integer(), nullable=True),
        sa.Column("calls", sa.JSON(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("finish_reason", sa.String(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.UniqueConstraint("model_id", "example_id", "sample"),
    )
    op.add_column("score", sa.Column("samples", sa.JSON(), nullable=True))
    op.add_column("modelscore", sa.Column("samples", sa.Integer(), nullable=True))
    op.add_column("modelscore", sa.Column("samples_missing", sa.Integer(), nullable=True))
    op.add_column("modelscore", sa.Column("spread", sa.Float(), nullable=True))
