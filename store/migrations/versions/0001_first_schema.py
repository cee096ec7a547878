"""The first schema."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE example (
    id INTEGER NOT NULL, eval_set VARCHAR NOT NULL, example VARCHAR NOT NULL, position INTEGER NOT NULL,
    "query" VARCHAR NOT NULL, messages JSON, "references" JSON, label VARCHAR, category VARCHAR,
    extra JSON,
    PRIMARY KEY (id), UNIQUE (eval_set, example)
);
CREATE TABLE run (
    id INTEGER NOT NULL, name VARCHAR NOT NULL, status VARCHAR NOT NULL, request VARCHAR,
    created FLOAT NOT NULL, started FLOAT, finished FLOAT, passed BOOLEAN, error VARCHAR, phase VARCHAR,
    "plan" VARCHAR NOT NULL, plan_hash VARCHAR NOT NULL, plan_folder VARCHAR NOT NULL,
    plan_file VARCHAR NOT NULL, options JSON, eval_set VARCHAR, eval_set_file VARCHAR,
    data_summary JSON, seed INTEGER NOT NULL, environment JSON, worker_pid INTEGER, worker_host VARCHAR,
    heartbeat FLOAT, log VARCHAR,
    PRIMARY KEY (id)
);
CREATE INDEX ix_run_eval_set ON run (eval_set);
CREATE INDEX ix_run_name ON run (name);
CREATE INDEX ix_run_plan_hash ON run (plan_hash);
CREATE INDEX ix_run_status ON run (status);
CREATE TABLE alert (
    id INTEGER NOT NULL, run_id INTEGER NOT NULL, severity VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    candidate VARCHAR NOT NULL, baseline VARCHAR, measure VARCHAR NOT NULL, message VARCHAR NOT NULL,
    evidence JSON, created FLOAT NOT NULL, acknowledged FLOAT, acknowledged_by VARCHAR, note VARCHAR,
    PRIMARY KEY (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX ix_alert_run_id ON alert (run_id);
CREATE TABLE event (
    id INTEGER NOT NULL, run_id INTEGER NOT NULL, time FLOAT NOT NULL, level VARCHAR NOT NULL,
    phase VARCHAR NOT NULL, message VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX ix_event_run_id ON event (run_id);
CREATE TABLE judge (
    id INTEGER NOT NULL, run_id INTEGER NOT NULL, name VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    is_language_model BOOLEAN NOT NULL, prompt_hash VARCHAR NOT NULL, details JSON,
    PRIMARY KEY (id), UNIQUE (run_id, name),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX ix_judge_run_id ON judge (run_id);
CREATE TABLE leak (
    id INTEGER NOT NULL, run_id INTEGER NOT NULL, example_id INTEGER NOT NULL, tier VARCHAR NOT NULL,
    score FLOAT NOT NULL, train_line INTEGER NOT NULL, field VARCHAR NOT NULL, excerpt VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX ix_leak_run_id ON leak (run_id);
CREATE TABLE metric (
    run_id INTEGER NOT NULL, measure VARCHAR NOT NULL, position INTEGER NOT NULL,
    direction VARCHAR NOT NULL, low FLOAT, high FLOAT, unit VARCHAR NOT NULL, version VARCHAR NOT NULL,
    source VARCHAR NOT NULL, meaning VARCHAR NOT NULL, settings JSON,
    PRIMARY KEY (run_id, measure),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE model (
    id INTEGER NOT NULL, run_id INTEGER NOT NULL, name VARCHAR NOT NULL, role VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, position INTEGER NOT NULL, fingerprint VARCHAR, details JSON, probe JSON,
    passed BOOLEAN,
    PRIMARY KEY (id), UNIQUE (run_id, name),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
);
CREATE INDEX ix_model_run_id ON model (run_id);
CREATE TABLE progress (
    run_id INTEGER NOT NULL, phase VARCHAR NOT NULL, item VARCHAR NOT NULL, position INTEGER NOT NULL,
    done INTEGER NOT NULL, total INTEGER NOT NULL, unit VARCHAR NOT NULL, tokens INTEGER NOT NULL,
    resumed_from INTEGER NOT NULL, started FLOAT, updated FLOAT, seconds FLOAT NOT NULL,
    PRIMARY KEY (run_id, phase, item),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE runexample (
    run_id INTEGER NOT NULL, position INTEGER NOT NULL, example_id INTEGER NOT NULL, split VARCHAR,
    PRIMARY KEY (run_id, position),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE splituse (
    id INTEGER NOT NULL, run_id INTEGER, eval_set VARCHAR NOT NULL, split VARCHAR NOT NULL,
    user VARCHAR NOT NULL, reason VARCHAR NOT NULL, created FLOAT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE SET NULL
);
CREATE INDEX ix_splituse_eval_set ON splituse (eval_set);
CREATE TABLE vitals (
    run_id INTEGER NOT NULL, device VARCHAR NOT NULL, utilisation FLOAT, memory_used INTEGER,
    memory_total INTEGER, power_w FLOAT, updated FLOAT NOT NULL,
    PRIMARY KEY (run_id, device),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE annotation (
    id INTEGER NOT NULL, run_id INTEGER NOT NULL, example_id INTEGER NOT NULL, left_id INTEGER,
    right_id INTEGER, kind VARCHAR NOT NULL, value VARCHAR NOT NULL, undoes INTEGER,
    annotator VARCHAR NOT NULL, created FLOAT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (example_id) REFERENCES example (id), FOREIGN KEY (left_id) REFERENCES model (id),
    FOREIGN KEY (right_id) REFERENCES model (id),
    FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE,
    FOREIGN KEY (undoes) REFERENCES annotation (id)
);
CREATE INDEX annotation_run_example ON annotation (run_id, example_id);
CREATE TABLE benchmarksample (
    model_id INTEGER NOT NULL, task VARCHAR NOT NULL, metric VARCHAR NOT NULL, filter VARCHAR NOT NULL,
    doc_id INTEGER NOT NULL, doc_hash VARCHAR NOT NULL, prompt_hash VARCHAR NOT NULL,
    target_hash VARCHAR NOT NULL, value FLOAT, question VARCHAR NOT NULL, target VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    PRIMARY KEY (model_id, task, metric, filter, doc_id),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE benchmarkscore (
    model_id INTEGER NOT NULL, task VARCHAR NOT NULL, metric VARCHAR NOT NULL, filter VARCHAR NOT NULL,
    value FLOAT, stderr FLOAT, n INTEGER NOT NULL, version VARCHAR NOT NULL, shots INTEGER,
    higher_is_better BOOLEAN NOT NULL, task_hash VARCHAR, reason VARCHAR,
    PRIMARY KEY (model_id, task, metric, filter),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE comparison (
    candidate_id INTEGER NOT NULL, baseline_id INTEGER NOT NULL, kind VARCHAR NOT NULL,
    measure VARCHAR NOT NULL, direction VARCHAR NOT NULL, candidate_value FLOAT, baseline_value FLOAT,
    delta FLOAT, low FLOAT, high FLOAT, p FLOAT, n INTEGER NOT NULL, smallest_detectable FLOAT,
    reason VARCHAR,
    PRIMARY KEY (candidate_id, baseline_id, kind, measure),
    FOREIGN KEY (baseline_id) REFERENCES model (id),
    FOREIGN KEY (candidate_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE judgment (
    id INTEGER NOT NULL, judge_id INTEGER NOT NULL, candidate_id INTEGER NOT NULL,
    baseline_id INTEGER NOT NULL, example_id INTEGER NOT NULL, "order" VARCHAR NOT NULL, winner VARCHAR,
    candidate_score FLOAT, baseline_score FLOAT, reasoning VARCHAR NOT NULL, raw VARCHAR NOT NULL,
    failure VARCHAR, flags JSON, tokens_in INTEGER, tokens_out INTEGER, cost FLOAT, latency_s FLOAT,
    attempts INTEGER NOT NULL, cached BOOLEAN NOT NULL, reported_model VARCHAR, created FLOAT NOT NULL,
    PRIMARY KEY (id), UNIQUE (judge_id, candidate_id, baseline_id, example_id, "order"),
    FOREIGN KEY (baseline_id) REFERENCES model (id), FOREIGN KEY (candidate_id) REFERENCES model (id),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE
);
CREATE INDEX judgment_created ON judgment (judge_id, id);
CREATE TABLE modelscore (
    model_id INTEGER NOT NULL, measure VARCHAR NOT NULL, value FLOAT, low FLOAT, high FLOAT,
    n INTEGER NOT NULL, missing INTEGER NOT NULL, reason VARCHAR,
    PRIMARY KEY (model_id, measure),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE response (
    id INTEGER NOT NULL, model_id INTEGER NOT NULL, example_id INTEGER NOT NULL, text VARCHAR,
    tokens_in INTEGER, tokens_out INTEGER, finish_reason VARCHAR, latency_s FLOAT,
    cached BOOLEAN NOT NULL, reason VARCHAR, created FLOAT NOT NULL,
    PRIMARY KEY (id), UNIQUE (model_id, example_id),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
);
CREATE TABLE score (
    model_id INTEGER NOT NULL, measure VARCHAR NOT NULL, example_id INTEGER NOT NULL, value FLOAT,
    reason VARCHAR, parts JSON,
    PRIMARY KEY (model_id, measure, example_id),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (model_id) REFERENCES model (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE verdict (
    judge_id INTEGER NOT NULL, candidate_id INTEGER NOT NULL, baseline_id INTEGER NOT NULL,
    example_id INTEGER NOT NULL, outcome VARCHAR NOT NULL, consistent BOOLEAN, reason VARCHAR,
    PRIMARY KEY (judge_id, candidate_id, baseline_id, example_id),
    FOREIGN KEY (baseline_id) REFERENCES model (id), FOREIGN KEY (candidate_id) REFERENCES model (id),
    FOREIGN KEY (example_id) REFERENCES example (id),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE winrate (
    judge_id INTEGER NOT NULL, candidate_id INTEGER NOT NULL, baseline_id INTEGER NOT NULL,
    wins INTEGER NOT NULL, losses INTEGER NOT NULL, ties INTEGER NOT NULL, failed INTEGER NOT NULL,
    win_rate FLOAT, low FLOAT, high FLOAT, position_bias FLOAT, length_controlled FLOAT, reason VARCHAR,
    PRIMARY KEY (judge_id, candidate_id, baseline_id),
    FOREIGN KEY (baseline_id) REFERENCES model (id), FOREIGN KEY (candidate_id) REFERENCES model (id),
    FOREIGN KEY (judge_id) REFERENCES judge (id) ON DELETE CASCADE
) WITHOUT ROWID
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        op.execute(statement)
