"""Production traffic with what was said of it, proposals for eval sets, and runs in experiment trackers."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ADDED = """
CREATE TABLE trafficevent (id VARCHAR NOT NULL, trace VARCHAR, time FLOAT NOT NULL, received FLOAT NOT NULL,
    source VARCHAR NOT NULL, model VARCHAR NOT NULL, version VARCHAR, variant VARCHAR, shadow BOOLEAN NOT
    NULL, question VARCHAR NOT NULL, messages JSON NOT NULL, response VARCHAR, calls JSON, finish_reason
    VARCHAR, tokens_in INTEGER, tokens_out INTEGER, latency_s FLOAT, session VARCHAR, user VARCHAR, tags
    JSON, personal JSON, masked BOOLEAN NOT NULL, reason VARCHAR, PRIMARY KEY (id));
CREATE INDEX ix_trafficevent_question ON trafficevent (question);
CREATE INDEX ix_trafficevent_trace ON trafficevent (trace);
CREATE INDEX ix_trafficevent_user ON trafficevent (user);
CREATE INDEX ix_trafficevent_when ON trafficevent (time, variant);
CREATE TABLE trafficfeedback (id VARCHAR NOT NULL, event_id VARCHAR NOT NULL, time FLOAT NOT NULL,
    received FLOAT NOT NULL, thumbs INTEGER, rating FLOAT, correction VARCHAR, comment VARCHAR, user
    VARCHAR, PRIMARY KEY (id));
CREATE INDEX ix_trafficfeedback_event_id ON trafficfeedback (event_id);
CREATE TABLE trafficreceipt ("key" VARCHAR NOT NULL, content VARCHAR NOT NULL, ids JSON NOT NULL, received
    FLOAT NOT NULL, PRIMARY KEY ("key")) WITHOUT ROWID;
CREATE INDEX ix_trafficreceipt_received ON trafficreceipt (received);
CREATE TABLE trafficmeasures (event_id VARCHAR NOT NULL, version VARCHAR NOT NULL, characters INTEGER,
    cut BOOLEAN, refused BOOLEAN, well_formed BOOLEAN, language VARCHAR, same_language BOOLEAN, traits
    JSON, space VARCHAR, cluster INTEGER, distance FLOAT, PRIMARY KEY (event_id)) WITHOUT ROWID;
CREATE TABLE trafficweek (id INTEGER NOT NULL, start FLOAT NOT NULL, variant VARCHAR NOT NULL, purpose
    VARCHAR NOT NULL, run_id INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (id),
    UNIQUE (start, variant, purpose));
CREATE TABLE trafficalert (id INTEGER NOT NULL, start FLOAT NOT NULL, days INTEGER NOT NULL, variant
    VARCHAR NOT NULL, measure VARCHAR NOT NULL, reference VARCHAR NOT NULL, cause VARCHAR, evidence JSON NOT
    NULL, created FLOAT NOT NULL, acknowledged FLOAT, "by" VARCHAR, PRIMARY KEY (id), UNIQUE (start, days,
    variant, measure, reference));
CREATE TABLE evalproposal (id INTEGER NOT NULL, event_id VARCHAR NOT NULL, eval_set VARCHAR NOT NULL, origin
    VARCHAR NOT NULL, why VARCHAR NOT NULL, messages JSON NOT NULL, reference VARCHAR, rejected VARCHAR,
    personal JSON, nearest VARCHAR, similarity FLOAT, created FLOAT NOT NULL, decision VARCHAR, decided
    FLOAT, "by" VARCHAR, PRIMARY KEY (id), UNIQUE (event_id, eval_set));
CREATE TABLE track (run_id INTEGER NOT NULL, tracker VARCHAR NOT NULL, place VARCHAR NOT NULL, tracked
    VARCHAR, status VARCHAR NOT NULL, attempts INTEGER NOT NULL, reason VARCHAR, updated FLOAT NOT NULL,
    PRIMARY KEY (run_id, tracker), FOREIGN KEY (run_id) REFERENCES run (id) ON DELETE CASCADE) WITHOUT ROWID
"""


def upgrade() -> None:
    for statement in _ADDED.split(";"):
        op.execute(statement)
