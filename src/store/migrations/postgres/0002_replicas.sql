-- Whose turn it is to apply a source's deliveries. One replica at a time, so that they are applied in the order they came.
CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    until_at   BIGINT NOT NULL
);

-- The order of messages of one incident that were sent within one millisecond.
ALTER TABLE messages ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
