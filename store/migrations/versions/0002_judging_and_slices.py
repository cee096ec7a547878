"""Judging in turns and by rating, slices, corpora, and what a worker waits for."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_columns()
    _create_tables()
    # SQLite cannot change a key in place: the rows move into a table that has the new one.
    op.drop_index("judgment_created")
    _rebuild("judgment", _create_judgment)
    op.create_index("judgment_created", "judgment", ["judge_id", "id"])
    _rebuild("verdict", _create_verdict)
    _rebuild("winrate", _create_winrate)


def _add_columns() -> None:
    zero = sa.text("0")
    op.add_column("run", sa.Column("waiting", sa.String(), nullable=True))
    op.add_column("progress", sa.Column("prompt_tokens", sa.Integer(), nullable=False, server_default=zero))
    op.add_column("progress", sa.Column("prompt_seconds", sa.Float(), nullable=False, server_default=zero))
    op.add_column("progress", sa.Column("slots", sa.Integer(), nullable=True))
    op.add_column("progress", sa.Column("busy", sa.Integer(), nullable=True))
    op.add_column("progress", sa.Column("cost", sa.Float(), nullable=True))
    op.add_column("vitals", sa.Column("temperature_c", sa.Float(), nullable=True))
    op.add_column("response", sa.Column("turns", sa.JSON(), nullable=True))
    op.add_column("leak", sa.Column("train_text", sa.String(), nullable=True))


def _rebuild(table: str, create: Callable[[], None]) -> None:
    columns = ", ".join(f'"{column["name"]}"' for column in sa.inspect(op.get_bind()).get_columns(table))
    op.rename_table(table, f"{table}_before")
    create()
    op.execute(f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM "{table}_before"')
    op.drop_table(f"{table}_before")


def _create_tables() -> None:
    op.create_table(
        "slicescore",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("slice", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("p", sa.Float(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "measure", "slice"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "slicecomparison",
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("baseline_id", sa.Integer(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("slice", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("candidate_value", sa.Float(), nullable=True),
        sa.Column("baseline_value", sa.Float(), nullable=True),
        sa.Column("delta", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("p", sa.Float(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["baseline_id"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(["candidate_id"], ["model.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("candidate_id", "baseline_id", "measure", "slice"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "corpusscore",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("corpus", sa.String(), nullable=False),
        sa.Column("text", sa.Integer(), nullable=False),
        sa.Column("nll", sa.Float(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "corpus", "text"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "disparity",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("first", sa.String(), nullable=False),
        sa.Column("second", sa.String(), nullable=False),
        sa.Column("delta", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("p", sa.Float(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "measure", "first", "second"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rating",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("judge_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("example_id", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("scores", sa.JSON(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("reasoning", sa.String(), nullable=False),
        sa.Column("raw", sa.String(), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("flags", sa.JSON(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("cost", sa.Float(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("reported_model", sa.String(), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["example_id"],
            ["example.id"],
        ),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("judge_id", "model_id", "example_id", "turn"),
    )
    op.create_table(
        "ranking",
        sa.Column("judge_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("strength", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.id"],
        ),
        sa.PrimaryKeyConstraint("judge_id", "model_id", "turn"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit",
        sa.Column("judge_id", sa.Integer(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("judge_id", "measure", "subject"),
        sqlite_with_rowid=False,
    )


def _create_judgment() -> None:
    op.create_table(
        "judgment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("judge_id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("baseline_id", sa.Integer(), nullable=False),
        sa.Column("example_id", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("order", sa.String(), nullable=False),
        sa.Column("winner", sa.String(), nullable=True),
        sa.Column("candidate_score", sa.Float(), nullable=True),
        sa.Column("baseline_score", sa.Float(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("reasoning", sa.String(), nullable=False),
        sa.Column("raw", sa.String(), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("flags", sa.JSON(), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("cost", sa.Float(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("reported_model", sa.String(), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["baseline_id"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(
            ["example_id"],
            ["example.id"],
        ),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("judge_id", "candidate_id", "baseline_id", "example_id", "order", "turn"),
    )


def _create_verdict() -> None:
    op.create_table(
        "verdict",
        sa.Column("judge_id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("baseline_id", sa.Integer(), nullable=False),
        sa.Column("example_id", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("consistent", sa.Boolean(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["baseline_id"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(
            ["example_id"],
            ["example.id"],
        ),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("judge_id", "candidate_id", "baseline_id", "example_id", "turn"),
        sqlite_with_rowid=False,
    )


def _create_winrate() -> None:
    op.create_table(
        "winrate",
        sa.Column("judge_id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("baseline_id", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("ties", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("win_rate", sa.Float(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("position_bias", sa.Float(), nullable=True),
        sa.Column("length_controlled", sa.Float(), nullable=True),
        sa.Column("length_controlled_low", sa.Float(), nullable=True),
        sa.Column("length_controlled_high", sa.Float(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["baseline_id"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(["judge_id"], ["judge.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("judge_id", "candidate_id", "baseline_id", "turn"),
        sqlite_with_rowid=False,
    )
