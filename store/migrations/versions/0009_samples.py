"""Several samples of one answer: the further ones, each one's value, and how far they lie apart."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_CHANGES = """
CREATE TABLE sample (
    id INTEGER NOT NULL, model_id INTEGER NOT NULL, example_id INTEGER NOT NULL, text VARCHAR,
    turns JSON, thinking VARCHAR, thinking_tokens INTEGER, calls JSON, tokens_in INTEGER,
    tokens_out INTEGER, finish_reason VARCHAR, latency_s FLOAT, cached BOOLEAN NOT NULL, reason VARCHAR,
    created FLOAT NOT NULL, sample INTEGER NOT NULL,
    PRIMARY KEY (id), UNIQUE (model_id, example_id, sample),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE,
    FOREIGN KEY (example_id) REFERENCES example (id)
);
ALTER TABLE score ADD COLUMN samples JSON;
ALTER TABLE modelscore ADD COLUMN samples INTEGER;
ALTER TABLE modelscore ADD COLUMN samples_missing INTEGER;
ALTER TABLE modelscore ADD COLUMN spread FLOAT
"""


def upgrade() -> None:
    for statement in _CHANGES.split(";"):
        op.execute(statement)
