-- What was measured: every snapshot once, named by its id in events.
CREATE TABLE evidence (
    id       text        PRIMARY KEY,
    incident text        NOT NULL,
    phase    text        NOT NULL CHECK (phase IN ('proposal', 'before', 'after')),
    target   text        NOT NULL,
    at       timestamptz NOT NULL,
    body     text        NOT NULL
);
CREATE INDEX evidence_incident ON evidence (incident, at);

-- What was put forward for an incident: one row, the newest. It keeps a storm of updates from proposing twice.
CREATE TABLE proposals (
    incident text        PRIMARY KEY,
    event    text        NOT NULL,
    kind     text        NOT NULL CHECK (kind IN ('action', 'observation', 'people')),
    severity text        NOT NULL,
    alerts   integer     NOT NULL, -- how many different alerts had joined by then
    at       timestamptz NOT NULL
);

-- The ledger that guards every side effect: one operation for each approval, whatever is delivered how often.
-- `pending`: nothing was changed. `running`: the side effect may have happened. The rest are ends.
CREATE TABLE operations (
    id          text        PRIMARY KEY,
    approval    text        NOT NULL UNIQUE,
    incident    text        NOT NULL,
    target      text        NOT NULL,
    action      text        NOT NULL,
    uid         text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'unknown')),
    attempts    int         NOT NULL DEFAULT 0,
    token       bigint      NOT NULL DEFAULT 0,
    awaits      text        NOT NULL,
    before      text        NOT NULL DEFAULT '',
    opened_at   timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz,
    outcome     text        NOT NULL DEFAULT '',
    output      text        NOT NULL DEFAULT '',
    error       text        NOT NULL DEFAULT ''
);
CREATE INDEX operations_incident ON operations (incident);
CREATE INDEX operations_open ON operations (opened_at) WHERE state IN ('pending', 'running');

-- One operation at a time for each target. Expiry is by the clock of Postgres, the one clock that all executors share.
CREATE SEQUENCE fencing_tokens;
CREATE TABLE leases (
    target     text        PRIMARY KEY,
    operation  text        NOT NULL,
    holder     text        NOT NULL,
    token      bigint      NOT NULL,
    expires_at timestamptz NOT NULL
);

-- One verification for each operation: `awaits` is the id of the one event that may bring it on, empty when it has ended.
-- `held` is the evidence of the look that found it healed, since `held_at`, and `held_cleared` whether the alert was gone by then.
CREATE TABLE verifications (
    operation    text        PRIMARY KEY REFERENCES operations (id),
    awaits       text        NOT NULL,
    held         text        NOT NULL DEFAULT '',
    held_at      timestamptz,
    held_cleared boolean,
    verdict      text        NOT NULL DEFAULT '',
    score        double precision,
    ended_at     timestamptz
);
