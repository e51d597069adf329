-- The automatic repairs that failure_watch wanted, one at most for each cause within an incident. `id` is that of the event that wants it,
-- `operation` the failed one; `result` is empty until it is known how it ended.
CREATE TABLE repair_attempts (
    id         text PRIMARY KEY,
    incident   text        NOT NULL,
    operation  text        NOT NULL,
    cause      text        NOT NULL,
    place      text        NOT NULL,
    target_key text        NOT NULL,
    action     text        NOT NULL,
    at         timestamptz NOT NULL,
    proposal   text        NOT NULL DEFAULT '',
    result     text        NOT NULL DEFAULT '',
    ended_at   timestamptz,
    UNIQUE (incident, cause)
);
CREATE UNIQUE INDEX repair_attempts_proposal ON repair_attempts (proposal) WHERE proposal <> '';
CREATE INDEX repair_attempts_at ON repair_attempts (at) WHERE ended_at IS NULL;
