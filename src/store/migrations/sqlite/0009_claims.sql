-- What a claim looks for, whatever else waits: due jobs of a kind, most urgent first; and leases that are over.
DROP INDEX jobs_due;
CREATE INDEX jobs_ready ON jobs (kind, priority, due_at, id) WHERE state = 'ready';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
