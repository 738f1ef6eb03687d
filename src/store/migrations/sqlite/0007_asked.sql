-- Asking Alertmanager back: which alerts of a source fire, and which incidents must be looked at although nothing new is said.
CREATE INDEX members_firing ON members (source, incident_id) WHERE status = 'firing';
ALTER TABLE incidents ADD COLUMN in_question BIGINT NOT NULL DEFAULT 0;
CREATE INDEX incidents_in_question ON incidents (id) WHERE in_question = 1;
