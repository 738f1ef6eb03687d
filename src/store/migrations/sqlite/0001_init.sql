-- Times are milliseconds since the epoch, UTC. JSON is text. One text per table serves SQLite and PostgreSQL alike.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('incident', 0);

-- A webhook as received, until it is applied. The raw body is the one place where secrets may stand in clear.
CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    body        BLOB NOT NULL,
    applied     BIGINT NOT NULL DEFAULT 0,
    attempts    BIGINT NOT NULL DEFAULT 0,
    state       TEXT NOT NULL DEFAULT 'new'
);
CREATE INDEX deliveries_new ON deliveries (id) WHERE state = 'new';

CREATE TABLE incidents (
    id          BIGINT PRIMARY KEY,
    version     BIGINT NOT NULL,
    incident_key TEXT NOT NULL,
    is_open     BIGINT NOT NULL,
    status      TEXT NOT NULL,
    severity    TEXT NOT NULL,
    title       TEXT NOT NULL,
    team        TEXT NOT NULL,
    opened_at   BIGINT NOT NULL,
    resolved_at BIGINT,
    wake_at     BIGINT,
    state       TEXT NOT NULL
);
CREATE UNIQUE INDEX incidents_open ON incidents (incident_key) WHERE is_open = 1;
CREATE INDEX incidents_key ON incidents (incident_key, id);
CREATE INDEX incidents_list ON incidents (is_open, id);

CREATE TABLE timeline (
    incident_id BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    event       TEXT NOT NULL,
    PRIMARY KEY (incident_id, seq)
);

CREATE TABLE members (
    source      TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    incident_id BIGINT,
    status      TEXT NOT NULL,
    last_seen   BIGINT NOT NULL,
    member      TEXT NOT NULL,
    PRIMARY KEY (source, fingerprint)
);
CREATE INDEX members_incident ON members (incident_id, status);

-- Everything that must happen later. `again` asks a running job to run once more; `unclear` says that an earlier
-- attempt may have had its effect.
CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    job_key     TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    incident_id BIGINT,
    due_at      BIGINT NOT NULL,
    priority    BIGINT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'ready',
    attempt     BIGINT NOT NULL DEFAULT 0,
    owner       TEXT NOT NULL DEFAULT '',
    lease_until BIGINT NOT NULL DEFAULT 0,
    fence       BIGINT NOT NULL DEFAULT 0,
    again       BIGINT NOT NULL DEFAULT 0,
    unclear     BIGINT NOT NULL DEFAULT 0,
    payload     TEXT NOT NULL,
    last_error  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX jobs_due ON jobs (state, due_at);
CREATE INDEX jobs_incident ON jobs (incident_id);

CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    incident_id BIGINT NOT NULL,
    playbook    TEXT NOT NULL,
    opening     BIGINT NOT NULL,
    state       TEXT NOT NULL,
    started_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    run         TEXT NOT NULL
);
CREATE INDEX runs_incident ON runs (incident_id);

CREATE TABLE steps (
    run_id      TEXT NOT NULL,
    step        TEXT NOT NULL,
    ended_at    BIGINT NOT NULL,
    evidence    TEXT NOT NULL,
    PRIMARY KEY (run_id, step)
);

-- What was sent: one row per card and channel (updated in place), one per page.
CREATE TABLE messages (
    message_key TEXT PRIMARY KEY,
    incident_id BIGINT NOT NULL,
    is_page     BIGINT NOT NULL,
    channel     TEXT NOT NULL,
    address     TEXT NOT NULL,
    remote_id   TEXT NOT NULL,
    round       BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    person      TEXT NOT NULL,
    state       TEXT NOT NULL,
    remark      TEXT NOT NULL,
    at          BIGINT NOT NULL
);
CREATE INDEX messages_incident ON messages (incident_id);
CREATE INDEX messages_remote ON messages (remote_id);

CREATE TABLE cursors (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE rejected (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    at     BIGINT NOT NULL,
    path   TEXT NOT NULL,
    reason TEXT NOT NULL
);
