-- How new a row is: of two replicas that write one, the older knowledge does not replace the newer.
ALTER TABLE pods ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
