-- What steps ask of the past: runs about a target, or with a verdict; incidents of a span of time.
ALTER TABLE runs ADD COLUMN target_key TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN verdict TEXT NOT NULL DEFAULT '';
-- Runs from before: the target is the end of the id, the verdict is in the run.
UPDATE runs SET
    target_key = substr(id, length('INC-' || incident_id || '/' || opening || '/' || playbook || '/') + 1),
    verdict = coalesce(json_extract(run, '$.verdicts[0].id'), '');
UPDATE runs SET target_key = '' WHERE target_key = 'alert';
CREATE INDEX runs_target ON runs (target_key, started_at);
CREATE INDEX runs_verdict ON runs (verdict, started_at);
CREATE INDEX incidents_opened ON incidents (opened_at);
