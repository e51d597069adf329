-- Which alerts were gone when a success was held, by their names: only one of these that holds again is a relapse.
ALTER TABLE verifications DROP COLUMN held_cleared, ADD COLUMN held_gone text[] NOT NULL DEFAULT '{}';
