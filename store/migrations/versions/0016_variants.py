"""Examples in other forms, with what models answered to them and how that was scored."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ADDED = """
CREATE TABLE variant (id INTEGER NOT NULL, run_id INTEGER NOT NULL, example_id INTEGER NOT NULL,
    perturbation VARCHAR NOT NULL, "query" VARCHAR NOT NULL, messages JSON NOT NULL, "references" JSON NOT
    NULL, label VARCHAR, letters JSON, PRIMARY KEY (id), UNIQUE (run_id, example_id, perturbation),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE,
    FOREIGN KEY (example_id) REFERENCES example (id));
CREATE INDEX ix_variant_run_id ON variant (run_id);
CREATE TABLE variantanswer (id INTEGER NOT NULL, text VARCHAR, turns JSON, thinking VARCHAR,
    thinking_tokens INTEGER, calls JSON, tokens_in INTEGER, tokens_out INTEGER, finish_reason VARCHAR,
    latency_s FLOAT, cached BOOLEAN NOT NULL, reason VARCHAR, model_id INTEGER NOT NULL, variant_id INTEGER
    NOT NULL, sample INTEGER NOT NULL, created FLOAT NOT NULL, PRIMARY KEY (id),
    UNIQUE (model_id, variant_id, sample), FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE,
    FOREIGN KEY (variant_id) REFERENCES variant (id));
CREATE TABLE variantscore (model_id INTEGER NOT NULL, measure VARCHAR NOT NULL, variant_id INTEGER NOT NULL,
    value FLOAT, reason VARCHAR, parts JSON, PRIMARY KEY (model_id, measure, variant_id),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE,
    FOREIGN KEY (variant_id) REFERENCES variant (id)) WITHOUT ROWID
"""


def upgrade() -> None:
    for statement in _ADDED.split(";"):
        op.execute(statement)
