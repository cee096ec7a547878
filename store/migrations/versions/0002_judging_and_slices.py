"""Judging in turns and by rating, slices, corpora, and what a worker waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ADDED = """
ALTER TABLE run ADD COLUMN waiting VARCHAR;
ALTER TABLE progress ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN prompt_seconds FLOAT NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN slots INTEGER;
ALTER TABLE progress ADD COLUMN busy INTEGER;
ALTER TABLE progress ADD COLUMN cost FLOAT;
ALTER TABLE vitals ADD COLUMN temperature_c FLOAT;
ALTER TABLE response ADD COLUMN turns JSON;
ALTER TABLE leak ADD COLUMN train_text VARCHAR;
CREATE TABLE slicescore (
    model_id INTEGER NOT NULL, measure VARCHAR NOT NULL, slice VARCHAR NOT NULL, value FLOAT, low FLOAT,
    high FLOAT, n INTEGER NOT NULL, missing INTEGER NOT NULL, p FLOAT, reason VARCHAR,
    PRIMARY KEY (model_id, measure, slice),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE slicecomparison (
    candidate_id INTEGER NOT NULL, baseline_id INTEGER NOT NULL, measure VARCHAR NOT NULL,
    slice VARCHAR NOT NULL, direction VARCHAR NOT NULL, candidate_value FLOAT, baseline_value FLOAT,
    delta FLOAT, low FLOAT, high FLOAT, p FLOAT, n INTEGER NOT NULL, reason VARCHAR,
    PRIMARY KEY (candidate_id, baseline_id, measure, slice),
    FOREIGN KEY (baseline_id) REFERENCES model (id),
    FOREIGN KEY (candidate_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE corpusscore (
    model_id INTEGER NOT NULL, corpus VARCHAR NOT NULL, text INTEGER NOT NULL, nll FLOAT,
    tokens INTEGER NOT NULL, bytes INTEGER NOT NULL, reason VARCHAR,
    PRIMARY KEY (model_id, corpus, text),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE disparity (
    model_id INTEGER NOT NULL, measure VARCHAR NOT NULL, first VARCHAR NOT NULL,
    second VARCHAR NOT NULL, delta FLOAT, low FLOAT, high FLOAT, p FLOAT, n INTEGER NOT NULL,
    reason VARCHAR,
    PRIMARY KEY (model_id, measure, first, second),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE rating (
    id INTEGER NOT NULL, judge_id INTEGER NOT NULL, model_id INTEGER NOT NULL,
    example_id INTEGER NOT NULL, turn INTEGER NOT NULL, score FLOAT, scores JSON, confidence FLOAT,
    reasoning VARCHAR NOT NULL, raw VARCHAR NOT NULL, failure VARCHAR, flags JSON, tokens_in INTEGER,
    tokens_out INTEGER, cost FLOAT, latency_s FLOAT, attempts INTEGER NOT NULL, cached BOOLEAN NOT NULL,
    reported_model VARCHAR, created FLOAT NOT NULL,
    PRIMARY KEY (id), UNIQUE (judge_id, model_id, example_id, turn),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE,
    FOREIGN KEY (model_id) REFERENCES model (id)
);
CREATE TABLE ranking (
    judge_id INTEGER NOT NULL, model_id INTEGER NOT NULL, turn INTEGER NOT NULL, strength FLOAT,
    low FLOAT, high FLOAT, n INTEGER NOT NULL, reason VARCHAR,
    PRIMARY KEY (judge_id, model_id, turn),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE,
    FOREIGN KEY (model_id) REFERENCES model (id)
) WITHOUT ROWID;
CREATE TABLE audit (
    judge_id INTEGER NOT NULL, measure VARCHAR NOT NULL, subject VARCHAR NOT NULL, value FLOAT,
    low FLOAT, high FLOAT, n INTEGER NOT NULL, reason VARCHAR, details JSON,
    PRIMARY KEY (judge_id, measure, subject),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE
) WITHOUT ROWID
"""

# SQLite cannot change a key in place: the rows move into a table that has the new one.
_REBUILT = {
    "judgment": """
CREATE TABLE judgment (
    id INTEGER NOT NULL, judge_id INTEGER NOT NULL, candidate_id INTEGER NOT NULL,
    baseline_id INTEGER NOT NULL, example_id INTEGER NOT NULL, turn INTEGER DEFAULT 0 NOT NULL,
    "order" VARCHAR NOT NULL, winner VARCHAR, candidate_score FLOAT, baseline_score FLOAT,
    confidence FLOAT, reasoning VARCHAR NOT NULL, raw VARCHAR NOT NULL, failure VARCHAR, flags JSON,
    tokens_in INTEGER, tokens_out INTEGER, cost FLOAT, latency_s FLOAT, attempts INTEGER NOT NULL,
    cached BOOLEAN NOT NULL, reported_model VARCHAR, created FLOAT NOT NULL,
    PRIMARY KEY (id), UNIQUE (judge_id, candidate_id, baseline_id, example_id, "order", turn),
    FOREIGN KEY (baseline_id) REFERENCES model (id), FOREIGN KEY (candidate_id) REFERENCES model (id),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE
)
""",
    "verdict": """
CREATE TABLE verdict (
    judge_id INTEGER NOT NULL, candidate_id INTEGER NOT NULL, baseline_id INTEGER NOT NULL,
    example_id INTEGER NOT NULL, turn INTEGER DEFAULT 0 NOT NULL, outcome VARCHAR NOT NULL,
    consistent BOOLEAN, reason VARCHAR,
    PRIMARY KEY (judge_id, candidate_id, baseline_id, example_id, turn),
    FOREIGN KEY (baseline_id) REFERENCES model (id), FOREIGN KEY (candidate_id) REFERENCES model (id),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE
) WITHOUT ROWID
""",
    "winrate": """
CREATE TABLE winrate (
    judge_id INTEGER NOT NULL, candidate_id INTEGER NOT NULL, baseline_id INTEGER NOT NULL,
    turn INTEGER DEFAULT 0 NOT NULL, wins INTEGER NOT NULL, losses INTEGER NOT NULL,
    ties INTEGER NOT NULL, failed INTEGER NOT NULL, win_rate FLOAT, low FLOAT, high FLOAT,
    position_bias FLOAT, length_controlled FLOAT, length_controlled_low FLOAT,
    length_controlled_high FLOAT, reason VARCHAR,
    PRIMARY KEY (judge_id, candidate_id, baseline_id, turn),
    FOREIGN KEY (baseline_id) REFERENCES model (id), FOREIGN KEY (candidate_id) REFERENCES model (id),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE
) WITHOUT ROWID
""",
}


def upgrade() -> None:
    for statement in _ADDED.split(";"):
        op.execute(statement)
    op.drop_index("judgment_created")
    for table, create in _REBUILT.items():
        columns = ", ".join(f'"{column["name"]}"' for column in sa.inspect(op.get_bind()).get_columns(table))
        op.rename_table(table, f"{table}_before")
        op.execute(create)
        op.execute(f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM "{table}_before"')
        op.drop_table(f"{table}_before")
    op.create_index("judgment_created", "judgment", ["judge_id", "id"])
