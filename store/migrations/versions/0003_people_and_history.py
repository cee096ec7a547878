"""What people say of runs, examples and answers, and benchmark results that are measured once."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_columns()
    _create_tables()


def _add_columns() -> None:
    no = sa.text("0")
    op.add_column("run", sa.Column("concurrency", sa.Integer(), nullable=True))
    op.add_column("run", sa.Column("deleted", sa.Float(), nullable=True))
    op.add_column("benchmarkscore", sa.Column("identity", sa.String(), nullable=True))
    op.add_column("benchmarkscore", sa.Column("reused_from", sa.Integer(), nullable=True))
    op.create_index("benchmarkscore_identity", "benchmarkscore", ["identity"])
    op.add_column("alert", sa.Column("follows", sa.Integer(), nullable=True))
    op.add_column("annotation", sa.Column("criterion", sa.String(), nullable=True))
    op.add_column("annotation", sa.Column("blind", sa.Boolean(), nullable=False, server_default=no))
    op.add_column("annotation", sa.Column("control", sa.Boolean(), nullable=False, server_default=no))
    op.add_column("annotation", sa.Column("queue", sa.String(), nullable=True))
    op.add_column("annotation", sa.Column("seconds", sa.Float(), nullable=True))


def _create_tables() -> None:
    op.create_table(
        "runmark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_runmark_run_id", "runmark", ["run_id"])
    op.create_table(
        "exclusion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("eval_set", sa.String(), nullable=False),
        sa.Column("example", sa.String(), nullable=False),
        sa.Column("query_hash", sa.String(), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("exclusion_example", "exclusion", ["example", "query_hash"])
    op.create_table(
        "failuretag",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("letter", sa.String(), nullable=True),
        sa.Column("merged_into", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "reviewplace",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("example_id", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["example_id"], ["example.id"]),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "annotator", "queue"),
        sqlite_with_rowid=False,
    )
