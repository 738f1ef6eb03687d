-- What the recorder keeps of pods: their status and events (container '', restarts 0), and the end of each container's log.
-- `record` is JSON, masked. `has_log` protects a log that was read from a later failure to read it.
CREATE TABLE pods (
    cluster   TEXT NOT NULL,
    uid       TEXT NOT NULL,
    container TEXT NOT NULL,
    restarts  BIGINT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    app_id    TEXT NOT NULL,
    seen_at   BIGINT NOT NULL,
    gone_at   BIGINT,
    failed    BIGINT NOT NULL,
    has_log   BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    record    TEXT NOT NULL,
    PRIMARY KEY (cluster, uid, container, restarts)
);
CREATE INDEX pods_app ON pods (cluster, app_id, seen_at);
CREATE INDEX pods_name ON pods (cluster, name, seen_at);
CREATE INDEX pods_namespace ON pods (cluster, namespace, seen_at);
CREATE INDEX pods_age ON pods (seen_at, bytes);
