-- Approvals: the authority to act. Events only tell of these rows; `execute` believes nothing else.
-- `place` is the key of the incident's target, which may own the action's target; `expires_at` ends the present state:
-- the time to sign while it waits, the time to begin once it is approved. `basis` is a hash of what the action changes, as it was.
CREATE TABLE approvals (
    id           text PRIMARY KEY,
    proposal     text        NOT NULL UNIQUE,
    incident     text        NOT NULL,
    place        text        NOT NULL,
    target_key   text        NOT NULL,
    target_uid   text        NOT NULL,
    action       text        NOT NULL,
    action_hash  text        NOT NULL,
    observation  boolean     NOT NULL,
    severity     text        NOT NULL,
    risk         text        NOT NULL,
    needed       int         NOT NULL CHECK (needed >= 0),
    state        text        NOT NULL CHECK (state IN ('waiting', 'approved', 'rejected', 'expired', 'withdrawn')),
    automatic    boolean     NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    decided_at   timestamptz,
    finished_at  timestamptz,
    proposer     text        NOT NULL,
    rule         text        NOT NULL,
    mode         text        NOT NULL,
    trust_score  int         NOT NULL,
    inputs       text        NOT NULL,
    inverse      text,
    diff         text        NOT NULL,
    checks       text        NOT NULL,
    blast        text,
    evidence     text        NOT NULL,
    playbook     text        NOT NULL,
    basis        text        NOT NULL
);
CREATE INDEX approvals_incident ON approvals (incident);
CREATE INDEX approvals_requested ON approvals (requested_at);
CREATE INDEX approvals_busy_place ON approvals (place) WHERE finished_at IS NULL AND state IN ('waiting', 'approved');
CREATE INDEX approvals_busy_target ON approvals (target_key) WHERE finished_at IS NULL AND state IN ('waiting', 'approved');
CREATE INDEX approvals_automatic ON approvals (requested_at) WHERE automatic AND NOT observation;

-- One signature or rejection of one person; `signer` is the name folded, so that no spelling of it signs twice.
CREATE TABLE approval_signatures (
    approval text        NOT NULL REFERENCES approvals (id),
    signer   text        NOT NULL,
    person   text        NOT NULL,
    choice   text        NOT NULL CHECK (choice IN ('sign', 'reject')),
    vote     text        NOT NULL UNIQUE,
    at       timestamptz NOT NULL,
    origin   text        NOT NULL,
    comment  text        NOT NULL,
    told_by  text        NOT NULL,
    PRIMARY KEY (approval, signer)
);

-- Every decision of the gate with all that it rested on, so that it can be explained later. `approval` is empty where it held.
CREATE TABLE decisions (
    proposal    text PRIMARY KEY,
    approval    text        NOT NULL,
    incident    text        NOT NULL,
    at          timestamptz NOT NULL,
    pattern     text        NOT NULL,
    action      text        NOT NULL,
    held        boolean     NOT NULL,
    rule        text        NOT NULL,
    reasons     text        NOT NULL,
    mode        text        NOT NULL,
    risk_before text        NOT NULL,
    risk_after  text        NOT NULL,
    trust       int         NOT NULL,
    needed      int         NOT NULL,
    inputs      text        NOT NULL
);
CREATE INDEX decisions_incident ON decisions (incident, at);

-- What moved trust: one row for each event, whatever order they came in. An operation succeeds once, whoever says it again.
CREATE TABLE trust_ledger (
    event     text PRIMARY KEY,
    pattern   text        NOT NULL,
    at        timestamptz NOT NULL,
    kind      text        NOT NULL CHECK (kind IN ('success', 'failure', 'rejection', 'approval')),
    told_by   text        NOT NULL,
    about     text        NOT NULL
);
CREATE UNIQUE INDEX trust_ledger_once ON trust_ledger (about, kind);
CREATE INDEX trust_ledger_pattern ON trust_ledger (pattern, at, event);

-- The fold of the ledger in the order of event times.
CREATE TABLE trust (
    pattern    text PRIMARY KEY,
    score      int         NOT NULL,
    approvals  int         NOT NULL,
    rejections int         NOT NULL,
    successes  int         NOT NULL,
    failures   int         NOT NULL,
    last_by    text        NOT NULL,
    last_at    timestamptz NOT NULL,
    last_event text        NOT NULL
);
