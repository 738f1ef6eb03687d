-- What is looked for all the time, in a store that remembers a million incidents: those that will wake somebody.
CREATE INDEX incidents_wake ON incidents (id) WHERE wake_at IS NOT NULL;
