-- The event log: every event once, by the month in its id. It is the audit trail and the source of every rebuild.
CREATE TABLE event_log (
    id        text        NOT NULL,
    born      timestamptz NOT NULL,
    type      text        NOT NULL,
    topic     text        NOT NULL,
    incident  text        NOT NULL,
    cause     text        NOT NULL,
    told_by   text        NOT NULL,
    at        timestamptz NOT NULL,
    body      text        NOT NULL,
    partition int         NOT NULL,
    entry     text        NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, born)
) PARTITION BY RANGE (born);
CREATE TABLE event_log_default PARTITION OF event_log DEFAULT;
CREATE INDEX event_log_incident ON event_log (incident, at) WHERE incident <> '';
CREATE INDEX event_log_cause ON event_log (cause) WHERE cause <> '';
CREATE INDEX event_log_stored ON event_log USING brin (stored_at);

-- What the archive read but could not take for an event: kept byte for byte.
CREATE TABLE unreadable (
    topic     text        NOT NULL,
    entry     text        NOT NULL,
    partition int         NOT NULL,
    body      bytea       NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, entry)
);

-- Kept outputs: one row for each input of a stage that changes a store. `check_at` is when somebody should look whether the
-- archive has seen them; `settled` says that it has.
CREATE TABLE outbox (
    stage    text        NOT NULL,
    input    text        NOT NULL,
    outputs  text        NOT NULL,
    settled  boolean     NOT NULL,
    kept_at  timestamptz NOT NULL DEFAULT now(),
    check_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stage, input)
);

-- What is kept for an input, read under its lock. In a function each statement sees what was committed before it, so the
-- lock and the reading after it cost one round trip.
CREATE FUNCTION kept_outputs(of_stage text, of_input text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(of_stage || '/' || of_input, 0));
    RETURN (SELECT outputs FROM outbox WHERE stage = of_stage AND input = of_input);
END
$$;
CREATE INDEX outbox_open ON outbox (check_at) WHERE NOT settled;
CREATE INDEX outbox_settled ON outbox (kept_at) WHERE settled;

-- Everything that was tried on the world or done by a person with the ops CLI, from its first moment.
CREATE TABLE audit_log (
    id          text PRIMARY KEY,
    at          timestamptz NOT NULL,
    who         text NOT NULL,
    what        text NOT NULL,
    about       text NOT NULL,
    incident    text NOT NULL DEFAULT '',
    state       text NOT NULL,
    input       text NOT NULL DEFAULT '',
    output      text NOT NULL DEFAULT '',
    error       text NOT NULL DEFAULT '',
    stderr      text NOT NULL DEFAULT '',
    seconds     double precision,
    failure     text NOT NULL DEFAULT '',
    repair      text NOT NULL DEFAULT ''
);
CREATE INDEX audit_log_at ON audit_log (at);
