-- Members of a storm are incidents: the storm's number, or null.
ALTER TABLE incidents ADD COLUMN storm_id BIGINT;
CREATE INDEX incidents_storm ON incidents (storm_id, is_open);
