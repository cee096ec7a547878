"""What people say of runs, examples and answers, and benchmark results that are measured once."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CHANGES = """
ALTER TABLE run ADD COLUMN concurrency INTEGER;
ALTER TABLE run ADD COLUMN deleted FLOAT;
ALTER TABLE benchmarkscore ADD COLUMN identity VARCHAR;
ALTER TABLE benchmarkscore ADD COLUMN reused_from INTEGER;
CREATE INDEX benchmarkscore_identity ON benchmarkscore (identity);
ALTER TABLE alert ADD COLUMN follows INTEGER;
ALTER TABLE annotation ADD COLUMN criterion VARCHAR;
ALTER TABLE annotation ADD COLUMN blind BOOLEAN NOT NULL DEFAULT 0;
ALTER TABLE annotation ADD COLUMN control BOOLEAN NOT NULL DEFAULT 0;
ALTER TABLE annotation ADD COLUMN queue VARCHAR;
ALTER TABLE annotation ADD COLUMN seconds FLOAT;
CREATE TABLE runmark (
    id INTEGER NOT NULL, run_id INTEGER NOT NULL, kind VARCHAR NOT NULL, value VARCHAR NOT NULL,
    user VARCHAR NOT NULL, created FLOAT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE TABLE exclusion (
    id INTEGER NOT NULL, eval_set VARCHAR NOT NULL, example VARCHAR NOT NULL,
    query_hash VARCHAR NOT NULL, excluded BOOLEAN NOT NULL, reason VARCHAR NOT NULL,
    user VARCHAR NOT NULL, created FLOAT NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE failuretag (
    name VARCHAR NOT NULL, letter VARCHAR, merged_into VARCHAR, created_by VARCHAR NOT NULL,
    created FLOAT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE reviewplace (
    run_id INTEGER NOT NULL, annotator VARCHAR NOT NULL, queue VARCHAR NOT NULL,
    example_id INTEGER NOT NULL, updated FLOAT NOT NULL,
    PRIMARY KEY (run_id, annotator, queue),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX ix_runmark_run_id ON runmark (run_id);
CREATE INDEX exclusion_example ON exclusion (example, query_hash)
"""


def upgrade() -> None:
    for statement in _CHANGES.split(";"):
        op.execute(statement)
