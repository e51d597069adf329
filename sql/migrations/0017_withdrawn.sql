-- What was put forward may have been withdrawn, for its target is not what it was: the next answer is told, whatever it is.
ALTER TABLE proposals DROP CONSTRAINT proposals_kind_check,
    ADD CONSTRAINT proposals_kind_check CHECK (kind IN ('action', 'observation', 'people', 'withdrawn'));
